//! NEON kernels. Advanced SIMD is part of the baseline, so the portable kernels need no second copy.

use std::arch::aarch64::*;

pub use super::scalar::{collect_at_least, count_at_least, project, range, similarities};
use super::{BLOCK, STEP};

/// See [`super::scores`].
pub fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
    // SAFETY: Advanced SIMD is part of the AArch64 baseline.
    unsafe { scores_neon(codes, query, out) }
}

#[target_feature(enable = "neon")]
fn scores_neon(codes: &[u8], query: &[i8], out: &mut [i32]) {
    for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
        // Two sums for each cell, of the first and of the second two coordinates of a step.
        let mut sums = [vdupq_n_s32(0); 8];
        for (codes, query) in block.as_chunks::<{ BLOCK * STEP }>().0.iter().zip(query.as_chunks::<STEP>().0)
        {
            let query = vreinterpret_s8_s32(vdup_n_s32(i32::from_le_bytes(query.map(|q| q as u8))));
            for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<8>().0) {
                // Flipping the top bit takes the offset of 128 off.
                // SAFETY: 8 bytes are readable at `codes`.
                let codes = veor_u8(unsafe { vld1_u8(codes.as_ptr()) }, vdup_n_u8(0x80));
                *sum = vpadalq_s16(*sum, vmull_s8(vreinterpret_s8_u8(codes), query));
            }
        }
        for (pair, out) in sums.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<4>().0) {
            // SAFETY: `out` holds 4 scores.
            unsafe { vst1q_s32(out.as_mut_ptr(), vpaddq_s32(pair[0], pair[1])) };
        }
    }
}
