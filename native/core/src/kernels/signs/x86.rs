//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::WORD;

/// See [`super::pack_signs`].
///
/// # Safety
/// The CPU has AVX2, and `values.len() == 64 * out.len()`.
#[target_feature(enable = "avx2")]
pub unsafe fn pack_signs_avx2(values: &[f32], out: &mut [u64]) {
    for (word, values) in out.iter_mut().zip(values.chunks_exact(WORD)) {
        *word = 0;
        for i in 0..8 {
            // SAFETY: `values` has 64 floats, 8 loads of 8; loads are unaligned.
            let v = unsafe { _mm256_loadu_ps(values.as_ptr().add(8 * i)) };
            let bits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(v, _mm256_setzero_ps()));
            *word |= (bits as u64) << (8 * i);
        }
    }
}

/// See [`super::pack_signs`].
///
/// # Safety
/// The CPU has AVX-512 F, and `values.len() == 64 * out.len()`.
#[target_feature(enable = "avx512f")]
pub unsafe fn pack_signs_avx512(values: &[f32], out: &mut [u64]) {
    for (word, values) in out.iter_mut().zip(values.chunks_exact(WORD)) {
        *word = 0;
        for i in 0..4 {
            // SAFETY: `values` has 64 floats, 4 loads of 16; loads are unaligned.
            let v = unsafe { _mm512_loadu_ps(values.as_ptr().add(16 * i)) };
            let bits = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(v, _mm512_setzero_ps());
            *word |= u64::from(bits) << (16 * i);
        }
    }
}
