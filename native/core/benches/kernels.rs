//! One aligned and one worst-tail width per kernel; `cargo bench -p lookalike-core`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use lookalike_core::cells::{Cells, CoarseScratch};
use lookalike_core::codes::{EncodeScratch, Encoder};
use lookalike_core::quantise::quantise_i8;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RandomRotation;
use lookalike_core::{coarse, dot, hamming, isa};

fn kernels(criterion: &mut Criterion) {
    let mut rng = SplitMix64::new(1);
    let floats: Vec<f32> = (0..2 * 287).map(|_| rng.next_bell()).collect();
    let mut integers = [0; 287];
    quantise_i8(&floats[..287], &mut integers);
    let halves: Vec<u16> = floats[..287].iter().map(|v| f16::from_f32(*v).to_bits()).collect();
    for isa in isa::available() {
        isa::force(Some(isa.name())).expect("listed as available");
        for words in [4, 7] {
            let codes: Vec<u64> = (0..words << 17).map(|_| rng.next_u64()).collect();
            let mut out = vec![0; 1 << 17];
            let mut group = criterion.benchmark_group("hamming");
            group.throughput(Throughput::Bytes(8 * codes.len() as u64));
            group.bench_function(format!("{words} words, {}", isa.name()), |b| {
                b.iter(|| hamming::distances(&codes[..words], &codes, black_box(&mut out)));
            });
        }
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
        let encoder = Encoder::new(256, 256, 1);
        let (mut scratch, mut code) = (EncodeScratch::default(), [0; 4]);
        criterion.bench_function(&format!("encode 256 to 256 bits, {}", isa.name()), |b| {
            b.iter(|| encoder.encode(black_box(&floats[..256]), &mut scratch, black_box(&mut code)));
        });
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
