//! The nearest codes of several queries in one pass over the codes.

use super::BLOCK;
use super::nearest::Nearest;
use lookalike_core::isa::{Isa, active};

/// Words of a tile for one query: so few that the next codes arrive while these are compared.
const LEAST_TILE: usize = 256;
/// Words of a tile for many: what all look at before the next codes are read stays in the first-level cache.
const MOST_TILE: usize = 2048;
/// Queries in one pass: bounds the memory of what they have found.
const GROUP: usize = 256;

/// The `k` codes at the smallest Hamming distance from each query, by distance, then by row.
///
/// `queries` and `codes` hold codes of `words` words each, back to back. All instruction sets give the same
/// answer: for each query `min(k, codes)` pairs of distance and row.
///
/// Panics if a code has no words, `k` is 0, the lengths are no multiple of `words`, or there are 2^32 codes
/// or more.
pub fn top_k(queries: &[u64], codes: &[u64], words: usize, k: usize) -> Vec<Vec<(u32, usize)>> {
    assert!(words > 0 && k > 0, "a code has at least one word, and k is at least 1");
    let whole = queries.len().is_multiple_of(words) && codes.len().is_multiple_of(words);
    assert!(whole, "queries and codes must hold whole codes of {words} words");
    let rows = codes.len() / words;
    assert!(u32::try_from(rows).is_ok(), "fewer than 2^32 codes");
    let mut blocks = Vec::new();
    let mut out = Vec::with_capacity(queries.len() / words);
    if queries.len() == words
        && let Some(nearest) = row_by_row(queries, codes, k)
    {
        return vec![nearest];
    }
    for queries in queries.chunks(GROUP * words) {
        let tile =
            (LEAST_TILE * queries.len() / words).min(MOST_TILE).div_ceil(words).next_multiple_of(BLOCK);
        let mut nearest: Vec<Nearest> =
            queries.chunks_exact(words).map(|_| Nearest::new(k, rows, 64 * words)).collect();
        for (codes, first) in codes.chunks(tile * words).zip((0..).step_by(tile)) {
            transpose(codes, words, &mut blocks);
            for (query, nearest) in queries.chunks_exact(words).zip(&mut nearest) {
                scan(query, &blocks, first, nearest);
            }
        }
        out.extend(nearest.into_iter().map(Nearest::into_sorted));
    }
    out
}

/// The answer to one query without turning the codes, where there is a kernel for that.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
fn row_by_row(query: &[u64], codes: &[u64], k: usize) -> Option<Vec<(u32, usize)>> {
    #[cfg(target_arch = "x86_64")]
    if active() == Isa::Avx512 && matches!(query.len(), 4 | 8) {
        let words = query.len();
        let (rows, whole) = (codes.len() / words, codes.len() / words / BLOCK * BLOCK);
        let mut nearest = Nearest::new(k, rows, 64 * words);
        let (codes, rest) = codes.split_at(whole * words);
        if let Ok(query) = query.try_into() {
            // SAFETY: `active` only returns what the CPU was found to have.
            unsafe { super::x86::scan_rows_of_4_avx512(query, codes.as_chunks().0, 0, &mut nearest) };
        } else if let Ok(query) = query.try_into() {
            // SAFETY: as above.
            unsafe { super::x86::scan_rows_of_8_avx512(query, codes.as_chunks().0, 0, &mut nearest) };
        }
        let mut blocks = Vec::new();
        transpose(rest, words, &mut blocks);
        scan(query, &blocks, whole, &mut nearest);
        return Some(nearest.into_sorted());
    }
    None
}

/// Lays codes out in blocks of [`BLOCK`]: the first word of each, then the second of each, and so on.
fn transpose(codes: &[u64], words: usize, blocks: &mut Vec<u64>) {
    blocks.resize((codes.len() / words).next_multiple_of(BLOCK) * words, 0);
    for (codes, block) in codes.chunks(BLOCK * words).zip(blocks.chunks_exact_mut(BLOCK * words)) {
        let fours = if codes.len() == block.len() { words & !3 } else { 0 };
        match active() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `active` only returns what the CPU was found to have, and AVX-512 comes with AVX2.
            Isa::Avx512 | Isa::Avx2 if fours > 0 => unsafe {
                super::x86::transpose_avx2(codes, words, block);
            },
            _ => super::scalar::transpose(codes, words, 0..fours, block),
        }
        super::scalar::transpose(codes, words, fours..words, block);
    }
}

/// Offers the blocks with a code below the limit; the first code is row `first`.
fn scan(query: &[u64], blocks: &[u64], first: usize, nearest: &mut Nearest) {
    match active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have.
        Isa::Avx512 => unsafe { super::x86::scan_avx512(query, blocks, first, nearest) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { super::x86::scan_avx2(query, blocks, first, nearest) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline.
        Isa::Neon => unsafe { super::aarch64::scan_neon(query, blocks, first, nearest) },
        _ => super::scalar::scan(query, blocks, first, nearest),
    }
}
