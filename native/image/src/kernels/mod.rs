//! Weighted sums of pixels, along rows and down columns.
//!
//! A sum of bytes times weights ([`crate::weights`]), and a half, without its fraction, held within 0..=255. Sums are
//! integers modulo 2^32, so their order does not matter and every instruction set gives the same bytes.

use lookalike_core::isa::{self, Isa};

use crate::PIXEL;
use crate::weights::Weights;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

/// Rows that kernels resize together, because they share the weights.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 4;

/// Resizes rows of pixels.
///
/// # Panics
/// `input` does not hold whole rows, or `output` not equally many.
pub fn across(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let (width, resized) = (weights.line().inputs() * PIXEL, weights.line().outputs() * PIXEL);
    assert!(input.len().is_multiple_of(width), "whole rows");
    assert_eq!(output.len(), input.len() / width * resized, "a row for each");
    match isa::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are checked above.
        Isa::Avx512 => unsafe { avx512::across(input, weights, output) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::across(input, weights, output) },
        _ => scalar::across(input, weights, output),
    }
}

/// Sums up equally long rows of bytes, each with its weight.
///
/// # Panics
/// There are not as many rows as weights, or one has another length than `output`.
pub fn down(rows: &[&[u8]], weights: &[i32], output: &mut [u8]) {
    assert_eq!(rows.len(), weights.len(), "a weight for each row");
    assert!(rows.iter().all(|row| row.len() == output.len()), "rows of one length");
    match isa::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are checked above.
        Isa::Avx512 => unsafe { avx512::down(rows, weights, output) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::down(rows, weights, output) },
        _ => scalar::down(rows, weights, output),
    }
}
