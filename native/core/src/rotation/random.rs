//! Structured random rotation: sign flips and Walsh-Hadamard transforms, O(D log D), for any D.
//!
//! Three rounds of `x -> H · diag(±1) · x / √P` behave like a uniformly random rotation for
//! nearest-neighbour work (Ailon & Chazelle, "The Fast Johnson-Lindenstrauss Transform", SIAM J.
//! Comput. 2009; three rounds as in Andoni et al., "Practical and Optimal LSH", NeurIPS 2015).
//!
//! `H` exists for powers of two. Any other dimension `D` is not padded: with `P` the largest power of
//! two below it, four rounds transform the last, the first, the last and the first `P` coordinates.
//! Where `D` is close to `2P` those windows hardly overlap, so in the middle every coordinate `i`
//! is rotated by 45° with `D - 1 - i`. Both are needed: the tests show what each vector becomes.

use std::ops::Range;

use crate::bounds;
use crate::kernels::hadamard::hadamard;
use crate::rng::SplitMix64;

/// Floats in a cache line.
const LINE: usize = 16;

/// A random rotation from `dim` inputs to `width` outputs, defined by its seed alone.
///
/// The first `dim` outputs are the coordinates of one rotation, which keeps norms and inner products;
/// beyond that, independent rotations are stacked. A smaller width gives a prefix of the outputs.
#[derive(Clone, Debug)]
pub struct RandomRotation {
    dim: usize,
    width: usize,
    /// `P`: the length of the transforms.
    power: usize,
    rounds: usize,
    /// The sign of each coordinate times what makes the step orthonormal, laid out (rotation, round, dim).
    scales: Vec<f32>,
}

impl RandomRotation {
    /// The rotation of `seed`. Panics if `dim` or `width` is zero.
    pub fn new(dim: usize, width: usize, seed: u64) -> Self {
        assert!(dim > 0 && width > 0, "a rotation needs inputs and outputs");
        let power = 1 << dim.ilog2();
        let rounds = if dim == power { 3 } else { 4 };
        let mut rotation = Self { dim, width, power, rounds, scales: Vec::new() };
        let mut rng = SplitMix64::new(seed);
        for _ in 0..width.div_ceil(dim) {
            for round in 0..rounds {
                for start in (0..dim).step_by(64) {
                    let word = rng.next_u64();
                    let signed = |i: usize| {
                        let scale = rotation.scale(round, i);
                        if word >> (i - start) & 1 == 1 { -scale } else { scale }
                    };
                    let scales: Vec<f32> = (start..dim.min(start + 64)).map(signed).collect();
                    rotation.scales.extend(scales);
                }
            }
        }
        rotation
    }

    /// Number of outputs.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes the rotated `x` (length `dim`) to `out` (length `width`); `scratch` is overwritten.
    pub fn apply(&self, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        assert_eq!(x.len(), self.dim, "input length");
        assert_eq!(out.len(), self.width, "output length");
        scratch.resize(self.dim + LINE - 1, 0.0);
        // Registers that straddle cache lines take twice as long.
        let aligned = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        let scratch = &mut scratch[aligned..][..self.dim];
        let rotations = self.scales.chunks_exact(self.rounds * self.dim);
        for (scales, out) in rotations.zip(out.chunks_mut(self.dim)) {
            scratch.copy_from_slice(x);
            for (round, scales) in scales.chunks_exact(self.dim).enumerate() {
                if self.folds_before(round) {
                    fold(scratch);
                }
                let window = self.window(round);
                multiply(&mut scratch[..window.start], &scales[..window.start]);
                multiply(&mut scratch[window.end..], &scales[window.end..]);
                hadamard(&mut scratch[window.clone()], Some(&scales[window]));
            }
            out.copy_from_slice(&scratch[..out.len()]);
        }
    }

    /// Undoes the first rotation: from its `dim` outputs (all of them, whatever the width) to its input.
    pub fn invert(&self, rotated: &[f32], out: &mut [f32]) {
        assert_eq!(rotated.len(), self.dim, "input length");
        assert_eq!(out.len(), self.dim, "output length");
        out.copy_from_slice(rotated);
        // Every step is symmetric: the transpose takes them in reverse.
        for round in (0..self.rounds).rev() {
            hadamard(&mut out[self.window(round)], None);
            multiply(out, &self.scales[round * self.dim..][..self.dim]);
            if self.folds_before(round) {
                fold(out);
            }
        }
    }

    /// The error of [`RandomRotation::apply`] and [`RandomRotation::invert`], as a share of the vector's length.
    ///
    /// A round rounds each coordinate when it folds, when it scales, and at each level of its transform. The steps that
    /// follow stretch an error no more than the vector itself, so that it keeps its share to the end.
    pub fn error(&self) -> f64 {
        bounds::roundings(self.rounds * (self.power.ilog2() as usize + 2))
    }

