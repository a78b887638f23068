//! The reference kernels.

use std::ops::Range;

use super::BLOCK;
use super::nearest::Nearest;

/// See [`super::distances`].
pub fn distances(query: &[u64], codes: &[u64], out: &mut [u32]) {
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(query.len())) {
        *out = query.iter().zip(code).map(|(a, b)| (a ^ b).count_ones()).sum();
    }
}

/// See [`super::scan`].
pub fn scan(query: &[u64], blocks: &[u64], first: usize, nearest: &mut Nearest) {
    for (block, first) in blocks.chunks_exact(query.len() * BLOCK).zip((first..).step_by(BLOCK)) {
        let mut totals = [0; BLOCK];
        for (word, column) in query.iter().zip(block.as_chunks::<BLOCK>().0) {
            for (total, other) in totals.iter_mut().zip(column) {
                *total += u64::from((word ^ other).count_ones());
            }
        }
        if totals.iter().any(|total| *total < u64::from(nearest.limit())) {
            nearest.offer(first, &totals);
        }
    }
}

/// Lays out some words of the codes of one block; see [`super::top::transpose`].
pub fn transpose(codes: &[u64], words: usize, some: Range<usize>, block: &mut [u64]) {
    for (lane, code) in codes.chunks_exact(words).enumerate() {
        for word in some.clone() {
            block[word * BLOCK + lane] = code[word];
        }
    }
}
