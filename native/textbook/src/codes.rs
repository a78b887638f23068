//! Sign codes: one bit per rotated coordinate (hyperplane LSH).
//!
//! For vectors at angle θ each bit differs with probability θ/π (Charikar, "Similarity Estimation
//! Techniques from Rounding Algorithms", STOC 2002). Bit `i` of a code is bit `i % 64`, counted from
//! the least significant, of word `i / 64`; it is set when coordinate `i` is not negative.

use lookalike_core::kernels::signs::pack_signs;
use lookalike_core::rotation::RandomRotation;

/// Reusable buffers of [`Encoder::encode`].
#[derive(Default)]
pub struct EncodeScratch {
    padded: Vec<f32>,
    rotated: Vec<f32>,
}

/// Turns vectors into codes around the origin: rotate, keep the signs.
#[derive(Clone, Debug)]
pub struct Encoder {
    rotation: RandomRotation,
}

impl Encoder {
    /// An encoder of vectors of length `dim` to `bits` bits.
    pub fn new(dim: usize, bits: usize, seed: u64) -> Self {
        Self { rotation: RandomRotation::new(dim, bits, seed) }
    }

    /// 64-bit words in a code.
    pub fn words(&self) -> usize {
        self.rotation.width() / 64
    }

    /// Writes the code of `x` (length `dim`) to `out` (length `words`).
    pub fn encode(&self, x: &[f32], scratch: &mut EncodeScratch, out: &mut [u64]) {
        scratch.rotated.resize(self.rotation.width(), 0.0);
        self.rotation.apply(x, &mut scratch.padded, &mut scratch.rotated);
        pack_signs(&scratch.rotated, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_little_endian_and_zero_counts_as_positive() {
        let mut values = vec![-1.0f32; 128];
        (values[0], values[65], values[127]) = (1.0, 0.0, 2.0);
        let mut out = [0; 2];
        pack_signs(&values, &mut out);
        assert_eq!(out, [1, 1 << 63 | 2]);
    }

    #[test]
    fn bits_differ_with_probability_angle_over_pi() {
        let dim = 64;
        let encoder = Encoder::new(dim, 2048, 3);
        let angle = 1.0f32;
        let (mut x, mut y) = (vec![0.0; dim], vec![0.0; dim]);
        (x[3], y[3], y[40]) = (1.0, angle.cos(), angle.sin());
        let (mut a, mut b) = (vec![0; 32], vec![0; 32]);
        let mut scratch = EncodeScratch::default();
        encoder.encode(&x, &mut scratch, &mut a);
        encoder.encode(&y, &mut scratch, &mut b);
        let differing: u32 = a.iter().zip(&b).map(|(p, q)| (p ^ q).count_ones()).sum();
        let share = differing as f32 / 2048.0;
        assert!((share - angle / std::f32::consts::PI).abs() < 0.05, "{share}");
    }
}
