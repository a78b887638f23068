//! How far computed values can be from what they stand for: what rounding adds up to at most.
//!
//! Rounding to f32 changes a number by at most a share `u = 2^-24` of it. So `m` roundings one after another change it
//! by at most `(1 + u)^m - 1`, which is less than `1.01 m u` for every `m` here. What happens to a sum of products is
//! bounded by that share of the product of the vectors' lengths, which no sum of magnitudes exceeds (Cauchy and
//! Schwarz); see Higham, "Accuracy and Stability of Numerical Algorithms", §3.1. Lengths are Euclidean.

use crate::kernels;
use crate::kernels::dot::LANES;

/// Largest relative change by rounding to f32.
pub const U: f64 = 1.0 / (1 << 24) as f64;

/// Largest relative change by so many roundings.
pub fn roundings(count: usize) -> f64 {
    1.01 * count as f64 * U
}

/// The error of [`crate::kernels::dot`] on vectors of `dim` coordinates, as a share of the product of their lengths.
///
/// A product is rounded, then the sum of its lane with each further one, then five sums of lanes.
pub fn dot(dim: usize) -> f64 {
    roundings(dim.div_ceil(LANES) + 6)
}

/// The same of a product that is summed in any order.
pub fn dot_in_any_order(dim: usize) -> f64 {
    roundings(dim)
}

/// Not less than the length of a vector.
pub fn length(values: &[f32]) -> f64 {
    // Squares of values below the root of the least f32 vanish.
    const VANISHED: f64 = 1e-16;
    f64::from(kernels::dot::dot(values, values)).sqrt() * (1.0 + dot(values.len())) + VANISHED
}

/// The least f32 that is certainly not below `value`.
pub fn at_least(value: f64) -> f32 {
    (value as f32).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn lengths_are_not_less_than_exact_ones() {
        let mut rng = SplitMix64::new(6);
        for dim in [1, 3, 32, 100, 1_000, 16_384] {
            for scale in [1e-30, 1e-20, 1e-3, 1.0] {
                let values: Vec<f32> = (0..dim).map(|_| scale * rng.next_bell()).collect();
                let exact = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                assert!(length(&values) >= exact && length(&values) < 1.001 * exact + 1e-15);
                assert!(f64::from(at_least(length(&values))) >= length(&values));
            }
        }
    }

    #[test]
    fn dot_products_err_by_no_more_than_they_may() {
        let mut rng = SplitMix64::new(7);
        for dim in (1..100).chain([255, 1_000, 16_384]) {
            let [a, b] = [0, 1].map(|_| (0..dim).map(|_| rng.next_bell()).collect::<Vec<f32>>());
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let lengths = length(&a) * length(&b);
            let error = (f64::from(kernels::dot::dot(&a, &b)) - exact).abs();
            assert!(error <= dot(dim) * lengths, "{dim}: {error}");
            let in_order: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert!((f64::from(in_order) - exact).abs() <= dot_in_any_order(dim) * lengths, "{dim}");
        }
    }
}
