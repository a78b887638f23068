//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::{BLOCK, QueryTable, block_bytes};

/// See [`super::estimate`].
///
/// # Safety
/// The CPU has AVX-512 F and BW; `blocks` holds `estimates.len()` blocks, and `above` is as long.
#[target_feature(enable = "avx512f,avx512bw,f16c")]
pub unsafe fn estimate_avx512(
    table: &QueryTable,
    blocks: &[u8],
    base: f32,
    threshold: f32,
    estimates: &mut [[f32; BLOCK]],
    above: &mut [u32],
) {
    let low4 = _mm512_set1_epi8(15);
    let low8 = _mm512_set1_epi16(255);
    let (step, least) = (_mm512_set1_ps(table.step), _mm512_set1_ps(table.least));
    let (base, threshold) = (_mm512_set1_ps(base), _mm512_set1_ps(threshold));
    let pairs = table.bits() / 16;
    let blocks = blocks.chunks_exact(block_bytes(table.bits()));
    for ((block, estimates), above) in blocks.zip(estimates).zip(above) {
        let look_up = |pair: usize| {
            // SAFETY: a block holds `pairs` pairs of 64 bytes and the table 128 bytes for each.
            let (codes, low, high) = unsafe {
                let entries = table.entries.as_ptr().add(128 * pair);
                (
                    _mm512_loadu_si512(block.as_ptr().add(64 * pair).cast()),
                    _mm512_loadu_si512(entries.cast()),
                    _mm512_loadu_si512(entries.add(64).cast()),
                )
            };
            let low = _mm512_shuffle_epi8(low, _mm512_and_si512(codes, low4));
            let high = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low4));
            _mm512_add_epi8(low, high)
        };
        let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for two in 0..pairs / 2 {
            let sums = _mm512_add_epi8(look_up(2 * two), look_up(2 * two + 1));
            even = _mm512_add_epi16(even, _mm512_and_si512(sums, low8));
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(sums));
        }
        let mut mask = 0;
        for (half, sums) in [even, odd].into_iter().enumerate() {
            let sums = _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
            let sums = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sums));
            // SAFETY: a block ends with 4 times 16 half-precision constants.
            let (f, g) = unsafe {
                let constants = block.as_ptr().add(64 * pairs + 32 * half);
                (_mm256_loadu_si256(constants.cast()), _mm256_loadu_si256(constants.add(64).cast()))
            };
            let s = _mm512_add_ps(_mm512_mul_ps(step, sums), least);
            let estimate = _mm512_add_ps(_mm512_mul_ps(s, _mm512_cvtph_ps(f)), _mm512_cvtph_ps(g));
            let estimate = _mm512_add_ps(estimate, base);
            // SAFETY: there is room for 32 estimates.
            unsafe { _mm512_storeu_ps(estimates.as_mut_ptr().add(16 * half), estimate) };
            mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(estimate, threshold)) << (16 * half);
        }
        *above = mask;
    }
}

/// See [`super::estimate`].
///
/// # Safety
/// The CPU has AVX2 and F16C; `blocks` holds `estimates.len()` blocks, and `above` is as long.
#[target_feature(enable = "avx2,f16c")]
pub unsafe fn estimate_avx2(
    table: &QueryTable,
    blocks: &[u8],
    base: f32,
    threshold: f32,
    estimates: &mut [[f32; BLOCK]],
    above: &mut [u32],
) {
    let low4 = _mm256_set1_epi8(15);
    let low8 = _mm256_set1_epi16(255);
    let (step, least) = (_mm256_set1_ps(table.step), _mm256_set1_ps(table.least));
    let (base, threshold) = (_mm256_set1_ps(base), _mm256_set1_ps(threshold));
    let columns = table.bits() / 8;
    let blocks = blocks.chunks_exact(block_bytes(table.bits()));
    for ((block, estimates), above) in blocks.zip(estimates).zip(above) {
        let look_up = |column: usize| {
            // SAFETY: a block holds `columns` columns of 32 bytes and the table 128 bytes for each two.
            let (codes, low, high) = unsafe {
                let entries = table.entries.as_ptr().add(column / 2 * 128 + column % 2 * 32);
                (
                    _mm256_loadu_si256(block.as_ptr().add(32 * column).cast()),
                    _mm256_loadu_si256(entries.cast()),
                    _mm256_loadu_si256(entries.add(64).cast()),
                )
            };
            let low = _mm256_shuffle_epi8(low, _mm256_and_si256(codes, low4));
            let high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low4));
            _mm256_add_epi8(low, high)
        };
        let (mut even, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for two in 0..columns / 2 {
            let sums = _mm256_add_epi8(look_up(2 * two), look_up(2 * two + 1));
            even = _mm256_add_epi16(even, _mm256_and_si256(sums, low8));
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(sums));
        }
        let halves = [
            _mm256_castsi256_si128(even),
            _mm256_extracti128_si256::<1>(even),
            _mm256_castsi256_si128(odd),
            _mm256_extracti128_si256::<1>(odd),
        ];
        let mut mask = 0;
        for (quarter, sums) in halves.into_iter().enumerate() {
            let sums = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(sums));
            // SAFETY: a block ends with 8 times 8 half-precision constants.
            let (f, g) = unsafe {
                let constants = block.as_ptr().add(32 * columns + 16 * quarter);
                (_mm_loadu_si128(constants.cast()), _mm_loadu_si128(constants.add(64).cast()))
            };
            let s = _mm256_add_ps(_mm256_mul_ps(step, sums), least);
            let estimate = _mm256_add_ps(_mm256_mul_ps(s, _mm256_cvtph_ps(f)), _mm256_cvtph_ps(g));
            let estimate = _mm256_add_ps(estimate, base);
            // SAFETY: there is room for 32 estimates.
            unsafe { _mm256_storeu_ps(estimates.as_mut_ptr().add(8 * quarter), estimate) };
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(estimate, threshold);
            mask |= (_mm256_movemask_ps(above) as u32) << (8 * quarter);
        }
        *above = mask;
    }
}
