//! Every instruction set of this machine gives the same coarse scores, on shapes that hit every tail.
//!
//! One test function: forcing the instruction set is a setting of the whole process.

use lookalike_core::isa;
use lookalike_core::kernels::coarse::{self, BLOCK, LANES, STEP, TILE, UNIT};
use lookalike_core::kernels::dot;
use lookalike_core::rng::SplitMix64;

fn for_each_isa<T: PartialEq + std::fmt::Debug>(what: &str, compute: impl Fn() -> T) -> T {
    isa::force(Some("scalar")).unwrap();
    let expected = compute();
    for isa in isa::available() {
        isa::force(Some(isa.name())).unwrap();
        assert_eq!(compute(), expected, "{what} with {}", isa.name());
    }
    isa::force(None).unwrap();
    expected
}

#[test]
fn kernels_equal_the_scalar_reference_exactly() {
    let mut rng = SplitMix64::new(5);
    for (blocks, steps) in [(0, 3), (1, 1), (1, 7), (2, 8), (3, 32), (7, 33)] {
        let extreme = |word: u64, low: i64, high: i64| match word % 5 {
            0 => low,
            1 => high,
            _ => low + (word >> 8) as i64 % (high - low + 1),
        };
        let codes: Vec<u8> =
            (0..blocks * steps * BLOCK * STEP).map(|_| extreme(rng.next_u64(), 0, 255) as u8).collect();
        let query: Vec<i8> = (0..steps * STEP).map(|_| extreme(rng.next_u64(), -128, 127) as i8).collect();
        let scores = for_each_isa("scores", || {
            let mut out = vec![7; blocks * BLOCK];
            coarse::scores(&codes, &query, &mut out);
            out
        });
        let of = |cell: usize, i: usize| {
            codes[((cell / BLOCK * steps + i / STEP) * BLOCK + cell % BLOCK) * STEP + i % STEP]
        };
        for (cell, score) in scores.iter().enumerate() {
            let sum: i32 =
                query.iter().enumerate().map(|(i, q)| (i32::from(of(cell, i)) - 128) * i32::from(*q)).sum();
            assert_eq!(*score, sum);
        }
        for_each_isa("range", || coarse::range(&scores));
        for threshold in [i32::MIN, -500, 0, 1_000, i32::MAX].into_iter().chain(scores.get(3).copied()) {
            let reached = for_each_isa("collect", || {
                let mut out = vec![9];
                coarse::collect_at_least(&scores, threshold, &mut out);
                out
            });
            assert_eq!(
                for_each_isa("count", || coarse::count_at_least(&scores, threshold)),
                reached.len() - 1
            );
        }
    }
    for dim in [1, 2, 3, 31, 64, 255] {
        let mut random = |n: usize| (0..n).map(|_| rng.next_bell()).collect::<Vec<f32>>();
        let (basis, x) = (random(3 * TILE * dim), random(dim));
        for_each_isa("project", || {
            let mut out = vec![0.0; 3 * TILE];
            coarse::project(&basis, &x, &mut out);
            out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        });
    }
    for length in [LANES, 2 * LANES, 9 * LANES] {
        let rows: Vec<i16> = (0..20 * length).map(|_| rng.next_u64() as i16).collect();
        let query: Vec<f32> = (0..length).map(|_| rng.next_bell()).collect();
        let numbers: Vec<u32> = (0..33).map(|_| (rng.next_u64() % 20) as u32).collect();
        let found = for_each_isa("similarities", || {
            let mut out = Vec::new();
            coarse::similarities(&rows, &query, &numbers, &mut out);
            out
        });
        for ((similarity, number), wanted) in found.iter().zip(&numbers) {
            let row = &rows[*wanted as usize * length..][..length];
            let row: Vec<f32> = row.iter().map(|v| f32::from(*v) * UNIT).collect();
            assert_eq!((*similarity, *number), (dot::dot(&row, &query), *wanted));
        }
    }
}

#[test]
#[should_panic(expected = "every numbered row")]
fn rows_that_do_not_exist_are_refused() {
    coarse::similarities(&[0; 64], &[0.0; 32], &[1, 2], &mut Vec::new());
}
