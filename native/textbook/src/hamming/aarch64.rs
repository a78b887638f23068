//! NEON kernels.

use std::arch::aarch64::*;

use super::BLOCK;
use super::nearest::Nearest;

/// See [`super::distances`].
///
/// # Safety
/// `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "neon")]
pub unsafe fn distances_neon(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    let tail = words & !1;
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = vdupq_n_u64(0);
        for at in (0..tail).step_by(2) {
            // SAFETY: `at + 2 <= words`, the length of both slices.
            let (a, b) = unsafe { (vld1q_u64(query.as_ptr().add(at)), vld1q_u64(code.as_ptr().add(at))) };
            let bytes = vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b)));
            total = vaddq_u64(total, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
        }
        *out = vaddvq_u64(total) as u32
            + query[tail..].iter().zip(&code[tail..]).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    }
}

/// See [`super::top::scan`].
///
/// # Safety
/// Advanced SIMD, part of the AArch64 baseline.
#[target_feature(enable = "neon")]
pub unsafe fn scan_neon(query: &[u64], blocks: &[u64], first: usize, nearest: &mut Nearest) {
    // A byte counts at most 8 for each word.
    const WORDS: usize = 31;
    for (block, first) in blocks.chunks_exact(query.len() * BLOCK).zip((first..).step_by(BLOCK)) {
        let mut totals = [vdupq_n_u64(0); BLOCK / 2];
        for (words, columns) in query.chunks(WORDS).zip(block.chunks(WORDS * BLOCK)) {
            let mut bytes = [vdupq_n_u8(0); BLOCK / 2];
            for (word, column) in words.iter().zip(columns.as_chunks::<BLOCK>().0) {
                let word = vdupq_n_u64(*word);
                for (bytes, codes) in bytes.iter_mut().zip(column.as_chunks::<2>().0) {
                    // SAFETY: a load of 2 words.
                    let codes = unsafe { vld1q_u64(codes.as_ptr()) };
                    let differing = vreinterpretq_u8_u64(veorq_u64(word, codes));
                    *bytes = vaddq_u8(*bytes, vcntq_u8(differing));
                }
            }
            for (total, bytes) in totals.iter_mut().zip(bytes) {
                *total = vpadalq_u32(*total, vpaddlq_u16(vpaddlq_u8(bytes)));
            }
        }
        let limit = vdupq_n_u64(u64::from(nearest.limit()));
        let below = totals.iter().fold(vdupq_n_u64(0), |any, total| vorrq_u64(any, vcltq_u64(*total, limit)));
        if vmaxvq_u32(vreinterpretq_u32_u64(below)) != 0 {
            let mut distances = [0; BLOCK];
            for (out, total) in distances.as_chunks_mut::<2>().0.iter_mut().zip(totals) {
                // SAFETY: a store of 2 words.
                unsafe { vst1q_u64(out.as_mut_ptr(), total) };
            }
            nearest.offer(first, &distances);
        }
    }
}
