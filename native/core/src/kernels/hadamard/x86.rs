//! AVX2 kernel.

use std::arch::x86_64::*;

use super::registers::{self, Register};

/// See [`super::hadamard`].
///
/// # Safety
/// The CPU has AVX2, and the lengths are those of [`super::hadamard`].
#[target_feature(enable = "avx2")]
pub unsafe fn hadamard_avx2(x: &mut [f32], scales: Option<&[f32]>) {
    // SAFETY: this function is compiled for AVX2; the lengths are the caller's promise.
    unsafe { registers::hadamard::<__m256>(x, scales) }
}

impl Register for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn butterfly(self, other: Self) -> (Self, Self) {
        // SAFETY: the caller's promise.
        unsafe { (_mm256_add_ps(self, other), _mm256_sub_ps(self, other)) }
    }

    /// A level adds the register with its halves exchanged to the one with its upper halves negated.
    #[inline(always)]
    unsafe fn transform(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let n = -0.0;
            let v = self;
            let signed = _mm256_xor_ps(v, _mm256_setr_ps(0.0, n, 0.0, n, 0.0, n, 0.0, n));
            let v = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(v), signed);
            let signed = _mm256_xor_ps(v, _mm256_setr_ps(0.0, 0.0, n, n, 0.0, 0.0, n, n));
            let v = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(v), signed);
            let signed = _mm256_xor_ps(v, _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, n, n, n, n));
            _mm256_add_ps(_mm256_permute2f128_ps::<1>(v, v), signed)
        }
    }
}
