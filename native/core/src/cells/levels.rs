//! The coarse order in two levels: groups of cells, then the cells of the best groups, both scored by
//! 8-bit codes of the coordinates along which centroids differ most.

use rayon::prelude::*;

use crate::kernels::coarse::{self, BLOCK, OFFSET, STEP, TILE};
use crate::kernels::dot::dot;
use crate::planes::mean_of;

/// Largest code and query coordinate.
const LIMIT: f32 = 127.0;

/// What [`super::Cells::rank`] and [`super::Cells::nearest`] write to, reusable between calls.
#[derive(Debug, Default)]
pub struct CoarseScratch {
    projected: Vec<f32>,
    query: Vec<i8>,
    group_scores: Vec<i32>,
    groups: Vec<u32>,
    scores: Vec<i32>,
    /// First cell of every block of `scores`.
    block_cells: Vec<u32>,
    /// Cells worth an exact look.
    pub(super) found: Vec<u32>,
    pub(super) ranked: Vec<(f32, u32)>,
    /// The query, padded to whole lanes.
    pub(super) padded: Vec<f32>,
}

/// Codes of centroids, group after group, all derived from the centroids, the basis and the groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Levels {
    dim: usize,
    /// Directions as they were given, laid out (direction, dim).
    directions: Vec<f32>,
    /// First cell of each group, and the number of cells.
    starts: Vec<u32>,
    /// The directions laid out as [`coarse::project`] wants them.
    basis: Vec<f32>,
    /// Coordinates of a code.
    lead: usize,
    /// First block of each group in `codes`, and the number of blocks.
    blocks: Vec<u32>,
    codes: Vec<u8>,
    group_codes: Vec<u8>,
}

impl Levels {
    /// `directions` (direction, dim) are orthonormal or zero; `starts` begins with 0 and ascends to the
    /// number of centroids.
    pub(super) fn new(centroids: &[f32], dim: usize, directions: Vec<f32>, starts: Vec<u32>) -> Self {
        let basis = tiles(&directions, dim);
        let lead = basis.len() / dim;
        let mean = mean_of(centroids, dim);
        let apart = |x: &[f32]| x.iter().zip(&mean).map(|(x, m)| x - m).collect::<Vec<f32>>();
        let mut coordinates = vec![0.0; centroids.len() / dim * lead];
        let outputs = coordinates.par_chunks_exact_mut(lead).zip(centroids.par_chunks_exact(dim));
        outputs.with_min_len(64).for_each(|(out, centroid)| {
            coarse::project(&basis, &apart(centroid), out);
        });
        let of_group = |range: &[u32]| &coordinates[range[0] as usize * lead..range[1] as usize * lead];
        let mut middles = vec![0.0; (starts.len() - 1) * lead];
        for (out, range) in middles.chunks_exact_mut(lead).zip(starts.windows(2)) {
            let of_group = &centroids[range[0] as usize * dim..range[1] as usize * dim];
            let middle = apart(&unit(mean_of(of_group, dim)));
            coarse::project(&basis, &middle, out);
        }
        let scale = scale_of(&coordinates);
        let mut codes = Vec::new();
        let mut blocks = vec![0];
        for range in starts.windows(2) {
            interleave(of_group(range), lead, scale, &mut codes);
            blocks.push((codes.len() / (BLOCK * lead)) as u32);
        }
        let mut group_codes = Vec::new();
        interleave(&middles, lead, scale_of(&middles), &mut group_codes);
        Self { dim, directions, starts, basis, lead, blocks, codes, group_codes }
    }

    /// The directions and the starts of the groups.
    pub(super) fn into_parts(self) -> (Vec<f32>, Vec<u32>) {
        (self.directions, self.starts)
    }

    /// Number of groups.
    pub(super) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// Collects in `scratch.found` about `wanted` cells (more where scores tie), the best by code of
    /// the `groups` best groups.
    pub(super) fn candidates(
        &self,
        query: &[f32],
        groups: usize,
        wanted: usize,
        scratch: &mut CoarseScratch,
    ) {
        let CoarseScratch { projected, query: bytes, group_scores, groups: chosen, .. } = scratch;
        projected.resize(self.lead, 0.0);
        coarse::project(&self.basis, query, projected);
        let scale = scale_of(projected);
        bytes.clear();
        bytes.extend(projected.iter().map(|v| rounded(v * scale) as i8));
        group_scores.resize(self.group_codes.len() / self.lead, 0);
        coarse::scores(&self.group_codes, bytes, group_scores);
        group_scores[self.groups()..].fill(i32::MIN);
        chosen.clear();
        if groups < self.groups() {
            coarse::collect_at_least(group_scores, threshold(group_scores, groups), chosen);
        } else {
            chosen.extend(0..self.groups() as u32);
        }
        self.score_cells(scratch);
        let CoarseScratch { scores, block_cells, found, .. } = scratch;
        found.clear();
        coarse::collect_at_least(scores, threshold(scores, wanted), found);
        for position in found {
            *position = block_cells[*position as usize / BLOCK] + *position % BLOCK as u32;
        }
    }

