//! A rotation whose first outputs span the directions in which the given rows differ most.
//!
//! A code of fewer bits than dimensions sees only as many coordinates as it has bits: principal ones hold most
//! of what separates neighbours (as in LeanVec: Tepper et al., TMLR 2024). Within them a random rotation
//! spreads the variance evenly, which sign codes need (Gong & Lazebnik, "Iterative Quantization", CVPR 2011,
//! whose own, trained spreading measured hardly better; `docs/adr/0007-rows-by-bucket.md`).

use super::RandomRotation;
use crate::bounds;
use crate::kernels::dot::dot;
use crate::orthonormal::complete;
use crate::rng::SplitMix64;
use crate::spectrum;

/// An orthonormal matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedRotation {
    dim: usize,
    /// Laid out (output, input).
    matrix: Vec<f32>,
}

impl LearnedRotation {
    /// Learns from `rows` (row, dim); the first `leading` outputs, at most `dim`, are the principal ones.
    pub fn train(rows: &[f32], dim: usize, leading: usize, seed: u64) -> Self {
        let mut basis = spectrum::leading(rows, dim, leading, leading, 1.0, seed);
        complete(&mut basis, dim, dim, &mut SplitMix64::new(seed));
        // Each part is rotated within itself: the columns of the basis are its coordinates.
        let (first, rest) = (0..leading, leading..dim);
        let mut matrix = vec![0.0; dim * dim];
        for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
            let within = RandomRotation::new(part.len(), part.len(), seed);
            let (mut scratch, mut rotated) = (Vec::new(), vec![0.0; part.len()]);
            for column in 0..dim {
                let along: Vec<f32> = part.clone().map(|row| basis[row * dim + column]).collect();
                within.apply(&along, &mut scratch, &mut rotated);
                part.clone().zip(&rotated).for_each(|(row, value)| matrix[row * dim + column] = *value);
            }
        }
        Self { dim, matrix }
    }

    /// The rotation of a matrix as [`LearnedRotation::matrix`] returns it. Panics if its length is not `dim` squared.
    pub fn from_matrix(dim: usize, matrix: Vec<f32>) -> Self {
        assert_eq!(matrix.len(), dim * dim, "a square matrix");
        Self { dim, matrix }
    }

    /// Laid out (output, input).
    pub fn matrix(&self) -> &[f32] {
        &self.matrix
    }

    /// Number of inputs and of outputs.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Writes the rotated `x` to `out`, both of length `dim`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!(out.len(), self.dim, "output length");
        let rows = self.matrix.chunks_exact(self.dim);
        out.iter_mut().zip(rows).for_each(|(value, row)| *value = dot(row, x));
    }

    /// The error of [`LearnedRotation::apply`], as a share of the vector's length.
    pub fn apply_error(&self) -> f64 {
        bounds::dot(self.dim) * self.size()
    }

    /// The error of [`LearnedRotation::invert`], as a share of the vector's length.
    pub fn invert_error(&self) -> f64 {
        bounds::dot_in_any_order(self.dim) * self.size()
    }

    /// The length of the matrix as one vector: the rows have unit length but for rounding.
    fn size(&self) -> f64 {
        1.01 * (self.dim as f64).sqrt()
    }

    /// Undoes [`LearnedRotation::apply`].
    pub fn invert(&self, rotated: &[f32], out: &mut [f32]) {
        assert_eq!(rotated.len(), self.dim, "input length");
        assert_eq!(out.len(), self.dim, "output length");
        out.fill(0.0);
        for (value, row) in rotated.iter().zip(self.matrix.chunks_exact(self.dim)) {
            out.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows that vary strongly along the coordinates that `strong` names and weakly along all others.
    fn stretched(count: usize, dim: usize, strong: &[usize]) -> Vec<f32> {
        let mut rng = SplitMix64::new(7);
        let scale = |at: usize| if strong.contains(&at) { 4.0 } else { 0.1 };
        (0..count * dim).map(|at| scale(at % dim) * rng.next_bell()).collect()
    }

    #[test]
    fn the_first_outputs_hold_the_variance_evenly() {
        let (dim, strong) = (24, [2, 3, 11, 17, 18, 20, 22, 23]);
        let rows = stretched(2_000, dim, &strong);
        let rotation = LearnedRotation::train(&rows, dim, 8, 3);
        let mut squares = vec![0.0; dim];
        let mut out = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            rotation.apply(row, &mut out);
            squares.iter_mut().zip(&out).for_each(|(sum, v)| *sum += v * v / 2_000.0);
        }
        assert!(squares[..8].iter().all(|square| (8.0..30.0).contains(square)), "{squares:?}");
        assert!(squares[8..].iter().all(|square| *square < 0.1), "{squares:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_is_a_rotation_whatever_the_rows(
            (dim, leading) in (1usize..70).prop_flat_map(|dim| (Just(dim), 1..=dim)),
            count in 0usize..40, alike: bool, seed: u64,
        ) {
            let mut rng = SplitMix64::new(seed);
            let row: Vec<f32> = (0..dim).map(|_| rng.next_bell()).collect();
            let rows: Vec<f32> = (0..count * dim)
                .map(|at| if alike { row[at % dim] } else { rng.next_bell() })
                .collect();
            let rotation = LearnedRotation::train(&rows, dim, leading, seed);
            let (mut out, mut back) = (vec![0.0; dim], vec![0.0; dim]);
            rotation.apply(&row, &mut out);
            prop_assert!((dot(&out, &out) - dot(&row, &row)).abs() < 1e-3 * dot(&row, &row));
            rotation.invert(&out, &mut back);
            prop_assert!(back.iter().zip(&row).all(|(b, v)| (b - v).abs() < 1e-3), "{:?} {:?}", back, row);
        }
    }
}
