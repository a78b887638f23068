//! Rows that are orthogonal to each other and of unit length.

use crate::kernels::dot::dot;
use crate::rng::SplitMix64;

/// Orthonormalises `rows` (row, dim) and adds random ones until there are `count`; zero rows are redrawn too.
pub fn complete(rows: &mut Vec<f32>, dim: usize, count: usize, rng: &mut SplitMix64) {
    rows.resize(count * dim, 0.0);
    orthonormalise(rows, dim, rng);
}

/// `count` random orthonormal rows, laid out (count, dim).
pub fn random_orthonormal(count: usize, dim: usize, rng: &mut SplitMix64) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..count * dim).map(|_| rng.next_bell()).collect();
    orthonormalise(&mut rows, dim, rng);
    rows
}

/// Gram-Schmidt, twice per row for accuracy; a row that depends on those before it is redrawn.
pub fn orthonormalise(rows: &mut [f32], dim: usize, rng: &mut SplitMix64) {
    assert!(rows.len() <= dim * dim, "no more than dim orthonormal rows exist");
    for at in (0..rows.len()).step_by(dim) {
        let (before, rest) = rows.split_at_mut(at);
        let row = &mut rest[..dim];
        loop {
            let length = dot(row, row).sqrt();
            for _ in 0..2 {
                for other in before.chunks_exact(dim) {
                    let along = dot(row, other);
                    add_scaled(row, -along, other);
                }
            }
            let left = dot(row, row).sqrt();
            if left > 1e-3 * length && left > f32::MIN_POSITIVE {
                row.iter_mut().for_each(|v| *v /= left);
                break;
            }
            row.iter_mut().for_each(|v| *v = rng.next_bell());
        }
    }
}

/// Adds `weight` times `other` to `target`.
pub fn add_scaled(target: &mut [f32], weight: f32, other: &[f32]) {
    target.iter_mut().zip(other).for_each(|(t, o)| *t += weight * o);
}
