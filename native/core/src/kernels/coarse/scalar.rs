//! The reference kernels. Those that say so are compiled again by the other modules for their
//! instruction sets: they are written so that the compiler makes good vector code of them.

use super::{AHEAD, BLOCK, LANES, OFFSET, STEP, TILE, UNIT, prefetch_row};

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
    for block in scores.as_chunks::<BLOCK>().0 {
        highest.iter_mut().zip(block).for_each(|(high, score)| *high = (*high).max(*score));
    }
    highest.iter().fold((i32::MAX, i32::MIN), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// See [`super::count_at_least`]; compiled again elsewhere.
#[inline(always)]
pub fn count_at_least(scores: &[i32], threshold: i32) -> usize {
    scores.iter().map(|score| i32::from(*score >= threshold)).sum::<i32>() as usize
}

/// See [`super::collect_at_least`]; compiled again elsewhere.
#[inline(always)]
pub fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
    for (at, block) in scores.as_chunks::<BLOCK>().0.iter().enumerate() {
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

/// See [`super::similarities`].
pub fn similarities(rows: &[i16], query: &[f32], numbers: &[u32], out: &mut Vec<(f32, u32)>) {
    (0..AHEAD).for_each(|at| prefetch_row(rows, query.len(), numbers, at));
    for (at, number) in numbers.iter().enumerate() {
        prefetch_row(rows, query.len(), numbers, at + AHEAD);
        let row = &rows[*number as usize * query.len()..][..query.len()];
        let mut lanes = [0.0f32; LANES];
        for (row, query) in row.as_chunks::<LANES>().0.iter().zip(query.as_chunks::<LANES>().0) {
            for i in 0..LANES {
                lanes[i] += f32::from(row[i]) * query[i];
            }
        }
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        out.push((lanes[0] * UNIT, *number));
    }
}
