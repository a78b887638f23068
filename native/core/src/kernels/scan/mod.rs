//! The scan: estimates for blocks of 32 sign codes by table look-up.
//!
//! A code is cut into nibbles. For one query, a table holds what each of the 16 values of each nibble adds
//! to the sum `S = <s, Pq>` of a code's signs `s` with the rotated query `Pq`, rounded to 6 bits with one
//! step for all nibbles, so that four entries add up within a byte. A byte shuffle looks up 32 rows at a
//! time (André, Kermarrec & Le Scouarnec, "Cache locality is not enough", VLDB 2015). The estimate of a
//! row is `base + f · S + g` with its own constants `f` and `g`; see [`crate::codebook`].
//!
//! A block is laid out in columns: byte `j` of every row's code, 32 bytes together, for each `j`; then the
//! 32 factors `f` and the 32 offsets `g` as half-precision floats. Rows 0 to 15 lie at the even bytes of a
//! column and rows 16 to 31 at the odd ones: sums then widen without shuffling.
//!
//! Every backend takes every code width from 64 to [`MAX_BITS`] bits, in multiples of 64, and adds two columns
//! (four entries) within bytes before it widens to 16 bits:
//!
//! | backend | needs | codes in a register | registers for a block of 64 / 256 / 2,048 bits |
//! |---|---|---|---|
//! | `scalar` | nothing | a byte of one row | – |
//! | `avx2` | AVX2, F16C | one column of 32 rows | 8 / 32 / 256 of 256 bits |
//! | `avx512` | AVX-512 F and BW, F16C | two columns of 32 rows | 4 / 16 / 128 of 512 bits |
//! | `neon` | AArch64 | half a column: 16 rows | 16 / 64 / 512 of 128 bits |
//!
//! No width has a kernel of its own: the constants at the end of a block cost the same at every width.

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::isa::{Isa, active};

/// Rows in a block.
pub const BLOCK: usize = 32;
/// Most bits in a code: what sums of 16 bits have room for.
pub const MAX_BITS: usize = 2048;
/// Bytes of the constants of one block.
pub const CONSTANTS: usize = 2 * 2 * BLOCK;

/// Bytes of one block of codes of `bits` bits, constants included.
pub fn block_bytes(bits: usize) -> usize {
    bits / 8 * BLOCK + CONSTANTS
}

/// Where row `row` of a block lies in a column.
pub fn lane_of(row: usize) -> usize {
    if row < 16 { 2 * row } else { 2 * (row - 16) + 1 }
}

/// What one query is looked up in.
///
/// For each pair of columns: the entries of the low nibbles of both, then of the high nibbles, each 16
/// entries twice over, as the widest kernel loads them.
#[derive(Clone, Debug, Default)]
pub struct QueryTable {
    entries: Vec<u8>,
    /// `S ≈ step · sum + least`.
    step: f32,
    least: f32,
}

/// Largest entry.
const MOST: f32 = 63.0;
const _: () = assert!(4 * MOST as usize <= u8::MAX as usize, "four entries add up within a byte");
const _: () =
    assert!(MAX_BITS / 4 * MOST as usize <= u16::MAX as usize, "the entries of a code add up within 16 bits");
/// Largest entry where a nibble's value is its number of agreeing bits: a multiple of 4, so exact.
const MOST_OF_SIGNS: f32 = 60.0;
/// `SIGNS[i][j]` is the sign of bit `i` of nibble value `j`.
const SIGNS: [[f32; 16]; 4] = signs();

const fn signs() -> [[f32; 16]; 4] {
    let mut signs = [[-1.0; 16]; 4];
    let mut at = 0;
    while at < 64 {
        if (at % 16) >> (at / 16) & 1 == 1 {
            signs[at / 16][at % 16] = 1.0;
        }
        at += 1;
    }
    signs
}

impl QueryTable {
    /// Fills the table for the rotated query, whose length is a multiple of 64.
    pub fn fill(&mut self, rotated: &[f32]) {
        self.fill_up_to(MOST, rotated);
    }

