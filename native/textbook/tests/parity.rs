//! Every instruction set of this machine equals the scalar reference, on widths that hit every tail.
//!
//! One test function: forcing the instruction set is a setting of the whole process.

use lookalike_core::isa;
use lookalike_core::rng::SplitMix64;
use lookalike_textbook::hamming;

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
