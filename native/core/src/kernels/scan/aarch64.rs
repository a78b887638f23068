//! NEON kernel.

use std::arch::aarch64::*;

use super::{BLOCK, QueryTable, block_bytes, constants, from_sum};

/// See [`super::estimate`].
///
/// # Safety
/// The CPU has Advanced SIMD; `blocks` holds `estimates.len()` blocks, and `above` is as long.
#[target_feature(enable = "neon")]
pub unsafe fn estimate_neon(
    table: &QueryTable,
    blocks: &[u8],
    base: f32,
    threshold: f32,
    estimates: &mut [[f32; BLOCK]],
    above: &mut [u32],
) {
    let low4 = vdupq_n_u8(15);
    let low8 = vdupq_n_u16(255);
    let blocks = blocks.chunks_exact(block_bytes(table.bits()));
    for ((block, estimates), above) in blocks.zip(estimates).zip(above) {
        let mut sums = [vdupq_n_u16(0); 4];
        for two in 0..table.bits() / 16 {
            for half in 0..2 {
                let look_up = |column: usize| {
                    // SAFETY: a block holds bits / 8 columns of 32 bytes, the table 128 bytes for each two.
                    let (codes, low, high) = unsafe {
                        let entries = table.entries.as_ptr().add(column / 2 * 128 + column % 2 * 32);
                        (
                            vld1q_u8(block.as_ptr().add(32 * column + 16 * half)),
                            vld1q_u8(entries),
                            vld1q_u8(entries.add(64)),
                        )
                    };
                    vaddq_u8(vqtbl1q_u8(low, vandq_u8(codes, low4)), vqtbl1q_u8(high, vshrq_n_u8::<4>(codes)))
                };
                let both = vreinterpretq_u16_u8(vaddq_u8(look_up(2 * two), look_up(2 * two + 1)));
                sums[half] = vaddq_u16(sums[half], vandq_u16(both, low8));
                sums[2 + half] = vaddq_u16(sums[2 + half], vshrq_n_u16::<8>(both));
            }
        }
        let mut all = [0u16; BLOCK];
        for (sums, out) in sums.into_iter().zip(all.chunks_exact_mut(8)) {
            // SAFETY: `out` has room for 8 sums.
            unsafe { vst1q_u16(out.as_mut_ptr(), sums) };
        }
        let (f, g) = constants(block);
        *above = 0;
        for row in 0..BLOCK {
            estimates[row] = from_sum(table, all[row], f[row], g[row], base);
            *above |= u32::from(estimates[row] > threshold) << row;
        }
    }
}
