//! The reference kernel.

use super::{BLOCK, QueryTable, block_bytes, constants, from_sum, lane_of};

/// See [`super::estimate`].
pub fn estimate(
    table: &QueryTable,
    blocks: &[u8],
    base: f32,
    threshold: f32,
    estimates: &mut [[f32; BLOCK]],
    above: &mut [u32],
) {
    let blocks = blocks.chunks_exact(block_bytes(table.bits()));
    for ((block, estimates), above) in blocks.zip(estimates).zip(above) {
        let (f, g) = constants(block);
        *above = 0;
        for row in 0..BLOCK {
            let code = |column: usize| block[column * BLOCK + lane_of(row)];
            let sum = (0..table.bits() / 8).map(|column| sum_of_byte(table, column, code(column))).sum();
            estimates[row] = from_sum(table, sum, f[row], g[row], base);
            *above |= u32::from(estimates[row] > threshold) << row;
        }
    }
}

fn sum_of_byte(table: &QueryTable, column: usize, byte: u8) -> u16 {
    let start = column / 2 * 128 + column % 2 * 32;
    let low = table.entries[start + usize::from(byte & 15)];
    let high = table.entries[start + 64 + usize::from(byte >> 4)];
    u16::from(low) + u16::from(high)
}