    /// The coordinates that a round transforms. The last round takes the first ones, as a narrower
    /// width keeps those.
    fn window(&self, round: usize) -> Range<usize> {
        let start = if round.is_multiple_of(2) { self.dim - self.power } else { 0 };
        start..start + self.power
    }

    fn folds_before(&self, round: usize) -> bool {
        round == 2 && self.dim > self.power
    }

    /// What makes the fold before `round` and the transform of `round` orthonormal at coordinate `i`.
    fn scale(&self, round: usize, i: usize) -> f32 {
        let transformed = if self.window(round).contains(&i) { self.power } else { 1 };
        let folded = if self.folds_before(round) && 2 * i + 1 != self.dim { 2 } else { 1 };
        (1.0 / ((transformed * folded) as f64).sqrt()) as f32
    }
}

/// Every pair `(x[i], x[dim - 1 - i])` to its sum and difference; the middle of an odd number stays.
fn fold(x: &mut [f32]) {
    let middle = x.len().div_ceil(2);
    let (low, high) = x.split_at_mut(middle);
    for (a, b) in low.iter_mut().zip(high.iter_mut().rev()) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

fn multiply(x: &mut [f32], scales: &[f32]) {
    x.iter_mut().zip(scales).for_each(|(v, scale)| *v *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rotate(rotation: &RandomRotation, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rotation.width()];
        rotation.apply(x, &mut Vec::new(), &mut out);
        out
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    #[test]
    fn seeds_define_the_rotation_and_widths_its_prefix() {
        let x: Vec<f32> = (0..96).map(|i| (i as f32).sin()).collect();
        let out = rotate(&RandomRotation::new(96, 320, 5), &x);
        assert_eq!(out, rotate(&RandomRotation::new(96, 320, 5), &x));
        assert_ne!(out, rotate(&RandomRotation::new(96, 320, 6), &x));
        for width in [1, 64, 96, 97, 200] {
            assert_eq!(out[..width], rotate(&RandomRotation::new(96, width, 5), &x)[..]);
        }
        assert_ne!(out[..96], out[96..192], "stacked rotations are independent");
    }

    /// Over many seeds, every output of every kind of unit vector has mean square 1/dim, and all of
    /// them together the fourth moment of a uniformly random direction, close to the normal one.
    #[test]
    fn outputs_are_spread_evenly_whatever_the_dimension_and_the_vector() {
        const SEEDS: u64 = 1000;
        // Below, at, above and far above a power of two, where the windows overlap wholly to hardly.
        for dim in [64, 65, 80, 96, 112, 127, 128, 250] {
            let hot = |at| (0..dim).map(|i| f32::from(u8::from(i == at))).collect();
            let smooth = (0..dim).map(|i| (3.0 * i as f32 / dim as f32).sin()).collect();
            let vectors: [Vec<f32>; 5] = [hot(0), hot(dim / 2), hot(dim - 1), smooth, vec![1.0; dim]];
            for (kind, x) in vectors.iter().enumerate() {
                let unit = dim as f64 / dot(x, x);
                let (mut squares, mut fourth) = (vec![0.0; dim], 0.0);
                for seed in 0..SEEDS {
                    for (square, v) in squares.iter_mut().zip(rotate(&RandomRotation::new(dim, dim, seed), x))
                    {
                        let v = f64::from(v) * f64::from(v) * unit / SEEDS as f64;
                        *square += v;
                        fourth += v * v * SEEDS as f64 / dim as f64;
                    }
                }
                // 20 % by which the windows may miss, and five standard errors of 1,000 squares.
                let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
                let most = squares.iter().copied().fold(0.0, f64::max);
                assert!(least > 0.7 && most < 1.4, "dim {dim}, vector {kind}: {least} to {most}");
                let uniform = 3.0 * dim as f64 / (dim as f64 + 2.0);
                assert!((fourth - uniform).abs() < 0.15, "dim {dim}, vector {kind}: kurtosis {fourth}");
            }
        }
    }

    proptest! {
        #[test]
        fn keeps_norms_and_inner_products_and_can_be_undone(
            dim in 1usize..300, seed: u64,
            values in prop::collection::vec(-1f32..1.0, 600),
        ) {
            let (x, y) = (&values[..dim], &values[300..300 + dim]);
            let rotation = RandomRotation::new(dim, dim, seed);
            let (rx, ry) = (rotate(&rotation, x), rotate(&rotation, y));
            prop_assert!((dot(&rx, &rx) - dot(x, x)).abs() < 1e-3);
            prop_assert!((dot(&rx, &ry) - dot(x, y)).abs() < 1e-3);
            let mut back = vec![0.0; dim];
            rotation.invert(&rx, &mut back);
            prop_assert!(back.iter().zip(x).all(|(b, v)| (b - v).abs() < 1e-4));
        }
    }
}
