//! Every instruction set of this machine gives the bytes of the scalar reference.
//!
//! Forcing the instruction set is a setting of the whole process, so these are the only tests of theirs.

use lookalike_core::isa;
use lookalike_image::PIXEL;
use lookalike_image::kernels::{across, down};
use lookalike_image::weights::{Filter, Line, Weights};
use proptest::prelude::*;

/// Bytes that follow from a number, the ends of their range more often than others.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 61 {
            0 => 0,
            1 => 255,
            _ => (state >> 40) as u8,
        }
    };
    (0..len).map(|_| byte()).collect()
}

fn equal_for_every_isa(compute: impl Fn() -> Vec<u8>) {
    isa::force(Some("scalar")).unwrap();
    let expected = compute();
    for isa in isa::available() {
        isa::force(Some(isa.name())).unwrap();
        assert_eq!(compute(), expected, "{}", isa.name());
    }
    isa::force(None).unwrap();
}

fn filters() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::Bilinear), Just(Filter::Bicubic)]
}

proptest! {
    #[test]
    fn kernels_equal_the_reference(
        from in 1_usize..200, to in 1_usize..70, rows in 1_usize..10, filter in filters(), seed: u64,
    ) {
        let weights = Weights::new(Line::new(from, to, filter));
        let input = noise(seed, rows * from * PIXEL);
        equal_for_every_isa(|| {
            let mut output = vec![0; rows * to * PIXEL];
            across(&input, &weights, &mut output);
            output
        });
        let column = noise(seed, from * to);
        equal_for_every_isa(|| {
            let (start, weights) = weights.of(to / 2);
            let rows: Vec<&[u8]> = column.chunks_exact(to).skip(start).take(weights.len()).collect();
            let mut output = vec![0; to];
            down(&rows, weights, &mut output);
            output
        });
    }
}
