//! The reference kernels. Those that say so are compiled again by the other modules for their
//! instruction sets: they are written so that the compiler makes good vector code of them.

use super::{BLOCK, OFFSET, STEP, TILE};

/// See [`super::project`]; compiled again elsewhere.
#[inline(always)]
pub fn project(basis: &[f32], x: &[f32], out: &mut [f32]) {
    for (tile, out) in basis.chunks_exact(TILE * x.len()).zip(out.chunks_exact_mut(TILE)) {
        let (mut even, mut odd) = ([0.0f32; TILE], [0.0f32; TILE]);
        let (pairs, last) = x.as_chunks::<2>();
        let (rows, last_row) = tile.as_chunks::<{ 2 * TILE }>();
        for (x, rows) in pairs.iter().zip(rows) {
            for i in 0..TILE {
                even[i] += x[0] * rows[i];
                odd[i] += x[1] * rows[TILE + i];
            }
        }
        if let [x] = last {
            even.iter_mut().zip(last_row).for_each(|(sum, v)| *sum += x * v);
        }
        for i in 0..TILE {
            out[i] = even[i] + odd[i];
        }
    }
}

/// See [`super::scores`].
pub fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
    for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
        out.fill(0);
        for (codes, query) in block.chunks_exact(BLOCK * STEP).zip(query.chunks_exact(STEP)) {
            for (score, codes) in out.iter_mut().zip(codes.chunks_exact(STEP)) {
                let products = codes.iter().zip(query).map(|(c, q)| (i32::from(*c) - OFFSET) * i32::from(*q));
                *score += products.sum::<i32>();
            }
        }
    }
}

/// See [`super::range`]; compiled again elsewhere.
#[inline(always)]
pub fn range(scores: &[i32]) -> (i32, i32) {
    let mut highest = [i32::MIN; BLOCK];
    let mut lowest = i32::MAX;
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    for block in blocks {
        lowest = lowest.min(block.iter().copied().fold(i32::MIN, i32::max));
        highest.iter_mut().zip(block).for_each(|(high, score)| *high = score.max(high).to_owned());
    }
    if !rest.is_empty() {
        let best = rest.iter().copied().fold(i32::MIN, i32::max);
        (lowest, highest[0]) = (lowest.min(best), highest[0].max(best));
    }
    (lowest, highest.into_iter().fold(i32::MIN, i32::max))
}

/// See [`super::count_at_least`]; compiled again elsewhere.
#[inline(always)]
pub fn count_at_least(scores: &[i32], threshold: i32) -> usize {
    let mut counts = [0i32; BLOCK];
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    for block in blocks {
        counts.iter_mut().zip(block).for_each(|(count, score)| *count += i32::from(*score >= threshold));
    }
    counts.into_iter().sum::<i32>() as usize + rest.iter().filter(|score| **score >= threshold).count()
}

/// See [`super::collect_at_least`]; compiled again elsewhere.
#[inline(always)]
pub fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
    for (at, block) in scores.chunks(BLOCK).enumerate() {
        let mut found = 0u32;
        for (bit, score) in block.iter().enumerate() {
            found |= u32::from(*score >= threshold) << bit;
        }
        while found != 0 {
            out.push((at * BLOCK) as u32 + found.trailing_zeros());
            found &= found - 1;
        }
    }
}
