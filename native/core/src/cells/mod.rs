//! Spherical cells: each vector lies in the bucket of its nearest centroid, and a query visits the cells
//! in the order of their centroids' similarity.
//!
//! Cells follow the data where hyperplanes cut through it: on trained embeddings of product photos they
//! keep all right answers where hyperplanes lose a tenth at the same number of codes; see
//! `docs/adr/0005-learned-cells.md`.
//!
//! With thousands of cells the order itself would cost more than the scan it saves. So cells lie in
//! groups; a query scores the groups, then the cells of the best groups, by 8-bit codes of the leading
//! coordinates, and computes exact similarities of the winners only.
//!
//! Catalogues are full of copies: one photo may be there a hundred thousand times, and no cut of space
//! parts them. Vectors with so many copies that they would overfill a cell get one that takes nothing but
//! copies, so that a search may pass over most of its rows and miss nothing that is not the same.

mod kmeans;
mod levels;

mod train;

use crate::kernels::coarse::{self, LANES, TILE, UNIT};
use crate::threads::Stop;
pub use levels::CoarseScratch;
use levels::Levels;

/// All of [`Cells`] that is not derived: what a file stores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellsParts {
    /// Vector dimension.
    pub dim: usize,
    /// Unit centroids, laid out (cell, dim), group after group.
    pub centroids: Vec<f32>,
    /// Orthonormal (or zero) directions of the coarse codes, laid out (direction, dim); none without groups.
    pub directions: Vec<f32>,
    /// First cell of each group, none of them empty, then the end of the last one: cells from there on
    /// take copies only. Empty where there are neither groups nor such cells.
    pub groups: Vec<u32>,
}

impl CellsParts {
    /// Whether the parts fit together.
    pub fn fits(&self) -> bool {
        let Self { dim, centroids, directions, groups } = self;
        let whole = |values: &[f32]| *dim > 0 && values.len().is_multiple_of(*dim);
        let covers = |groups: &[u32]| {
            groups[0] == 0
                && (1..=centroids.len() / dim).contains(&(groups[groups.len() - 1] as usize))
                && groups.is_sorted_by(|a, b| a < b)
        };
        whole(centroids)
            && whole(directions)
            && directions.len() / dim <= dim.next_multiple_of(TILE)
            && (groups.is_empty() == directions.is_empty() || groups.len() == 2)
            && (groups.is_empty() || covers(groups))
    }
}

/// The centroids of all cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Vector dimension.
    pub dim: usize,
    /// Unit centroids of multiples of 2^-15, laid out (cell, dim).
    pub centroids: Vec<f32>,
    /// The same in units of [`UNIT`], padded to whole lanes.
    short: Vec<i16>,
    /// Number of cells that take any vector; those after them take copies of their centroid only.
    ordinary: usize,
    /// The coarse order; none where there are so few cells that it would not pay.
    levels: Option<Levels>,
}

impl Cells {
    /// Trains `count` cells on a sample of `vectors` (unit rows of length `dim`, at least `count`).
    ///
    /// The result depends on the arguments alone, not on the number of threads.
    /// There are fewer where not so many vectors differ, and more where cells would otherwise exceed [`cap`] rows.
    pub fn train(vectors: &[f32], dim: usize, count: usize, seed: u64) -> Self {
        Self::train_until(&Stop::default(), vectors, dim, &[], count, seed).expect("nobody stops it")
    }

    /// As [`Cells::train`], without looking at the vectors `held_out` (ascending numbers); nothing once `stop` is set.
    pub fn train_until(
        stop: &Stop,
        vectors: &[f32],
        dim: usize,
        held_out: &[u32],
        count: usize,
        seed: u64,
    ) -> Option<Self> {
        train::train(stop, vectors, dim, held_out, count, seed)
    }

    /// The cells of these parts, their centroids rounded to multiples of 2^-15. Panics if the parts do not fit together.
    pub fn from_parts(parts: CellsParts) -> Self {
        assert!(parts.fits(), "whole centroids and directions, groups that cover all cells in order");
        let CellsParts { dim, mut centroids, directions, groups } = parts;
        let short = shorten(&mut centroids, dim);
        let ordinary = groups.last().map_or(centroids.len() / dim, |end| *end as usize);
        let levels = (!directions.is_empty())
            .then(|| Levels::new(&centroids[..ordinary * dim], dim, directions, groups));
        Self { dim, centroids, short, ordinary, levels }
    }

