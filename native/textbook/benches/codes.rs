//! Codes and their distances, one aligned and one worst-tail width; `cargo bench -p lookalike-textbook`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lookalike_core::isa;
use lookalike_core::rng::SplitMix64;
use lookalike_textbook::codes::{EncodeScratch, Encoder};
use lookalike_textbook::hamming;

fn codes(criterion: &mut Criterion) {
    let mut rng = SplitMix64::new(1);
    let floats: Vec<f32> = (0..256).map(|_| rng.next_bell()).collect();
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
        let encoder = Encoder::new(256, 256, 1);
        let (mut scratch, mut code) = (EncodeScratch::default(), [0; 4]);
        criterion.bench_function(&format!("encode 256 to 256 bits, {}", isa.name()), |b| {
            b.iter(|| encoder.encode(black_box(&floats), &mut scratch, black_box(&mut code)));
        });
    }
    isa::force(None).expect("undoing is always possible");
}

criterion_group!(benches, codes);
criterion_main!(benches);
