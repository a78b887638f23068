//! The directions along which vectors differ most: subspace iteration (Halko, Martinsson & Tropp,
//! "Finding Structure with Randomness", SIAM Review 2011) without ever forming the covariance.

use rayon::prelude::*;

use crate::kernels::dot::dot;
use crate::planes::mean_of;
use crate::rng::SplitMix64;

const ITERATIONS: usize = 6;
/// Bounds the work: rows × dim.
const MOST_VALUES: usize = 1 << 21;
const FEWEST_ROWS: usize = 512;
/// What is left of a vector after subtracting its predecessors must exceed this share to count.
const INDEPENDENT: f32 = 1e-4;

/// At most `most` orthonormal directions (direction, dim) that hold `share` of the variance of `rows`,
/// strongest first, in a multiple of `step` of them. Directions that the rows do not span are zero.
pub fn leading(rows: &[f32], dim: usize, most: usize, step: usize, share: f64, seed: u64) -> Vec<f32> {
    let rows = centred(rows, dim);
    let mut rng = SplitMix64::new(seed);
    let most = most.min(dim.next_multiple_of(step));
    let mut basis: Vec<f32> = (0..most * dim).map(|_| rng.next_bell()).collect();
    for _ in 0..ITERATIONS {
        orthonormalise(&mut basis, dim);
        basis = spread(&rows, &basis, dim);
    }
    orthonormalise(&mut basis, dim);
    let total: f64 = rows.iter().map(|v| f64::from(*v).powi(2)).sum();
    let mut held = 0.0;
    let mut kept = 0;
    for directions in basis.chunks(step * dim) {
        let along = |b: &[f32]| rows.chunks_exact(dim).map(|row| f64::from(dot(row, b)).powi(2)).sum::<f64>();
        held += directions.par_chunks_exact(dim).map(along).collect::<Vec<_>>().iter().sum::<f64>();
        kept += directions.len();
        if held >= share * total {
            break;
        }
    }
    basis.truncate(kept);
    basis
}

/// Evenly spaced rows without their mean.
fn centred(rows: &[f32], dim: usize) -> Vec<f32> {
    let count = rows.len() / dim;
    let wanted = (MOST_VALUES / dim).max(FEWEST_ROWS).min(count);
    let taken = (0..wanted).flat_map(|at| &rows[at * count / wanted * dim..][..dim]);
    let mut taken: Vec<f32> = taken.copied().collect();
    let mean = mean_of(&taken, dim);
    taken.chunks_exact_mut(dim).for_each(|row| row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m));
    taken
}

/// The covariance (times the number of rows) applied to every vector of `basis`.
fn spread(rows: &[f32], basis: &[f32], dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; basis.len()];
    out.par_chunks_exact_mut(dim).zip(basis.par_chunks_exact(dim)).for_each(|(out, direction)| {
        for row in rows.chunks_exact(dim) {
            let along = dot(row, direction);
            out.iter_mut().zip(row).for_each(|(sum, v)| *sum += along * v);
        }
    });
    out
}

/// Modified Gram-Schmidt, twice for each vector; a vector that depends on its predecessors becomes zero.
fn orthonormalise(basis: &mut [f32], dim: usize) {
    for at in 0..basis.len() / dim {
        let (done, rest) = basis.split_at_mut(at * dim);
        let vector = &mut rest[..dim];
        let before = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in done.chunks_exact(dim) {
                let along = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
            }
        }
        let length = dot(vector, vector).sqrt();
        if length > INDEPENDENT * before {
            vector.iter_mut().for_each(|v| *v /= length);
        } else {
            vector.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_strong_directions_of_the_rows() {
        let dim = 40;
        let mut rng = SplitMix64::new(3);
        let rows: Vec<f32> = (0..2_000)
            .flat_map(|_| (0..dim).map(|i| 5.0 + rng.next_bell() / (1 + i) as f32).collect::<Vec<_>>())
            .collect();
        let basis = leading(&rows, dim, 32, 8, 0.9, 1);
        assert_eq!(basis.len(), 8 * dim, "eight directions hold nine tenths");
        for (at, direction) in basis.chunks_exact(dim).enumerate() {
            assert!((dot(direction, direction) - 1.0).abs() < 1e-4);
            if at < 3 {
                assert!(direction[at].abs() > 0.9, "direction {at}: {direction:?}");
            }
        }
    }

    #[test]
    fn directions_without_rows_are_zero() {
        let rows = [1.0f32, 0.0, 0.0].repeat(20);
        assert!(leading(&rows, 3, 32, 8, 0.9, 1).iter().all(|v| *v == 0.0));
    }
}