    /// What a file stores.
    pub fn into_parts(self) -> CellsParts {
        let one_group = if self.ordinary < self.count() { vec![0, self.ordinary as u32] } else { Vec::new() };
        let (directions, groups) = self.levels.map_or((Vec::new(), one_group), Levels::into_parts);
        CellsParts { dim: self.dim, centroids: self.centroids, directions, groups }
    }

    /// The centroid of a cell.
    pub fn centroid(&self, cell: u32) -> &[f32] {
        &self.centroids[cell as usize * self.dim..][..self.dim]
    }

    /// Number of cells.
    pub fn count(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// Whether a cell takes nothing but copies of its centroid.
    pub fn takes_only_copies(&self, cell: u32) -> bool {
        cell as usize >= self.ordinary
    }

    /// The cell of `x` and its similarity to the centroid.
    ///
    /// With many cells it is the nearest one nearly always, else one of the nearest. Only copies go to a
    /// cell that is for them.
    pub fn nearest(&self, x: &[f32], scratch: &mut CoarseScratch) -> (u32, f32) {
        let (ordinary, copied) = self.centroids.split_at(self.ordinary * self.dim);
        let (cell, similarity) = kmeans::nearest(copied, x);
        if similarity >= COPY {
            return (self.ordinary as u32 + cell, similarity);
        }
        let Some(levels) = &self.levels else {
            return kmeans::nearest(ordinary, x);
        };
        levels.candidates(x, NEAREST_GROUPS, NEAREST_CANDIDATES, scratch);
        self.compare(x, scratch);
        let best = scratch.ranked.iter().min_by_key(|found| place(found)).expect("there are candidates");
        (best.1, best.0)
    }

    /// The `count` cells most similar to `query`, best first, each with its exact similarity.
    ///
    /// With many cells, all but the best few of the true order are near certain to be among them.
    pub fn rank<'a>(&self, query: &[f32], count: usize, scratch: &'a mut CoarseScratch) -> &'a [(f32, u32)] {
        let count = count.min(self.count());
        let wanted = count + count / 4 + 4;
        match &self.levels {
            Some(levels) if wanted < self.ordinary => {
                let share = groups_for(count, self.ordinary, levels.groups());
                levels.candidates(query, share, wanted, scratch);
                scratch.found.extend(self.ordinary as u32..self.count() as u32);
            }
            _ => {
                scratch.found.clear();
                scratch.found.extend(0..self.count() as u32);
            }
        }
        self.compare(query, scratch);
        let ranked = &mut scratch.ranked;
        if count > 0 && count < ranked.len() {
            ranked.select_nth_unstable_by_key(count - 1, place);
        }
        ranked.truncate(count);
        ranked.sort_unstable_by_key(place);
        ranked
    }

    /// Writes the exact similarities of the cells found to `scratch.ranked`.
    fn compare(&self, x: &[f32], scratch: &mut CoarseScratch) {
        let CoarseScratch { found, ranked, padded, .. } = scratch;
        padded.clear();
        padded.extend_from_slice(x);
        padded.resize(x.len().next_multiple_of(LANES), 0.0);
        ranked.clear();
        coarse::similarities(&self.short, padded, found, ranked);
    }
}

/// Rounds centroids to multiples of [`UNIT`] and returns them as such, padded to whole lanes.
fn shorten(centroids: &mut [f32], dim: usize) -> Vec<i16> {
    let mut short = Vec::with_capacity(centroids.len() / dim * dim.next_multiple_of(LANES));
    for centroid in centroids.chunks_exact_mut(dim) {
        for value in centroid.iter_mut() {
            // Saturates at the ends: one unit below 1.
            short.push((*value / UNIT).round_ties_even() as i16);
            *value = f32::from(short[short.len() - 1]) * UNIT;
        }
        short.resize(short.len().next_multiple_of(LANES), 0);
    }
    short
}

