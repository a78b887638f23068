//! Structured random rotation: sign flips and Walsh-Hadamard transforms, O(D log D).
//!
//! Three rounds of `x -> H · diag(±1) · x / √P` behave like a uniformly random rotation for
//! nearest-neighbour work (Ailon & Chazelle, "The Fast Johnson-Lindenstrauss Transform", SIAM J.
//! Comput. 2009; three rounds as in Andoni et al., "Practical and Optimal LSH", NeurIPS 2015).

use crate::rng::SplitMix64;

const ROUNDS: usize = 3;

/// A random rotation from `dim` inputs to `bits` outputs, defined by its seed alone.
///
/// Inputs are padded with zeros to `P`, the next power of two. Up to `P` outputs are coordinates of
/// one rotation; beyond that, independent rotations are stacked. Every output is the product with a
/// unit vector, so with `bits == P` norms and inner products are kept.
#[derive(Clone, Debug)]
pub struct Rotation {
    dim: usize,
    padded: usize,
    bits: usize,
    /// `±1/√P`, laid out (block, round, P).
    scales: Vec<f32>,
}

impl Rotation {
    /// The rotation of `seed`. Panics if `dim` or `bits` is zero.
    pub fn new(dim: usize, bits: usize, seed: u64) -> Self {
        assert!(dim > 0 && bits > 0, "a rotation needs inputs and outputs");
        let padded = dim.next_power_of_two();
        let blocks = bits.div_ceil(padded);
        let unit = (1.0 / (padded as f64).sqrt()) as f32;
        let mut rng = SplitMix64::new(seed);
        let mut scales = Vec::with_capacity(blocks * ROUNDS * padded);
        for _ in 0..blocks * ROUNDS {
            for start in (0..padded).step_by(64) {
                let word = rng.next_u64();
                let width = 64.min(padded - start);
                scales.extend((0..width).map(|i| if word >> i & 1 == 1 { -unit } else { unit }));
            }
        }
        Self { dim, padded, bits, scales }
    }

    /// Number of inputs.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of outputs.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Writes the rotated `x` (length `dim`) to `out` (length `bits`); `scratch` is overwritten.
    pub fn apply(&self, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        assert_eq!(x.len(), self.dim, "input length");
        assert_eq!(out.len(), self.bits, "output length");
        let blocks = self.scales.chunks_exact(ROUNDS * self.padded);
        for (block, out) in blocks.zip(out.chunks_mut(self.padded)) {
            scratch.clear();
            scratch.extend_from_slice(x);
            scratch.resize(self.padded, 0.0);
            for round in block.chunks_exact(self.padded) {
                scratch.iter_mut().zip(round).for_each(|(v, s)| *v *= s);
                hadamard(scratch);
            }
            out.copy_from_slice(&scratch[..out.len()]);
        }
    }
}

/// The unnormalised Walsh-Hadamard transform, in place; the length is a power of two.
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rotate(rotation: &Rotation, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rotation.bits()];
        rotation.apply(x, &mut Vec::new(), &mut out);
        out
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    #[test]
    fn seeds_define_the_rotation() {
        let x: Vec<f32> = (0..96).map(|i| (i as f32).sin()).collect();
        let out = rotate(&Rotation::new(96, 320, 5), &x);
        assert_eq!(out, rotate(&Rotation::new(96, 320, 5), &x));
        assert_ne!(out, rotate(&Rotation::new(96, 320, 6), &x));
        assert_eq!(out[..64], rotate(&Rotation::new(96, 64, 5), &x)[..]);
        assert_ne!(out[..64], out[128..192], "stacked rotations are independent");
    }

    proptest! {
        #[test]
        fn keeps_norms_and_inner_products(
            dim in 1usize..300, seed: u64,
            values in prop::collection::vec(-1f32..1.0, 600),
        ) {
            let (x, y) = (&values[..dim], &values[300..300 + dim]);
            let rotation = Rotation::new(dim, dim.next_power_of_two(), seed);
            let (rx, ry) = (rotate(&rotation, x), rotate(&rotation, y));
            prop_assert!((dot(&rx, &rx) - dot(x, x)).abs() < 1e-3);
            prop_assert!((dot(&rx, &ry) - dot(x, y)).abs() < 1e-3);
        }
    }
}
