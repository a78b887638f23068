//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::{BLOCK, OFFSET, STEP, scalar};

/// Whether the CPU has what [`avx512`] needs beyond the foundation.
pub fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw")
}

/// Compiles the portable kernels for the instruction sets of the module.
macro_rules! portable_kernels {
    ($features:literal) => {
        #[doc = concat!("See [`crate::coarse::project`].\n\n# Safety\nThe CPU has ", $features, ".")]
        #[target_feature(enable = $features)]
        pub unsafe fn project(basis: &[f32], x: &[f32], out: &mut [f32]) {
            scalar::project(basis, x, out);
        }

        #[doc = concat!("See [`crate::coarse::range`].\n\n# Safety\nThe CPU has ", $features, ".")]
        #[target_feature(enable = $features)]
        pub unsafe fn range(scores: &[i32]) -> (i32, i32) {
            scalar::range(scores)
        }

        #[doc = concat!("See [`crate::coarse::count_at_least`].\n\n# Safety\nThe CPU has ", $features, ".")]
        #[target_feature(enable = $features)]
        pub unsafe fn count_at_least(scores: &[i32], threshold: i32) -> usize {
            scalar::count_at_least(scores, threshold)
        }

        #[doc = concat!("See [`crate::coarse::collect_at_least`].\n\n# Safety\nThe CPU has ", $features, ".")]
        #[target_feature(enable = $features)]
        pub unsafe fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
            scalar::collect_at_least(scores, threshold, out);
        }
    };
}

/// Kernels for AVX-512 with VNNI.
pub mod avx512 {
    use super::*;

    portable_kernels!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt,bmi1");

    /// See [`crate::coarse::scores`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW and VNNI; `codes.len() == out.len() * query.len()`, and both are whole
    /// blocks and steps.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
        let total: i32 = query.iter().map(|q| i32::from(*q)).sum();
        let start = _mm512_set1_epi32(-OFFSET * total);
        for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
            let mut sums = start;
            for (codes, query) in block.as_chunks::<{ BLOCK * STEP }>().0.iter().zip(query.as_chunks().0) {
                // SAFETY: 64 bytes are readable at `codes`.
                let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
                sums = _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(four(query)));
            }
            // SAFETY: `out` holds 16 scores.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
        }
    }
}

/// Kernels for AVX2.
pub mod avx2 {
    use super::*;

    portable_kernels!("avx2,popcnt,bmi1");

    /// See [`crate::coarse::scores`]. Bytes are widened first: products of unsigned and signed bytes
    /// would not fit the 16 bits of `pmaddubsw`.
    ///
    /// # Safety
    /// The CPU has AVX2; `codes.len() == out.len() * query.len()`, and both are whole blocks and steps.
    #[target_feature(enable = "avx2")]
    pub unsafe fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
        let total: i32 = query.iter().map(|q| i32::from(*q)).sum();
        let correction = _mm256_set1_epi32(-OFFSET * total);
        for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
            // Two sums for each cell, of the first and of the second two coordinates of a step.
            let mut sums = [_mm256_setzero_si256(); 4];
            for (codes, query) in block.as_chunks::<{ BLOCK * STEP }>().0.iter().zip(query.as_chunks().0) {
                let query = _mm256_cvtepi8_epi16(_mm_set1_epi32(four(query)));
                for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes are readable at `codes`.
                    let codes = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) });
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, query));
                }
            }
            for (pair, out) in sums.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<8>().0) {
                let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(pair[0], pair[1]));
                // SAFETY: `out` holds 8 scores.
                unsafe {
                    _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_add_epi32(halves, correction));
                }
            }
        }
    }
}

/// Four bytes as one integer, to be spread over a register.
fn four(bytes: &[i8; STEP]) -> i32 {
    i32::from_le_bytes(bytes.map(|b| b as u8))
}
