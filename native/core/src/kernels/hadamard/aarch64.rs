//! NEON kernel.

use std::arch::aarch64::*;

use super::registers::{self, Register};

/// See [`super::hadamard`].
///
/// # Safety
/// The lengths are those of [`super::hadamard`].
#[target_feature(enable = "neon")]
pub unsafe fn hadamard_neon(x: &mut [f32], scales: Option<&[f32]>) {
    // SAFETY: this function is compiled for NEON; the lengths are the caller's promise.
    unsafe { registers::hadamard::<float32x4_t>(x, scales) }
}

impl Register for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vmulq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn butterfly(self, other: Self) -> (Self, Self) {
        // SAFETY: the caller's promise.
        unsafe { (vaddq_f32(self, other), vsubq_f32(self, other)) }
    }

    /// Sums and differences of neighbours, then of pairs of neighbours.
    #[inline(always)]
    unsafe fn transform(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let (even, odd) = (vtrn1q_f32(self, self), vtrn2q_f32(self, self));
            let v = vtrn1q_f32(vaddq_f32(even, odd), vsubq_f32(even, odd));
            let (low, high) = (vget_low_f32(v), vget_high_f32(v));
            vcombine_f32(vadd_f32(low, high), vsub_f32(low, high))
        }
    }
}