    /// Fills the table for the signs of the rotated query: a row's sum then gives the Hamming distance of
    /// the codes. All signs get the magnitude that keeps estimates unbiased, as the factor of a row does.
    pub fn fill_signs(&mut self, rotated: &[f32]) {
        let sum: f32 = rotated.iter().map(|v| v.abs()).sum();
        let squares: f32 = rotated.iter().map(|v| v * v).sum();
        let magnitude = squares / sum.max(f32::MIN_POSITIVE);
        let signs: Vec<f32> = rotated.iter().map(|v| if *v < 0.0 { -magnitude } else { magnitude }).collect();
        self.fill_up_to(MOST_OF_SIGNS, &signs);
    }

    fn fill_up_to(&mut self, most: f32, rotated: &[f32]) {
        assert!(rotated.len().is_multiple_of(64), "one nibble per 4 coordinates");
        let (nibbles, _) = rotated.as_chunks::<4>();
        let reach = |n: &[f32; 4]| n.iter().map(|v| v.abs()).sum::<f32>();
        // So much at least that the unit is finite: else entries of a nearly zero query exceed their bits.
        let widest = nibbles.iter().map(reach).fold(most * f32::MIN_POSITIVE, f32::max);
        let unit = most / (2.0 * widest);
        self.step = 1.0 / unit;
        self.least = 0.0;
        self.entries.resize(rotated.len() * 8, 0);
        for (at, nibble) in nibbles.iter().enumerate() {
            let lift = reach(nibble);
            self.least -= lift;
            let mut values = [0u8; 16];
            for (j, value) in values.iter_mut().enumerate() {
                let sum = SIGNS[0][j] * nibble[0]
                    + SIGNS[1][j] * nibble[1]
                    + SIGNS[2][j] * nibble[2]
                    + SIGNS[3][j] * nibble[3];
                *value = ((sum + lift) * unit + 0.5) as u8;
            }
            let (pair, column, high) = (at / 4, at / 2 % 2, at % 2);
            let start = pair * 128 + high * 64 + column * 32;
            self.entries[start..start + 16].copy_from_slice(&values);
            self.entries[start + 16..start + 32].copy_from_slice(&values);
        }
    }

    /// Code width it is for.
    pub fn bits(&self) -> usize {
        self.entries.len() / 8
    }
}

/// Estimates all rows of `blocks` into `estimates` (32 a block) and marks those above `threshold` in
/// `above` (bit `i` of word `b`: row `i` of block `b`).
///
/// Panics if the lengths do not belong together.
pub fn estimate(
    table: &QueryTable,
    blocks: &[u8],
    base: f32,
    threshold: f32,
    estimates: &mut [[f32; BLOCK]],
    above: &mut [u32],
) {
    assert_eq!(blocks.len(), estimates.len() * block_bytes(table.bits()), "whole blocks");
    assert_eq!(estimates.len(), above.len(), "one mask per block");
    match active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU was found to have it; blocks are whole, and estimates and masks match them.
        Isa::Avx512 => unsafe { x86::estimate_avx512(table, blocks, base, threshold, estimates, above) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::estimate_avx2(table, blocks, base, threshold, estimates, above) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths as above.
        Isa::Neon => unsafe { aarch64::estimate_neon(table, blocks, base, threshold, estimates, above) },
        _ => scalar::estimate(table, blocks, base, threshold, estimates, above),
    }
}

/// The estimate of a row from the sum of its table entries; every kernel does these operations in this
/// order, so that all agree to the last bit.
#[inline]
fn from_sum(table: &QueryTable, sum: u16, f: u16, g: u16, base: f32) -> f32 {
    let s = table.step * f32::from(sum) + table.least;
    let (f, g) = (half::f16::from_bits(f).to_f32(), half::f16::from_bits(g).to_f32());
    (s * f + g) + base
}

/// The constants of a block as half-precision bits: factors, then offsets.
fn constants(block: &[u8]) -> ([u16; BLOCK], [u16; BLOCK]) {
    let tail = &block[block.len() - CONSTANTS..];
    let read = |half: &[u8]| std::array::from_fn(|i| u16::from_le_bytes([half[2 * i], half[2 * i + 1]]));
    (read(&tail[..2 * BLOCK]), read(&tail[2 * BLOCK..]))
}
