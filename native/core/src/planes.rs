//! The hyperplanes that cut space into buckets: trained directions, median offsets.
//!
//! Normals are random orthogonal mixtures of the leading principal directions of the data, and each
//! hyperplane passes through the median, so that it halves the data. Plain random normals (Charikar
//! 2002) need three to five times the candidates for the same recall; see
//! `docs/adr/0003-hyperplane-buckets.md`.

use rayon::prelude::*;

use crate::kernels::dot::dot;
use crate::orthonormal::{add_scaled, orthonormalise, random_orthonormal};
use crate::probe::bucket_of;
use crate::rng::SplitMix64;

/// Most vectors that training looks at.
const SAMPLE: usize = 8192;
/// Steps of subspace iteration; the directions need not be exact, as they are mixed anyway.
const ITERATIONS: usize = 8;

/// `tables` sets of `per_table` hyperplanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Vector dimension.
    pub dim: usize,
    /// Number of tables.
    pub tables: usize,
    /// Hyperplanes in a table.
    pub per_table: usize,
    /// Unit normals, laid out (table, hyperplane, dim).
    pub normals: Vec<f32>,
    /// Distance from the origin along the normal, laid out (table, hyperplane).
    pub offsets: Vec<f32>,
}

impl Planes {
    /// Trains on a sample of `vectors` (rows of length `dim`, at least one).
    ///
    /// The result depends on the arguments alone, not on the number of threads.
    pub fn train(vectors: &[f32], dim: usize, tables: usize, per_table: usize, seed: u64) -> Self {
        let sample = centred_sample(vectors, dim);
        let mut rng = SplitMix64::new(seed);
        // Three times the hyperplanes of a table: three tables then see different directions.
        let leading = (per_table * tables.min(3)).min(dim);
        let basis = leading_subspace(&sample.rows, dim, leading, &mut rng);
        let mut normals = Vec::with_capacity(tables * per_table * dim);
        while normals.len() < tables * per_table * dim {
            for mix in random_orthonormal(leading, leading, &mut rng).chunks_exact(leading) {
                let at = normals.len();
                normals.resize(at + dim, 0.0);
                for (weight, direction) in mix.iter().zip(basis.chunks_exact(dim)) {
                    add_scaled(&mut normals[at..], *weight, direction);
                }
            }
        }
        normals.truncate(tables * per_table * dim);
        let offsets = normals
            .par_chunks_exact(dim)
            .map(|normal| {
                let mut along: Vec<f32> = sample.rows.chunks_exact(dim).map(|row| dot(normal, row)).collect();
                let middle = along.len() / 2;
                *along.select_nth_unstable_by(middle, f32::total_cmp).1 + dot(normal, &sample.mean)
            })
            .collect();
        Self { dim, tables, per_table, normals, offsets }
    }

    /// Writes the signed distance of `x` from every hyperplane, laid out (table, hyperplane).
    pub fn margins(&self, x: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend(
            self.normals
                .chunks_exact(self.dim)
                .zip(&self.offsets)
                .map(|(normal, offset)| dot(normal, x) - offset),
        );
    }

    /// The bucket of `x` in every table.
    pub fn buckets(&self, x: &[f32]) -> Vec<u32> {
        let mut margins = Vec::new();
        self.margins(x, &mut margins);
        margins.chunks_exact(self.per_table).map(bucket_of).collect()
    }
}

struct Sample {
    mean: Vec<f32>,
    rows: Vec<f32>,
}

fn centred_sample(vectors: &[f32], dim: usize) -> Sample {
    let count = vectors.len() / dim;
    assert!(count > 0, "training needs vectors");
    let taken = count.min(SAMPLE);
    let mut rows: Vec<f32> =
        (0..taken).flat_map(|i| &vectors[(i * count / taken) * dim..][..dim]).copied().collect();
    let mean = mean_of(&rows, dim);
    for row in rows.chunks_exact_mut(dim) {
        add_scaled(row, -1.0, &mean);
    }
    Sample { mean, rows }
}

/// The mean of the rows (row, dim); zeros without rows.
pub fn mean_of(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

/// An orthonormal basis, laid out (count, dim), of about the leading principal directions of `rows`:
/// subspace iteration on the covariance, which is never formed.
fn leading_subspace(rows: &[f32], dim: usize, count: usize, rng: &mut SplitMix64) -> Vec<f32> {
    let mut basis = random_orthonormal(count, dim, rng);
    for _ in 0..ITERATIONS {
        basis = basis
            .par_chunks_exact(dim)
            .flat_map_iter(|direction| {
                let mut image = vec![0.0; dim];
                for row in rows.chunks_exact(dim) {
                    add_scaled(&mut image, dot(direction, row), row);
                }
                image
            })
            .collect();
        orthonormalise(&mut basis, dim, rng);
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretched(count: usize, dim: usize) -> Vec<f32> {
        let mut rng = SplitMix64::new(1);
        let scale = |axis: usize| if axis < 4 { 5.0 } else { 0.5 };
        (0..count * dim).map(|i| 2.0 + scale(i % dim) * rng.next_bell()).collect()
    }

    #[test]
    fn the_subspace_is_the_stretched_one() {
        let (dim, count) = (20, 400);
        let sample = centred_sample(&stretched(count, dim), dim);
        let basis = leading_subspace(&sample.rows, dim, 4, &mut SplitMix64::new(2));
        for direction in basis.chunks_exact(dim) {
            let inside: f32 = direction[..4].iter().map(|v| v * v).sum();
            assert!(inside > 0.98, "{inside}");
        }
    }

    #[test]
    fn every_hyperplane_halves_the_data() {
        let (dim, count) = (20, 401);
        let vectors = stretched(count, dim);
        let planes = Planes::train(&vectors, dim, 3, 6, 9);
        let mut above = [0; 18];
        let mut margins = Vec::new();
        for row in vectors.chunks_exact(dim) {
            planes.margins(row, &mut margins);
            above.iter_mut().zip(&margins).for_each(|(n, m)| *n += usize::from(*m >= 0.0));
        }
        assert!(above.iter().all(|n| n.abs_diff(count / 2) <= 2), "{above:?}");
    }

    #[test]
    fn identical_and_few_dimensional_data_still_train() {
        let planes = Planes::train(&[0.5f32, 0.5].repeat(300), 2, 2, 6, 0);
        assert_eq!(planes.offsets.len(), 12);
        assert!(planes.normals.iter().all(|v| v.is_finite()));
        assert_eq!(Planes::train(&[1.0f32; 50], 1, 1, 4, 0).normals.len(), 4);
    }
}
