//! How vectors are stored for the rerank unless as floats: 8-bit integers with one scale.

/// Writes the integers nearest to `x / scale` to `out` and returns `scale = max |x| / 127`.
///
/// Ties go to the even integer. A vector so short that it has no inverse scale becomes zeros with scale
/// 0. The values must be finite; panics if the lengths differ.
pub fn quantise_i8(x: &[f32], out: &mut [i8]) -> f32 {
    assert_eq!(x.len(), out.len(), "one integer for each value");
    // Magnitudes as integers, whose maximum compiles to vector instructions.
    let largest = f32::from_bits(x.iter().map(|v| v.abs().to_bits()).fold(0, u32::max));
    let inverse = 127.0 / largest;
    if !inverse.is_finite() {
        out.fill(0);
        return 0.0;
    }
    for (to, v) in out.iter_mut().zip(x) {
        *to = nearest_i8(v * inverse);
    }
    largest / 127.0
}

/// Rounds `v`, of at most 127, by adding a number whose last bit is worth 1: the last byte of the sum is
/// then the integer. Neither a rounding nor a saturating conversion compiles to vector instructions
/// everywhere.
fn nearest_i8(v: f32) -> i8 {
    const LAST_BIT_IS_ONE: f32 = 12_582_912.0;
    (v + LAST_BIT_IS_ONE).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_value_becomes_127_and_ties_go_to_even() {
        let mut out = [9i8; 6];
        assert_eq!(quantise_i8(&[254.0, -254.0, 1.0, 3.0, -5.0, 0.5], &mut out), 2.0);
        assert_eq!(out, [127, -127, 0, 2, -2, 0]);
    }

    #[test]
    fn zero_and_nearly_zero_vectors_have_scale_zero() {
        for x in [[0.0; 3], [1e-45, 0.0, -1e-45]] {
            let mut out = [9i8; 3];
            assert_eq!(quantise_i8(&x, &mut out), 0.0);
            assert_eq!(out, [0; 3]);
        }
        assert_eq!(quantise_i8(&[], &mut []), 0.0);
    }

    proptest! {
        #[test]
        fn integers_are_within_half_a_scale(
            x in prop::collection::vec(-1f32..1.0, 1..200), power in -60i32..60,
        ) {
            let x: Vec<f32> = x.iter().map(|v| v * 2f32.powi(power)).collect();
            let mut out = vec![0; x.len()];
            let scale = quantise_i8(&x, &mut out);
            for (v, q) in x.iter().zip(&out) {
                prop_assert!((v - scale * f32::from(*q)).abs() <= 0.50002 * scale);
            }
        }
    }
}
