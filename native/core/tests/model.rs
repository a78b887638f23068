//! The index against a naive list of vectors, under random sequences of operations.

use std::collections::BTreeMap;

use lookalike_core::chunk::Rerank;
use lookalike_core::rng::SplitMix64;
use lookalike_core::{Family, HashIndex, IndexOptions, SearchOptions, SearchOutput};
use proptest::prelude::*;

const DIM: usize = 12;

#[derive(Clone, Debug)]
enum Operation {
    Add { first: u64, count: u64, seed: u64 },
    Remove { first: u64, count: u64 },
    Reopen,
    Search { seed: u64, k: usize, group: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..400u64, 1..150u64, any::<u64>()).prop_map(|(first, count, seed)| Operation::Add { first, count, seed }),
        2 => (0..400u64, 1..100u64).prop_map(|(first, count)| Operation::Remove { first, count }),
        1 => Just(Operation::Reopen),
        4 => (any::<u64>(), 1..15usize, any::<bool>()).prop_map(|(seed, k, group)| Operation::Search { seed, k, group }),
    ]
}

fn vector(seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..DIM).map(|_| rng.next_bell()).collect()
}

fn product(id: u64) -> u64 {
    id / 3
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The scores of the best `k`, padded.
fn naive(model: &BTreeMap<u64, Vec<f32>>, query: &[f32], k: usize, group: bool) -> Vec<f64> {
    let mut best: BTreeMap<u64, f64> = BTreeMap::new();
    for (id, stored) in model {
        let score = cosine(query, stored);
        let entry = best.entry(if group { product(*id) } else { *id }).or_insert(score);
        *entry = entry.max(score);
    }
    let mut scores: Vec<f64> = best.into_values().collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.resize(k, f64::NEG_INFINITY);
    scores
}

fn check(model: &BTreeMap<u64, Vec<f32>>, query: &[f32], out: &SearchOutput) {
    for (at, id) in out.ids.iter().enumerate() {
        if *id == u64::MAX {
            assert!(out.scores[at] == f32::NEG_INFINITY && out.products[at] == u64::MAX);
            continue;
        }
        let stored = model.get(id).expect("only live items are found");
        assert_eq!(out.products[at], product(*id));
        assert!((f64::from(out.scores[at]) - cosine(query, stored)).abs() < 1e-5);
    }
    assert!(out.scores.is_sorted_by(|a, b| a >= b));
    let mut ids: Vec<_> = out.ids.iter().filter(|id| **id != u64::MAX).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), out.ids.iter().filter(|id| **id != u64::MAX).count(), "no item twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_list(operations in prop::collection::vec(operation(), 1..25), family in 0..3usize) {
        let (family, tables) =
            [(Family::Learned, 1), (Family::Hyperplane, 3), (Family::CrossPolytope, 2)][family];
        let options = IndexOptions { dim: DIM, bits: 64, family, tables, rerank: Rerank::F32, seed: 1 };
        let mut index = HashIndex::build(options, &[], &[], &[], Vec::new(), 1).unwrap();
        let mut model = BTreeMap::new();
        let folder = tempfile::tempdir().unwrap();
        for operation in operations {
            match operation {
                Operation::Add { first, count, seed } => {
                    let ids: Vec<u64> = (first..first + count).collect();
                    let products: Vec<u64> = ids.iter().map(|id| product(*id)).collect();
                    let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(seed ^ id)).collect();
                    index.add(&vectors, &ids, &products, Vec::new()).unwrap();
                    model.extend(ids.iter().map(|id| (*id, vector(seed ^ id))));
                }
                Operation::Remove { first, count } => {
                    let ids: Vec<u64> = (first..first + count).collect();
                    let removed = ids.iter().filter(|id| model.remove(id).is_some()).count();
                    prop_assert_eq!(index.remove(&ids), removed);
                }
                Operation::Reopen => {
                    index.save(folder.path()).unwrap();
                    index = HashIndex::open(folder.path()).unwrap();
                }
                Operation::Search { seed, k, group } => {
                    let query = vector(seed);
                    let options = SearchOptions { k, group, exact: true, ..Default::default() };
                    let exact = index.search(&query, &options, 1).unwrap();
                    check(&model, &query, &exact);
                    for (found, expected) in exact.scores.iter().zip(naive(&model, &query, k, group)) {
                        prop_assert!(expected == f64::from(*found) || (expected - f64::from(*found)).abs() < 1e-5);
                    }
                    let hashed = index.search(&query, &SearchOptions { exact: false, ..options.clone() }, 1).unwrap();
                    check(&model, &query, &hashed);
                    let found = |out: &SearchOutput| out.ids.iter().filter(|id| **id != u64::MAX).count();
                    prop_assert_eq!(found(&hashed), found(&exact), "short only where exact is short");
                    let every = SearchOptions { probes: Some(1 << 24), rerank: Some(1000), exact: false, ..options };
                    prop_assert_eq!(index.search(&query, &every, 1).unwrap().ids, exact.ids);
                }
            }
            prop_assert_eq!(index.stats().items, model.len());
        }
    }
}