/// Least similarity of a copy to the one that it is a copy of: less than one by what rounding takes, the
/// centroid's and that of 8-bit vectors.
const COPY: f32 = 0.9999;

/// Most rows that training leaves in a cell where `rows` are spread over `cells`, copies aside.
pub fn cap(rows: usize, cells: usize) -> usize {
    const TIMES_MEAN: usize = 8;
    const LEAST: usize = 256;
    (TIMES_MEAN * rows / cells.max(1)).max(LEAST)
}

/// Groups and cells that [`Cells::nearest`] looks at: on the simulated catalogue with 8,192 cells it
/// then misses the nearest cell for 0.5 % of the vectors.
const NEAREST_GROUPS: usize = 20;
const NEAREST_CANDIDATES: usize = 8;

/// Groups of `groups` whose cells to score, to find the `count` best of `cells` cells.
///
/// On the simulated catalogue they hold 99.5 % of the best 32 cells of 8,192.
fn groups_for(count: usize, cells: usize, groups: usize) -> usize {
    let share = (count as f64 / cells as f64).sqrt();
    ((2.5 * share * groups as f64).ceil() as usize).max(NEAREST_GROUPS)
}

/// Orders by similarity downwards, then by the number upwards.
fn place((similarity, cell): &(f32, u32)) -> u64 {
    let bits = similarity.to_bits() as i32;
    // As in `f32::total_cmp`: flips what makes negative numbers descend, then the sign, then all.
    let ascending = (bits ^ ((bits >> 31) as u32 >> 1) as i32) as u32 ^ (1 << 31);
    u64::from(!ascending) << 32 | u64::from(*cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dot::dot;
    use crate::rng::SplitMix64;

    /// Unit vectors around `clusters` random directions, cluster after cluster.
    fn clustered(clusters: usize, each: usize, dim: usize) -> Vec<f32> {
        let mut rng = SplitMix64::new(9);
        let middles: Vec<f32> = (0..clusters * dim).map(|_| rng.next_bell()).collect();
        around(&middles, each, dim, 0.05)
    }

    /// Unit rows around the given ones, each moved by noise of this size per coordinate.
    fn around(rows: &[f32], each: usize, dim: usize, noise: f32) -> Vec<f32> {
        let mut rng = SplitMix64::new(10);
        let mut out = Vec::new();
        for row in rows.chunks_exact(dim).flat_map(|row| std::iter::repeat_n(row, each)) {
            let moved: Vec<f32> = row.iter().map(|v| v + noise * rng.next_bell()).collect();
            let length = dot(&moved, &moved).sqrt();
            out.extend(moved.iter().map(|v| v / length));
        }
        out
    }

    #[test]
    fn every_row_lies_near_the_centroid_of_its_cell() {
        let (clusters, each, dim) = (12, 30, 24);
        let rows = clustered(clusters, each, dim);
        let cells = Cells::train(&rows, dim, 3 * clusters, 1);
        assert_eq!(cells.count(), 3 * clusters);
        for centroid in cells.centroids.chunks_exact(dim) {
            assert!((dot(centroid, centroid) - 1.0).abs() < 1e-4);
        }
        let far = rows
            .chunks_exact(dim)
            .filter(|row| cells.nearest(row, &mut CoarseScratch::default()).1 < 0.8)
            .count();
        assert!(far <= rows.len() / dim / 10, "{far} rows lie far from every centroid");
    }

    #[test]
    fn training_does_not_depend_on_threads() {
        let rows = clustered(40, 40, 16);
        for count in [20, 300] {
            let train = |threads| {
                crate::threads::pool(threads).unwrap().install(|| Cells::train(&rows, 16, count, 7))
            };
            assert_eq!(train(1), train(2));
        }
    }

    #[test]
    fn training_needs_no_distinct_rows() {
        let mut same = clustered(1, 1, 16).repeat(2_000);
        for count in [1, 10, 129, 300] {
            let cells = Cells::train(&same, 16, count, 1);
            // One for vectors like it and, where that would be overfull, one for its copies.
            assert_eq!(cells.count(), if count == 1 { 1 } else { 2 });
            assert!(cells.nearest(&same[..16], &mut CoarseScratch::default()).1 > 0.999);
            assert_eq!(Cells::from_parts(cells.clone().into_parts()), cells);
        }
        same[..16 * 600].copy_from_slice(&clustered(30, 20, 16));
        let cells = Cells::train(&same, 16, 300, 1);
        assert_eq!(cells.count(), 301);
        assert!(cells.centroids.iter().all(|v| v.is_finite()));
        let mut scratch = CoarseScratch::default();
        let photo = &same[16 * 600..][..16];
        let (copy, _) = cells.nearest(photo, &mut scratch);
        assert!(cells.takes_only_copies(copy) && !cells.takes_only_copies(copy - 1));
        for row in same[..16 * 600].chunks_exact(16) {
            let (cell, similarity) = cells.nearest(row, &mut scratch);
            assert_eq!(cells.takes_only_copies(cell), row == photo);
            assert!(similarity > 0.5);
        }
        let found = cells.rank(photo, 3, &mut scratch);
        assert!(found.iter().any(|(_, cell)| *cell == copy), "it is among the best for its photo");
    }

    #[test]
    fn no_cell_is_left_overfull() {
        // One cluster has most rows.
        let (dim, most) = (12, 9_000);
        let mut rows = clustered(1, most, dim);
        rows.extend(clustered(300, 10, dim));
        let cells = Cells::train(&rows, dim, 400, 4);
        let mut sizes = vec![0; cells.count()];
        for row in rows.chunks_exact(dim) {
            sizes[cells.nearest(row, &mut CoarseScratch::default()).0 as usize] += 1;
        }
        let largest = sizes.iter().max().unwrap();
        assert!(*largest <= cap(rows.len() / dim, 400), "{largest} rows");
    }

    #[test]
    fn nearest_and_rank_agree_with_brute_force() {
        let (dim, count) = (33, 1_500);
        let rows = around(&around(&clustered(50, 1, dim), 40, dim, 0.1), 8, dim, 0.05);
        let cells = Cells::train(&rows, dim, count, 3);
        assert_eq!(cells.count(), count);
        let mut scratch = CoarseScratch::default();
        let (mut right, mut found, mut queries) = (0, 0, 0);
        for row in rows.chunks_exact(dim).step_by(13) {
            let similarities = cells.centroids.chunks_exact(dim).map(|centroid| dot(centroid, row));
            let mut exact: Vec<(f32, u32)> = similarities.zip(0..).collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            queries += 1;
            right += usize::from(cells.nearest(row, &mut scratch).1 == exact[0].0);
            let ranked = cells.rank(row, 24, &mut scratch);
            assert_eq!(ranked.len(), 24);
            assert!(ranked.is_sorted_by(|a, b| place(a) < place(b)), "in order, and each cell once");
            for (similarity, cell) in ranked {
                let centroid = &cells.centroids[*cell as usize * dim..][..dim];
                assert_eq!(*similarity, dot(centroid, row), "similarities are exact");
            }
            found += ranked.iter().filter(|cell| exact[..24].contains(cell)).count();
            assert_eq!(cells.rank(row, count + 1, &mut scratch), exact, "all cells in exact order");
        }
        assert!(right * 100 >= queries * 99, "{right} of {queries}");
        assert!(found * 100 >= queries * 24 * 95, "{found} of {}", queries * 24);
    }

    #[test]
    fn parts_make_the_same_cells_again() {
        let rows = clustered(100, 20, 8);
        for count in [1, 100, 400] {
            let cells = Cells::train(&rows, 8, count, 5);
            assert_eq!(Cells::from_parts(cells.clone().into_parts()), cells);
        }
    }

    #[test]
    fn one_coordinate_is_enough() {
        let rows: Vec<f32> = (0..400).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let cells = Cells::train(&rows, 1, 200, 2);
        let mut scratch = CoarseScratch::default();
        assert!(
            cells.nearest(&[1.0], &mut scratch).1 > 0.99 && cells.nearest(&[-1.0], &mut scratch).1 > 0.99
        );
        assert_eq!(cells.rank(&[1.0], 3, &mut scratch).len(), 3);
    }
}
