//! NEON kernel.

use std::arch::aarch64::*;

use super::{LANES, padded_tail};

/// See [`super::dot`].
///
/// # Safety
/// `a` and `b` have the same length.
#[target_feature(enable = "neon")]
pub unsafe fn dot_neon(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [vdupq_n_f32(0.0); 8];
    let mut add = |x: *const f32, y: *const f32| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: the callers below pass blocks of 32 readable floats, 8 loads of 4.
            let (x, y) = unsafe { (vld1q_f32(x.add(4 * i)), vld1q_f32(y.add(4 * i))) };
            *lane = vaddq_f32(*lane, vmulq_f32(x, y));
        }
    };
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        add(x.as_ptr(), y.as_ptr());
    }
    if !a.len().is_multiple_of(LANES) {
        let (x, y) = (padded_tail(a), padded_tail(b));
        add(x.as_ptr(), y.as_ptr());
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let even = vaddq_f32(vaddq_f32(a, e), vaddq_f32(c, g));
    let odd = vaddq_f32(vaddq_f32(b, f), vaddq_f32(d, h));
    let sum = vaddq_f32(even, odd);
    let pair = vadd_f32(vget_low_f32(sum), vget_high_f32(sum));
    vget_lane_f32::<0>(pair) + vget_lane_f32::<1>(pair)
}
