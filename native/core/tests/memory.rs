//! What a search keeps for the next one.

#[path = "common/counting.rs"]
mod counting;

use counting::held_and_most;
use lookalike_core::chunk::Rerank;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

/// A thread that answered many queries at once keeps the buffers of one.
#[test]
fn the_buffers_of_a_batch_are_given_back() {
    let (items, dim) = (4000, 8);
    let options = IndexOptions {
        dim,
        bits: 64,
        family: Family::Learned,
        tables: 1,
        rerank: Rerank::Int8,
        rotation: RotationKind::Random,
        seed: 3,
    };
    let mut rng = SplitMix64::new(5);
    let vectors: Vec<f32> = (0..items * dim).map(|_| rng.next_bell()).collect();
    let ids: Vec<u64> = (0..items as u64).collect();
    let index = HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 1).unwrap();
    let options = SearchOptions { k: 10, rerank: Some(2000), effort: Some(1.0), ..Default::default() };
    let search = |queries: usize| drop(index.search(&vectors[..queries * dim], &options, 1).unwrap());
    search(1);
    let (before, _) = held_and_most();
    search(1000);
    let (after, most) = held_and_most();
    assert!(most > before + (10 << 20), "a batch needs far more than what may be kept");
    assert!(after < before + (1 << 20), "{} bytes kept", after - before);
}
