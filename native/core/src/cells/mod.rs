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

mod kmeans;
mod levels;
mod spectrum;
mod train;

use crate::coarse::prefetch;
use crate::dot::dot;
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
    /// First cell of each group, then the number of cells; empty without groups.
    pub groups: Vec<u32>,
}

impl CellsParts {
    /// Whether the parts fit together.
    pub fn fits(&self) -> bool {
        let Self { dim, centroids, directions, groups } = self;
        let whole = |values: &[f32]| *dim > 0 && values.len().is_multiple_of(*dim);
        let covers = |groups: &[u32]| {
            groups[0] == 0
                && groups[groups.len() - 1] as usize == centroids.len() / dim
                && groups.is_sorted_by(|a, b| a < b)
        };
        whole(centroids)
            && whole(directions)
            && groups.is_empty() == directions.is_empty()
            && (groups.is_empty() || covers(groups))
    }
}

/// The centroids of all cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Vector dimension.
    pub dim: usize,
    /// Unit centroids, laid out (cell, dim).
    pub centroids: Vec<f32>,
    /// The coarse order; none where there are so few cells that it would not pay.
    levels: Option<Levels>,
}

impl Cells {
    /// Trains `count` cells on a sample of `vectors` (unit rows of length `dim`, at least `count`).
    ///
    /// The result depends on the arguments alone, not on the number of threads.
    pub fn train(vectors: &[f32], dim: usize, count: usize, seed: u64) -> Self {
        train::train(vectors, dim, count, seed)
    }

    /// The cells of these parts. Panics if the parts do not fit together.
    pub fn from_parts(parts: CellsParts) -> Self {
        assert!(parts.fits(), "whole centroids and directions, groups that cover all cells in order");
        let CellsParts { dim, centroids, directions, groups } = parts;
        let levels = (!groups.is_empty()).then(|| Levels::new(&centroids, dim, directions, groups));
        Self { dim, centroids, levels }
    }

    /// What a file stores.
    pub fn into_parts(self) -> CellsParts {
        let (directions, groups) = self.levels.map(Levels::into_parts).unwrap_or_default();
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

    /// The cell of `x` and its similarity to the centroid.
    ///
    /// With many cells it is the nearest one nearly always, else one of the nearest.
    pub fn nearest(&self, x: &[f32], scratch: &mut CoarseScratch) -> (u32, f32) {
        let Some(levels) = &self.levels else {
            return kmeans::nearest(&self.centroids, x);
        };
        levels.candidates(x, NEAREST_GROUPS, NEAREST_CANDIDATES, scratch);
        self.compare(x, scratch);
        let best = scratch.ranked.iter().min_by(|a, b| by_rank(a, b)).expect("there are candidates");
        (best.1, best.0)
    }

    /// The `count` cells most similar to `query`, best first, each with its exact similarity.
    ///
    /// With many cells, all but the best few of the true order are near certain to be among them.
    pub fn rank<'a>(&self, query: &[f32], count: usize, scratch: &'a mut CoarseScratch) -> &'a [(f32, u32)] {
        let count = count.min(self.count());
        let wanted = count + count / 4 + 4;
        match &self.levels {
            Some(levels) if wanted < self.count() => {
                let share = groups_for(count, self.count(), levels.groups());
                levels.candidates(query, share, wanted, scratch);
            }
            _ => {
                scratch.found.clear();
                scratch.found.extend(0..self.count() as u32);
            }
        }
        self.compare(query, scratch);
        let ranked = &mut scratch.ranked;
        if count > 0 && count < ranked.len() {
            ranked.select_nth_unstable_by(count - 1, by_rank);
        }
        ranked.truncate(count);
        ranked.sort_unstable_by(by_rank);
        ranked
    }

    /// The similarity of `x` to every centroid.
    pub fn similarities<'a>(&'a self, x: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.centroids.chunks_exact(self.dim).map(move |centroid| dot(centroid, x))
    }

    /// Writes the exact similarities of the cells found to `scratch.ranked`.
    fn compare(&self, x: &[f32], scratch: &mut CoarseScratch) {
        let CoarseScratch { found, ranked, .. } = scratch;
        let centroid = |cell: u32| &self.centroids[cell as usize * self.dim..][..self.dim];
        ranked.clear();
        found.iter().take(AHEAD).for_each(|cell| prefetch(centroid(*cell)));
        for (at, cell) in found.iter().enumerate() {
            if let Some(later) = found.get(at + AHEAD) {
                prefetch(centroid(*later));
            }
            ranked.push((dot(centroid(*cell), x), *cell));
        }
    }
}

/// Centroids that are fetched before their turn.
const AHEAD: usize = 4;
/// Groups and cells that [`Cells::nearest`] looks at.
const NEAREST_GROUPS: usize = 8;
const NEAREST_CANDIDATES: usize = 8;

/// Groups of `groups` whose cells to score, to find the `count` best of `cells` cells.
fn groups_for(count: usize, cells: usize, groups: usize) -> usize {
    ((count as f64 / cells as f64).powf(0.5) * 2.5 * groups as f64).ceil() as usize
}

/// Similarity downwards, then the number upwards.
fn by_rank(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    /// Unit vectors around `clusters` random directions, cluster after cluster.
    fn clustered(clusters: usize, each: usize, dim: usize) -> Vec<f32> {
        let mut rng = SplitMix64::new(9);
        let mut rows = Vec::new();
        for _ in 0..clusters {
            let middle: Vec<f32> = (0..dim).map(|_| rng.next_bell()).collect();
            for _ in 0..each {
                let row: Vec<f32> = middle.iter().map(|v| v + 0.05 * rng.next_bell()).collect();
                let length = dot(&row, &row).sqrt();
                rows.extend(row.iter().map(|v| v / length));
            }
        }
        rows
    }

    #[test]
    fn every_row_lies_near_the_centroid_of_its_cell() {
        let (clusters, each, dim) = (12, 30, 24);
        let rows = clustered(clusters, each, dim);
        let cells = Cells::train(&rows, dim, 3 * clusters, 1);
        assert_eq!(cells.count(), 3 * clusters);
        for centroid in cells.centroids.chunks_exact(dim) {
            assert!((dot(centroid, centroid) - 1.0).abs() < 1e-5);
        }
        let far = rows
            .chunks_exact(dim)
            .filter(|row| cells.nearest(row, &mut CoarseScratch::default()).1 < 0.8)
            .count();
        assert!(far <= rows.len() / dim / 10, "{far} rows lie far from every centroid");
    }

    #[test]
    fn training_does_not_depend_on_threads_and_needs_no_distinct_rows() {
        let rows = clustered(5, 40, 16);
        let train =
            |threads| crate::threads::pool(threads).unwrap().install(|| Cells::train(&rows, 16, 20, 7));
        assert_eq!(train(1), train(2));
        let same: Vec<f32> = rows[..16].repeat(50);
        assert_eq!(Cells::train(&same, 16, 10, 1).nearest(&rows[..16], &mut CoarseScratch::default()).0, 0);
    }
}
