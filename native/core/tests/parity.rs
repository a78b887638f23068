//! Every instruction set of this machine equals the scalar reference, on widths that hit every tail.
//!
//! One test function: forcing the instruction set is a setting of the whole process.

use half::f16;
use lookalike_core::isa;
use lookalike_core::kernels::dot;
use lookalike_core::kernels::hadamard::hadamard;
use lookalike_core::kernels::prefetch::prefetch;
use lookalike_core::kernels::signs::pack_signs;
use lookalike_core::rng::SplitMix64;

fn for_each_isa<T: PartialEq + std::fmt::Debug>(what: &str, compute: impl Fn() -> T) {
    isa::force(Some("scalar")).unwrap();
    let expected = compute();
    for isa in isa::available() {
        isa::force(Some(isa.name())).unwrap();
        assert_eq!(isa::active(), *isa);
        assert_eq!(compute(), expected, "{what} with {}", isa.name());
    }
    isa::force(None).unwrap();
}

/// Of an infinity or NaN a number.
fn finite_half(bits: u16) -> u16 {
    if f16::from_bits(bits).is_finite() { bits } else { bits & !(1 << 14) }
}

#[test]
fn kernels_equal_the_scalar_reference_exactly() {
    let mut rng = SplitMix64::new(11);
    for len in (0..=130).chain([256, 576, 1023, 1280]) {
        let mut random = || (0..len).map(|_| rng.next_bell() * 1e3).collect::<Vec<_>>();
        let (a, b) = (random(), random());
        for_each_isa("dot", || dot::dot(&a, &b).to_bits());
        let integers: Vec<i8> = (0..len).map(|_| rng.next_u64() as i8).collect();
        for_each_isa("dot_i8", || dot::dot_i8(&a, &integers).to_bits());
        let widened: Vec<f32> = integers.iter().map(|v| f32::from(*v)).collect();
        assert_eq!(dot::dot_i8(&a, &integers), dot::dot(&a, &widened));
        let halves: Vec<u16> = (0..len).map(|_| finite_half(rng.next_u64() as u16)).collect();
        for_each_isa("dot_f16", || dot::dot_f16(&a, &halves).to_bits());
        let widened: Vec<f32> = halves.iter().map(|v| f16::from_bits(*v).to_f32()).collect();
        assert_eq!(dot::dot_f16(&a, &halves), dot::dot(&a, &widened));
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let magnitude: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(x * y).abs()).sum();
        // One rounding per product and at most len / 32 + 6 per sum, each of at most 2^-24 of the magnitude.
        let bound = magnitude * (len as f64 / 32.0 + 8.0) * 2f64.powi(-24);
        assert!((f64::from(dot::dot(&a, &b)) - exact).abs() <= bound, "length {len}");
    }
    for bits in (0..=u16::MAX).map(finite_half) {
        for_each_isa("dot_f16", || dot::dot_f16(&[1.0], &[bits]).to_bits());
        assert_eq!(dot::dot_f16(&[1.0], &[bits]), f16::from_bits(bits).to_f32());
    }
    for len in (0..=11).map(|power| 1 << power) {
        let values: Vec<f32> = (0..len).map(|_| rng.next_bell()).collect();
        let scales: Vec<f32> = (0..len).map(|_| rng.next_bell()).collect();
        for scales in [None, Some(&scales[..])] {
            for_each_isa("hadamard", || {
                let mut out = values.clone();
                hadamard(&mut out, scales);
                out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            });
        }
    }
    for words in 0..=33 {
        let mut values: Vec<f32> = (0..64 * words).map(|_| rng.next_bell()).collect();
        let special = [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45];
        values.iter_mut().step_by(7).zip(special).for_each(|(v, special)| *v = special);
        for_each_isa("pack_signs", || {
            let mut out = vec![u64::MAX; words];
            pack_signs(&values, &mut out);
            out
        });
    }
    assert!(isa::force(Some("mmx")).is_err());
}

#[test]
#[should_panic(expected = "same length")]
fn unequal_vectors_are_refused() {
    dot::dot(&[0.0; 4], &[0.0; 5]);
}

#[test]
#[should_panic(expected = "same length")]
fn integers_of_another_length_are_refused() {
    dot::dot_i8(&[0.0; 33], &[0; 32]);
}

#[test]
#[should_panic(expected = "same length")]
fn halves_of_another_length_are_refused() {
    dot::dot_f16(&[0.0; 32], &[0; 31]);
}

#[test]
fn prefetching_takes_any_slice() {
    let bytes = [0u8; 300];
    for (start, end) in [(0, 0), (0, 300), (1, 300), (63, 64), (64, 64), (300, 300)] {
        prefetch(&bytes[start..end]);
    }
    prefetch(&[0u64; 0]);
}

#[test]
#[should_panic(expected = "power of two")]
fn transforms_of_other_lengths_are_refused() {
    hadamard(&mut [0.0; 48], None);
}

#[test]
#[should_panic(expected = "one scale for each value")]
fn missing_scales_are_refused() {
    hadamard(&mut [0.0; 32], Some(&[1.0; 16]));
}

#[test]
#[should_panic(expected = "one word per 64 values")]
fn missing_values_are_refused() {
    pack_signs(&[0.0; 127], &mut [0; 2]);
}
