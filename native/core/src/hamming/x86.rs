//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

/// See [`super::distances`]. Population counts by nibble look-up (Muła, Kurz & Lemire, "Faster
/// Population Counts Using AVX2 Instructions", The Computer Journal 2018).
///
/// # Safety
/// The CPU has AVX2 and POPCNT, and `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "avx2,popcnt")]
pub unsafe fn distances_avx2(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    let counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let low_nibble = _mm256_set1_epi8(0x0F);
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = _mm256_setzero_si256();
        for at in (0..words & !3).step_by(4) {
            // SAFETY: `at + 4 <= words`, the length of both slices; loads are unaligned.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(code.as_ptr().add(at).cast()),
                )
            };
            let differing = _mm256_xor_si256(a, b);
            let low = _mm256_and_si256(differing, low_nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(differing), low_nibble);
            let bytes = _mm256_add_epi8(_mm256_shuffle_epi8(counts, low), _mm256_shuffle_epi8(counts, high));
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
        let pair = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
        let blocks = _mm_cvtsi128_si64(pair) + _mm_extract_epi64::<1>(pair);
        let tail = words & !3;
        *out = blocks as u32
            + query[tail..].iter().zip(&code[tail..]).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    }
}

/// See [`super::distances`].
///
/// # Safety
/// The CPU has AVX-512 F and VPOPCNTDQ, and `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub unsafe fn distances_avx512(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = _mm512_setzero_si512();
        for at in (0..words).step_by(8) {
            let mask = (0xFFu16 >> (8 - (words - at).min(8))) as __mmask8;
            // SAFETY: the mask keeps the loads inside `words`, the length of both slices.
            let (a, b) = unsafe {
                (
                    _mm512_maskz_loadu_epi64(mask, query.as_ptr().add(at).cast()),
                    _mm512_maskz_loadu_epi64(mask, code.as_ptr().add(at).cast()),
                )
            };
            total = _mm512_add_epi64(total, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)));
        }
        *out = _mm512_reduce_add_epi64(total) as u32;
    }
}
