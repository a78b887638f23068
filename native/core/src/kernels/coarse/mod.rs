//! Kernels of the coarse step: from a query to the numbers of the cells worth a closer look.
//!
//! Codes of [`BLOCK`] cells are interleaved, four coordinates of one cell at a time, so that one
//! instruction scores them all and no sum is horizontal. Scores are integers, and floats are added in
//! one fixed order, so all instruction sets give the same bits.

use crate::isa::{self, Isa};
use crate::kernels::prefetch::prefetch;

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Cells of one block of codes.
pub const BLOCK: usize = 16;
/// Neighbouring coordinates of one cell in a block.
pub const STEP: usize = 4;
/// Basis vectors that [`project`] handles together.
pub const TILE: usize = 32;
/// What codes have added, so that they fit an unsigned byte.
pub const OFFSET: i32 = 128;

/// Accumulators of [`similarities`].
pub const LANES: usize = 32;
/// What one step of the rows of [`similarities`] is worth: a power of two, so that it costs no rounding.
pub const UNIT: f32 = 1.0 / 32_768.0;
/// Rows that are fetched before their turn.
const AHEAD: usize = 8;

/// Calls the fastest variant of a kernel of this module.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {
        match isa::active() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `active` only returns what the CPU was found to have.
            Isa::Avx512 => unsafe { x86::avx512::$kernel($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { x86::avx2::$kernel($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => aarch64::$kernel($($argument),*),
            _ => scalar::$kernel($($argument),*),
        }
    };
}

/// Writes the products of `x` with the basis vectors to `out`.
///
/// `basis` is laid out (tile, dim, [`TILE`]); `out` holds one value for each vector of each tile.
/// Coordinates 0, 2, 4 … and 1, 3, 5 … are summed apart, then the two sums are added.
pub fn project(basis: &[f32], x: &[f32], out: &mut [f32]) {
    assert!(out.len().is_multiple_of(TILE), "outputs come in tiles");
    assert_eq!(
        basis.len(),
        out.len() * x.len(),
        "the basis must hold a coordinate for each input and output"
    );
    dispatch!(project(basis, x, out));
}

/// Scores every cell of `codes`: the sum over the coordinates of `(code - OFFSET) * query`.
///
/// `codes` is laid out (block, coordinate / [`STEP`], [`BLOCK`], [`STEP`]); `out` holds one score for each cell.
pub fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
    assert!(out.len().is_multiple_of(BLOCK) && query.len().is_multiple_of(STEP), "whole blocks and steps");
    assert_eq!(codes.len(), out.len() * query.len(), "codes must hold a byte for each cell and coordinate");
    dispatch!(scores(codes, query, out));
}

/// The lowest of the maxima of scores 0, [`BLOCK`], 2 `BLOCK` …, of 1, `BLOCK` + 1 … and so on, and the
/// maximum of all.
pub fn range(scores: &[i32]) -> (i32, i32) {
    assert!(scores.len().is_multiple_of(BLOCK), "scores come in blocks");
    dispatch!(range(scores))
}

/// How many scores are `threshold` or more.
pub fn count_at_least(scores: &[i32], threshold: i32) -> usize {
    assert!(scores.len().is_multiple_of(BLOCK), "scores come in blocks");
    dispatch!(count_at_least(scores, threshold))
}

/// Appends the positions of the scores that are `threshold` or more, in order.
pub fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
    assert!(scores.len().is_multiple_of(BLOCK), "scores come in blocks");
    dispatch!(collect_at_least(scores, threshold, out));
}

/// Appends the product of `query` with each of the numbered rows, and the number.
///
/// `rows` is laid out (row, coordinate) in units of [`UNIT`]; rows and query have a multiple of [`LANES`]
/// coordinates. Sums run as in [`crate::kernels::dot`], so they equal the products of the float rows exactly.
pub fn similarities(rows: &[i16], query: &[f32], numbers: &[u32], out: &mut Vec<(f32, u32)>) {
    assert!(query.len().is_multiple_of(LANES), "whole lanes");
    let count = rows.len() / query.len().max(1);
    assert!(numbers.iter().all(|number| (*number as usize) < count), "rows must hold every numbered row");
    dispatch!(similarities(rows, query, numbers, out));
}

/// The row after the next few, so that it is on its way from memory when its turn comes.
#[inline(always)]
fn prefetch_row(rows: &[i16], length: usize, numbers: &[u32], at: usize) {
    if let Some(number) = numbers.get(at) {
        prefetch(&rows[*number as usize * length..][..length]);
    }
}
