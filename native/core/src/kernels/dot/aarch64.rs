//! NEON kernels.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{LANES, padded_tail};

/// See [`super::dot`].
///
/// # Safety
/// `a` and `b` have the same length.
#[target_feature(enable = "neon")]
pub unsafe fn dot_f32_neon(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: `dot_neon` passes 8 readable floats.
    dot_neon(a, b, |y| unsafe { (vld1q_f32(y), vld1q_f32(y.add(4))) })
}

/// See [`super::dot_i8`].
///
/// # Safety
/// `query` and `x` have the same length.
#[target_feature(enable = "neon")]
pub unsafe fn dot_i8_neon(query: &[f32], x: &[i8]) -> f32 {
    dot_neon(query, x, |y| {
        // SAFETY: `dot_neon` passes 8 readable bytes.
        let words = vmovl_s8(unsafe { vld1_s8(y) });
        let low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
        (low, vcvtq_f32_s32(vmovl_high_s16(words)))
    })
}

/// See [`super::dot_f16`].
///
/// # Safety
/// `query` and `x` have the same length.
#[target_feature(enable = "neon")]
pub unsafe fn dot_f16_neon(query: &[f32], x: &[u16]) -> f32 {
    dot_neon(query, x, |y| {
        let (low, high): (float32x4_t, float32x4_t);
        // SAFETY: `dot_neon` passes 8 readable half-precision floats; the conversions are part of
        // Advanced SIMD, although Rust 1.89 has no intrinsic for them yet.
        unsafe {
            let halves = vld1q_u16(y);
            asm!("fcvtl {to:v}.4s, {from:v}.4h", to = out(vreg) low, from = in(vreg) halves,
                options(pure, nomem, nostack));
            asm!("fcvtl2 {to:v}.4s, {from:v}.8h", to = out(vreg) high, from = in(vreg) halves,
                options(pure, nomem, nostack));
        }
        (low, high)
    })
}

/// `widen` is given pointers to 8 readable elements.
#[target_feature(enable = "neon")]
#[inline]
fn dot_neon<T: Copy + Default>(
    a: &[f32],
    b: &[T],
    widen: impl Fn(*const T) -> (float32x4_t, float32x4_t),
) -> f32 {
    let mut lanes = [(vdupq_n_f32(0.0), vdupq_n_f32(0.0)); 4];
    let mut add = |x: &[f32; LANES], y: &[T; LANES]| {
        for (i, (low, high)) in lanes.iter_mut().enumerate() {
            let (x, y) = (x[8 * i..].as_ptr(), widen(y[8 * i..].as_ptr()));
            // SAFETY: blocks of 32 are 8 loads of 4.
            let x = unsafe { (vld1q_f32(x), vld1q_f32(x.add(4))) };
            *low = vaddq_f32(*low, vmulq_f32(x.0, y.0));
            *high = vaddq_f32(*high, vmulq_f32(x.1, y.1));
        }
    };
    for (x, y) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        add(x, y);
    }
    if !a.len().is_multiple_of(LANES) {
        add(&padded_tail(a), &padded_tail(b));
    }
    let [(a, b), (c, d), (e, f), (g, h)] = lanes;
    let even = vaddq_f32(vaddq_f32(a, e), vaddq_f32(c, g));
    let odd = vaddq_f32(vaddq_f32(b, f), vaddq_f32(d, h));
    let sum = vaddq_f32(even, odd);
    let pair = vadd_f32(vget_low_f32(sum), vget_high_f32(sum));
    vget_lane_f32::<0>(pair) + vget_lane_f32::<1>(pair)
}
