//! Kernels of the coarse step: from a query to the numbers of the cells worth a closer look.
//!
//! Codes of [`BLOCK`] cells are interleaved, four coordinates of one cell at a time, so that one
//! instruction scores them all and no sum is horizontal. Scores are integers, and floats are added in
//! one fixed order, so all instruction sets give the same bits.

use crate::isa::{self, Isa};

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

/// Calls the fastest variant of a kernel of this module.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {
        match isa::active() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: just detected, as are the features that `active` stands for.
            Isa::Avx512 if x86::has_vnni() => unsafe { x86::avx512::$kernel($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every CPU with AVX-512 has AVX2, and `active` only returns what was found.
            Isa::Avx512 | Isa::Avx2 => unsafe { x86::avx2::$kernel($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: Advanced SIMD is part of the AArch64 baseline.
            Isa::Neon => unsafe { aarch64::$kernel($($argument),*) },
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

/// The lowest maximum of a block of [`BLOCK`] scores, and the maximum of all.
pub fn range(scores: &[i32]) -> (i32, i32) {
    dispatch!(range(scores))
}

/// How many scores are `threshold` or more.
pub fn count_at_least(scores: &[i32], threshold: i32) -> usize {
    dispatch!(count_at_least(scores, threshold))
}

/// Appends the positions of the scores that are `threshold` or more, in order.
pub fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
    dispatch!(collect_at_least(scores, threshold, out));
}

/// Asks for `values` to be brought near; a hint without effect on results.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(values)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, and the address lies inside the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
