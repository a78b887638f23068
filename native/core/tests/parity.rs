//! Every instruction set of this machine equals the scalar reference, on widths that hit every tail.
//!
//! One test function: forcing the instruction set is a setting of the whole process.

use lookalike_core::rng::SplitMix64;
use lookalike_core::{dot, hamming, isa};

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

#[test]
fn kernels_equal_the_scalar_reference_exactly() {
    let mut rng = SplitMix64::new(11);
    for words in 1..=33 {
        for batch in [0, 1, 2, 3, 7, 8, 33] {
            let mut random = |n: usize| (0..n).map(|_| rng.next_u64()).collect::<Vec<_>>();
            let (query, mut codes) = (random(words), random(words * batch));
            if batch > 2 {
                codes[..words].fill(u64::MAX);
                codes[words..2 * words].copy_from_slice(&query);
            }
            for_each_isa("hamming", || {
                let mut out = vec![u32::MAX; batch];
                hamming::distances(&query, &codes, &mut out);
                out
            });
        }
    }
    for len in (0..=130).chain([256, 576, 1023, 1280]) {
        let mut random = || (0..len).map(|_| rng.next_bell() * 1e3).collect::<Vec<_>>();
        let (a, b) = (random(), random());
        for_each_isa("dot", || dot::dot(&a, &b).to_bits());
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let magnitude: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(x * y).abs()).sum();
        // One rounding per product and at most len / 32 + 6 per sum, each of at most 2^-24 of the magnitude.
        let bound = magnitude * (len as f64 / 32.0 + 8.0) * 2f64.powi(-24);
        assert!((f64::from(dot::dot(&a, &b)) - exact).abs() <= bound, "length {len}");
    }
    assert!(isa::force(Some("mmx")).is_err());
}

#[test]
#[should_panic(expected = "codes must hold")]
fn short_codes_are_refused() {
    hamming::distances(&[0; 4], &[0; 7], &mut [0; 2]);
}

#[test]
#[should_panic(expected = "same length")]
fn unequal_vectors_are_refused() {
    dot::dot(&[0.0; 4], &[0.0; 5]);
}
