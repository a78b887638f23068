//! One aligned and one worst-tail width per kernel; `cargo bench -p lookalike-core`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use half::f16;
use lookalike_core::cells::{Cells, CoarseScratch};
use lookalike_core::isa;
use lookalike_core::kernels::{coarse, dot};
use lookalike_core::quantise::quantise_i8;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RandomRotation;

fn kernels(criterion: &mut Criterion) {
    let mut rng = SplitMix64::new(1);
    let floats: Vec<f32> = (0..2 * 287).map(|_| rng.next_bell()).collect();
    let mut integers = [0; 287];
    quantise_i8(&floats[..287], &mut integers);
    let halves: Vec<u16> = floats[..287].iter().map(|v| f16::from_f32(*v).to_bits()).collect();
    for isa in isa::available() {
        isa::force(Some(isa.name())).expect("listed as available");
        let bytes: Vec<u8> = (0..1_024 * 64).map(|_| rng.next_u64() as u8).collect();
        let (query, mut scores) = ([3i8; 64], vec![0; 1_024]);
        criterion.bench_function(&format!("coarse scores of 1024 cells by 64, {}", isa.name()), |b| {
            b.iter(|| coarse::scores(black_box(&bytes), &query, black_box(&mut scores)));
        });
        for len in [256, 287] {
            criterion.bench_function(&format!("dot of {len}, {}", isa.name()), |b| {
                b.iter(|| dot::dot(black_box(&floats[..len]), black_box(&floats[287..287 + len])));
            });
            criterion.bench_function(&format!("dot_i8 of {len}, {}", isa.name()), |b| {
                b.iter(|| dot::dot_i8(black_box(&floats[..len]), black_box(&integers[..len])));
            });
            criterion.bench_function(&format!("dot_f16 of {len}, {}", isa.name()), |b| {
                b.iter(|| dot::dot_f16(black_box(&floats[..len]), black_box(&halves[..len])));
            });
        }
        for dim in [256, 287] {
            let rotation = RandomRotation::new(dim, dim, 1);
            let (mut scratch, mut out) = (Vec::new(), vec![0.0; dim]);
            criterion.bench_function(&format!("rotate {dim}, {}", isa.name()), |b| {
                b.iter(|| rotation.apply(black_box(&floats[..dim]), &mut scratch, black_box(&mut out)));
            });
        }
    }
    isa::force(None).expect("undoing is always possible");
    let rows: Vec<f32> = (0..256 * 20_000).map(|_| rng.next_bell() / 16.0).collect();
    let (cells, mut scratch) = (Cells::train(&rows, 256, 2_048, 1), CoarseScratch::default());
    criterion.bench_function("best 32 of 2048 cells", |b| {
        b.iter(|| cells.rank(black_box(&rows[..256]), 32, &mut scratch).len());
    });
    criterion.bench_function("nearest of 2048 cells", |b| {
        b.iter(|| cells.nearest(black_box(&rows[..256]), &mut scratch));
    });
}

criterion_group!(benches, kernels);
criterion_main!(benches);
