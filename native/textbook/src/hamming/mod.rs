//! Hamming distances between codes, and the nearest codes: the contract and the choice of kernel.
//!
//! The search for the nearest ([`top_k`]) turns a tile of codes into blocks of 16 in columns, all first
//! words, then all second words: a register then holds one word of several codes, distances add up
//! without sums across a register, and every query of a batch compares itself with the tile while it is in
//! the first-level cache.

use lookalike_core::isa::{self, Isa};

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod nearest;
mod scalar;
mod top;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use top::top_k;

/// Codes in a block.
const BLOCK: usize = 16;

/// Writes the number of differing bits between `query` and each code to `out`.
///
/// `codes` holds `out.len()` codes of `query.len()` words each, back to back. All instruction sets
/// give the same integers. Panics if the lengths do not fit or a query is empty.
pub fn distances(query: &[u64], codes: &[u64], out: &mut [u32]) {
    assert!(!query.is_empty(), "a code has at least one word");
    assert_eq!(
        Some(codes.len()),
        query.len().checked_mul(out.len()),
        "codes must hold out.len() codes of query.len() words"
    );
    match isa::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are checked above.
        Isa::Avx512 => unsafe { x86::distances_avx512(query, codes, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::distances_avx2(query, codes, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths are checked above.
        Isa::Neon => unsafe { aarch64::distances_neon(query, codes, out) },
        _ => scalar::distances(query, codes, out),
    }
}