    /// Scores the cells of the chosen groups, whole blocks of them: what pads a block gets `i32::MIN`.
    fn score_cells(&self, scratch: &mut CoarseScratch) {
        let CoarseScratch { query, groups, scores, block_cells, .. } = scratch;
        block_cells.clear();
        let most =
            groups.iter().map(|g| self.blocks[*g as usize + 1] - self.blocks[*g as usize]).sum::<u32>();
        scores.resize(most as usize * BLOCK, 0);
        let bytes = BLOCK * self.lead;
        let mut at = 0;
        for group in groups.iter().map(|g| *g as usize) {
            let range = self.blocks[group] as usize..self.blocks[group + 1] as usize;
            let (first, end) = (self.starts[group], self.starts[group + 1]);
            let out = &mut scores[at..][..range.len() * BLOCK];
            coarse::scores(&self.codes[range.start * bytes..range.end * bytes], query, out);
            out[(end - first) as usize..].fill(i32::MIN);
            block_cells.extend((first..end).step_by(BLOCK));
            at += out.len();
        }
    }
}

/// A threshold that about `wanted` scores reach: at least as many where there are so many, and few more
/// unless scores tie. `i32::MIN` counts for nothing.
fn threshold(scores: &[i32], wanted: usize) -> i32 {
    let lowest = i64::from(i32::MIN) + 1;
    let (low, high) = coarse::range(scores);
    let (mut low, mut high) = (i64::from(low).max(lowest), i64::from(high) + 1);
    let mut count = coarse::count_at_least(scores, low as i32);
    while low > lowest && count < wanted {
        (low, high) = ((low - 2 * (high - low)).max(lowest), low);
        count = coarse::count_at_least(scores, low as i32);
    }
    while high - low > 1 && count > wanted + wanted / 8 {
        let middle = low + (high - low) / 2;
        let here = coarse::count_at_least(scores, middle as i32);
        if here < wanted {
            high = middle;
        } else {
            (low, count) = (middle, here);
        }
    }
    low as i32
}

/// What makes the largest value [`LIMIT`].
fn scale_of(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    if largest > 0.0 { LIMIT / largest } else { 0.0 }
}

/// The nearest integer, ties to the even one, of a small value: adding 1.5 · 2^23 leaves no bits for a
/// fraction. Unlike `round_ties_even` it calls no function on the oldest x86-64.
fn rounded(value: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

/// Scaled to unit length, unless zero.
fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let length = dot(&x, &x).sqrt();
    if length > f32::MIN_POSITIVE {
        x.iter_mut().for_each(|v| *v /= length);
    }
    x
}

/// Appends the codes of cells (cell, lead), interleaved by [`BLOCK`] and padded to whole blocks.
fn interleave(coordinates: &[f32], lead: usize, scale: f32, codes: &mut Vec<u8>) {
    let mut left = codes.len();
    codes.resize(left + (coordinates.len() / lead).next_multiple_of(BLOCK) * lead, OFFSET as u8);
    for block in coordinates.chunks(BLOCK * lead) {
        for (cell, values) in block.chunks_exact(lead).enumerate() {
            for (i, value) in values.iter().enumerate() {
                let code = rounded(value * scale) + OFFSET;
                codes[left + i / STEP * BLOCK * STEP + cell * STEP + i % STEP] = code as u8;
            }
        }
        left += BLOCK * lead;
    }
}

/// Directions (direction, dim) laid out (tile, dim, [`TILE`]), padded with zeros.
fn tiles(directions: &[f32], dim: usize) -> Vec<f32> {
    let mut basis = vec![0.0; (directions.len() / dim).next_multiple_of(TILE) * dim];
    for (at, direction) in directions.chunks_exact(dim).enumerate() {
        for (i, value) in direction.iter().enumerate() {
            basis[(at / TILE * dim + i) * TILE + at % TILE] = *value;
        }
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn thresholds_are_reached_by_about_as_many_as_wanted() {
        let mut rng = SplitMix64::new(2);
        for blocks in [1, 3, 40] {
            let mut scores: Vec<i32> = (0..blocks * BLOCK).map(|_| (1e5 * rng.next_bell()) as i32).collect();
            scores[blocks * BLOCK - 5..].fill(i32::MIN);
            let valid = scores.len() - 5;
            for wanted in [1, 2, 8, 30, 300, 1_000] {
                let threshold = threshold(&scores, wanted);
                let count = coarse::count_at_least(&scores, threshold);
                let wanted = wanted.min(valid);
                assert!((wanted..=wanted + wanted / 8).contains(&count), "{count} for {wanted} of {valid}");
                assert!(threshold > i32::MIN);
            }
            let same = vec![-7; blocks * BLOCK];
            assert_eq!(threshold(&same, 3), -7);
        }
    }
}
