//! Every instruction set of this machine equals the scalar reference, on widths that hit every tail.
//!
//! One test function: forcing the instruction set is a setting of the whole process.

use half::f16;
use lookalike_core::hadamard::hadamard;
use lookalike_core::prefetch::prefetch;
use lookalike_core::rng::SplitMix64;
use lookalike_core::signs::pack_signs;
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

/// Of an infinity or NaN a number.
fn finite_half(bits: u16) -> u16 {
    if f16::from_bits(bits).is_finite() { bits } else { bits & !(1 << 14) }
}

/// The nearest codes by computing and sorting all distances.
fn sorted_top_k(queries: &[u64], codes: &[u64], words: usize, k: usize) -> Vec<Vec<(u32, usize)>> {
    let top = |query: &[u64]| {
        let rows = codes.chunks_exact(words).enumerate();
        let distance = |code: &[u64]| query.iter().zip(code).map(|(a, b)| (a ^ b).count_ones()).sum();
        let mut all: Vec<(u32, usize)> = rows.map(|(row, code)| (distance(code), row)).collect();
        all.sort_unstable();
        all.truncate(k);
        all
    };
    queries.chunks_exact(words).map(top).collect()
}

/// Over widths, numbers of codes around those of blocks and tiles, and numbers of results.
fn nearest_codes_equal_a_sort(rng: &mut SplitMix64) {
    for words in [1, 2, 3, 4, 5, 7, 8, 9, 16, 30, 31, 32, 33, 63] {
        for rows in [0, 1, 15, 16, 17, 100, 513, 2_100] {
            let mut random = |n: usize| (0..n).map(|_| rng.next_u64()).collect::<Vec<_>>();
            let (queries, mut codes) = (random(3 * words), random(words * rows));
            if rows > 2 {
                codes[..words].copy_from_slice(&queries[..words]);
                codes[words..2 * words].iter_mut().zip(&queries).for_each(|(code, word)| *code = !word);
            }
            for k in [1, 10, 300, 3_000] {
                let expected = sorted_top_k(&queries, &codes, words, k);
                for_each_isa("top_k", || hamming::top_k(&queries, &codes, words, k));
                assert_eq!(
                    hamming::top_k(&queries, &codes, words, k),
                    expected,
                    "{words} words, {rows} rows"
                );
                for_each_isa("top_k of one", || hamming::top_k(&queries[..words], &codes, words, k));
                assert_eq!(hamming::top_k(&queries[..words], &codes, words, k), expected[..1]);
            }
        }
    }
    let falling: Vec<u64> = (0..5_000).map(|row| u64::MAX >> (row / 80)).collect();
    for k in [1, 7, 200] {
        for_each_isa("top_k", || hamming::top_k(&[0, u64::MAX], &falling, 1, k));
        assert_eq!(
            hamming::top_k(&[0, u64::MAX], &falling, 1, k),
            sorted_top_k(&[0, u64::MAX], &falling, 1, k)
        );
    }
    let queries: Vec<u64> = (0..600).map(|_| rng.next_u64()).collect();
    assert_eq!(hamming::top_k(&queries, &falling, 1, 3), sorted_top_k(&queries, &falling, 1, 3));
}

fn distances_are_the_same(rng: &mut SplitMix64) {
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
}

#[test]
fn kernels_equal_the_scalar_reference_exactly() {
    let mut rng = SplitMix64::new(11);
    distances_are_the_same(&mut rng);
    nearest_codes_equal_a_sort(&mut rng);
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
#[should_panic(expected = "codes must hold")]
fn short_codes_are_refused() {
    hamming::distances(&[0; 4], &[0; 7], &mut [0; 2]);
}

#[test]
#[should_panic(expected = "whole codes of 4 words")]
fn codes_of_another_width_are_refused() {
    hamming::top_k(&[0; 4], &[0; 7], 4, 1);
}

#[test]
#[should_panic(expected = "k is at least 1")]
fn no_results_are_refused() {
    hamming::top_k(&[0; 4], &[0; 4], 4, 0);
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
