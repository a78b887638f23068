//! Spherical cells: each vector lies in the bucket of its nearest centroid (spherical k-means, Dhillon
//! and Modha 2001), and a query visits the cells in the order of their centroids' similarity.
//!
//! Cells follow the data where hyperplanes cut through it: on trained embeddings of product photos they
//! keep all right answers where hyperplanes lose a tenth at the same number of codes; see
//! `docs/adr/0005-learned-cells.md`.

use rayon::prelude::*;

use crate::dot::dot;
use crate::rng::SplitMix64;

/// Vectors that training looks at, for each cell.
const SAMPLE_PER_CELL: usize = 24;
const ITERATIONS: usize = 8;

/// The centroids of all cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Vector dimension.
    pub dim: usize,
    /// Unit centroids, laid out (cell, dim).
    pub centroids: Vec<f32>,
}

impl Cells {
    /// Trains `count` cells on a sample of `vectors` (unit rows of length `dim`, at least `count`).
    ///
    /// The result depends on the arguments alone, not on the number of threads.
    pub fn train(vectors: &[f32], dim: usize, count: usize, seed: u64) -> Self {
        let sample = shuffled_sample(vectors, dim, count * SAMPLE_PER_CELL, &mut SplitMix64::new(seed));
        assert!(sample.len() >= count * dim, "training {count} cells needs as many vectors");
        let mut cells = Self { dim, centroids: sample[..count * dim].to_vec() };
        for _ in 0..ITERATIONS {
            let nearest: Vec<(u32, f32)> =
                sample.par_chunks_exact(dim).with_min_len(64).map(|row| cells.nearest(row)).collect();
            cells.move_to_means(&sample, &nearest);
        }
        cells
    }

    /// x
    pub fn centroid(&self, cell: u32) -> &[f32] { &self.centroids[cell as usize * self.dim..][..self.dim] }
    /// Number of cells.
    pub fn count(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// The cell of `x` and its similarity to the centroid; of equal ones the first.
    pub fn nearest(&self, x: &[f32]) -> (u32, f32) {
        let mut best = (0, f32::NEG_INFINITY);
        for (cell, centroid) in self.centroids.chunks_exact(self.dim).enumerate() {
            let similarity = dot(centroid, x);
            if similarity > best.1 {
                best = (cell as u32, similarity);
            }
        }
        best
    }

    /// The similarity of `x` to every centroid.
    pub fn similarities<'a>(&'a self, x: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.centroids.chunks_exact(self.dim).map(move |centroid| dot(centroid, x))
    }

    /// Moves each centroid to the mean direction of its rows; one without rows to the row that fits worst.
    fn move_to_means(&mut self, sample: &[f32], nearest: &[(u32, f32)]) {
        let dim = self.dim;
        let mut sums = vec![0.0f32; self.centroids.len()];
        for (row, (cell, _)) in sample.chunks_exact(dim).zip(nearest) {
            let sum = &mut sums[*cell as usize * dim..][..dim];
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let mut worst: Vec<usize> = (0..nearest.len()).collect();
        worst.sort_unstable_by(|a, b| nearest[*a].1.total_cmp(&nearest[*b].1).then(a.cmp(b)));
        let mut worst = worst.into_iter();
        for (centroid, sum) in self.centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)) {
            let length = dot(sum, sum).sqrt();
            if length > f32::MIN_POSITIVE {
                centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = s / length);
            } else if let Some(row) = worst.next() {
                centroid.copy_from_slice(&sample[row * dim..][..dim]);
            }
        }
    }
}

/// At most `limit` rows in random order, so that the first of them can start as centroids.
fn shuffled_sample(vectors: &[f32], dim: usize, limit: usize, rng: &mut SplitMix64) -> Vec<f32> {
    let mut rows: Vec<usize> = (0..vectors.len() / dim).collect();
    let taken = rows.len().min(limit);
    for at in 0..taken {
        let other = at + (rng.next_u64() % (rows.len() - at) as u64) as usize;
        rows.swap(at, other);
    }
    rows[..taken].iter().flat_map(|row| &vectors[row * dim..][..dim]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let far = rows.chunks_exact(dim).filter(|row| cells.nearest(row).1 < 0.8).count();
        assert!(far <= rows.len() / dim / 10, "{far} rows lie far from every centroid");
    }

    #[test]
    fn training_does_not_depend_on_threads_and_needs_no_distinct_rows() {
        let rows = clustered(5, 40, 16);
        let train =
            |threads| crate::threads::pool(threads).unwrap().install(|| Cells::train(&rows, 16, 20, 7));
        assert_eq!(train(1), train(2));
        let same: Vec<f32> = rows[..16].repeat(50);
        assert_eq!(Cells::train(&same, 16, 10, 1).nearest(&rows[..16]).0, 0);
    }
}
