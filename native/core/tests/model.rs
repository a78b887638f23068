//! The index against a naive list of items, under random sequences of operations.

mod common;

use std::collections::BTreeMap;

use common::{filter, hash, item, passes};
use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::Filter;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Estimate, Family, HashIndex, IndexOptions, SearchOptions, SearchOutput};
use proptest::prelude::*;

const DIM: usize = 24;
const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 3), (Family::CrossPolytope, 2)];
/// Forms of the vectors, and how far scores may be from the cosine.
const RERANKS: [(Rerank, f64); 3] = [(Rerank::Int8, 0.01), (Rerank::F16, 1e-3), (Rerank::F32, 1e-5)];

/// Visits every bucket and scores every row.
const ALL: (Option<usize>, Option<usize>) = (Some(1 << 24), Some(1 << 20));

#[derive(Clone, Debug)]
struct Item {
    product: u64,
    vector: Vec<f32>,
    attributes: ItemAttributes,
}

type Model = BTreeMap<u64, Item>;

#[derive(Clone, Debug)]
enum Operation {
    Add { first: u64, count: u64, step: usize, seed: u64 },
    Remove { first: u64, count: u64, step: usize },
    Reopen,
    Search { seed: u64, queries: usize, options: SearchOptions },
}

fn search_options() -> impl Strategy<Value = SearchOptions> {
    let effort = prop_oneof![
        3 => Just((None, None, None)),
        1 => (0f32..=1.0).prop_map(|effort| (None, None, Some(effort))),
        1 => (1..40usize).prop_map(|probes| (Some(probes), None, None)),
        1 => (15..300usize).prop_map(|rerank| (None, Some(rerank), None)),
        1 => (1..40usize, 15..300usize).prop_map(|(probes, rerank)| (Some(probes), Some(rerank), None)),
    ];
    let filter =
        prop_oneof![2 => Just(None), 1 => Just(Some(Filter::default())), 3 => filter().prop_map(Some)];
    let estimate = prop_oneof![3 => Just(Estimate::Asymmetric), 1 => Just(Estimate::Hamming)];
    let exclude = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(0..700u64, 1..40)];
    (1..15usize, any::<bool>(), effort, filter, estimate, exclude, any::<bool>()).prop_map(
        |(k, group, (probes, rerank, effort), filter, estimate, exclude, ties)| SearchOptions {
            k,
            probes,
            rerank,
            group,
            exact: false,
            effort,
            filter,
            estimate,
            exclude,
            ties,
            documents: false,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..700u64, 1..200u64, 1..4usize, any::<u64>())
            .prop_map(|(first, count, step, seed)| Operation::Add { first, count, step, seed }),
        2 => (0..700u64, 1..200u64, 1..4usize)
            .prop_map(|(first, count, step)| Operation::Remove { first, count, step }),
        1 => Just(Operation::Reopen),
        5 => (any::<u64>(), 1..4usize, search_options())
            .prop_map(|(seed, queries, options)| Operation::Search { seed, queries, options }),
    ]
}

fn vector(seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..DIM).map(|_| rng.next_bell()).collect()
}

/// A new version of an item; with some seeds many items look the same.
fn version(id: u64, seed: u64, with_attributes: bool) -> Item {
    let looks_like = if seed.is_multiple_of(4) { id % 8 } else { id };
    Item {
        product: (id + seed % 5) / 3,
        vector: vector(hash(seed) ^ looks_like),
        attributes: if with_attributes { item(seed ^ id) } else { ItemAttributes::default() },
    }
}

fn add(index: &HashIndex, model: &mut Model, items: Model) {
    let (vectors, ids, products, attributes) = columns(&items);
    index.add(Batch::new(&vectors, &ids, &products).with_attributes(attributes)).unwrap();
    model.extend(items);
}

fn columns(items: &Model) -> (Vec<f32>, Vec<u64>, Vec<u64>, Vec<ItemAttributes>) {
    let vectors = items.values().flat_map(|item| item.vector.clone()).collect();
    let products = items.values().map(|item| item.product).collect();
    let mut attributes: Vec<_> = items.values().map(|item| item.attributes.clone()).collect();
    if attributes.iter().all(|item| *item == ItemAttributes::default()) {
        attributes.clear();
    }
    (vectors, items.keys().copied().collect(), products, attributes)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn allowed(id: u64, item: &Item, options: &SearchOptions) -> bool {
    !options.exclude.contains(&id)
        && options.filter.as_ref().is_none_or(|filter| passes(&item.attributes, filter))
}

/// The scores of the best `k`, padded.
fn naive(model: &Model, query: &[f32], options: &SearchOptions) -> Vec<f64> {
    let mut best: BTreeMap<u64, f64> = BTreeMap::new();
    for (id, item) in model.iter().filter(|(id, item)| allowed(**id, item, options)) {
        let score = cosine(query, &item.vector);
        let entry = best.entry(if options.group { item.product } else { *id }).or_insert(score);
        *entry = entry.max(score);
    }
    let mut scores: Vec<f64> = best.into_values().collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.resize(options.k, f64::NEG_INFINITY);
    scores
}

/// What every answer to one query must be like.
fn check(model: &Model, query: &[f32], options: &SearchOptions, tolerance: f64, found: &[(u64, u64, f32)]) {
    assert!(found.len() == options.k || options.ties && found.len() > options.k);
    let hits: Vec<_> = found.iter().take_while(|(id, ..)| *id != u64::MAX).collect();
    assert!(found[hits.len()..].iter().all(|pad| *pad == (u64::MAX, u64::MAX, f32::NEG_INFINITY)));
    for (id, product, score) in &hits {
        let stored = model.get(id).expect("only live items are found");
        assert!(allowed(*id, stored, options), "{id} does not pass the filter, or is excluded");
        assert_eq!(*product, stored.product);
        assert!((f64::from(*score) - cosine(query, &stored.vector)).abs() < tolerance, "{id}: {score}");
        assert!((-1.0..=1.0).contains(score));
    }
    assert!(hits.is_sorted_by(|a, b| a.2 > b.2 || a.2 == b.2 && a.0 < b.0), "ties go to the smaller id");
    let by_product = options.group && !options.ties;
    let mut keys: Vec<_> = hits.iter().map(|hit| if by_product { hit.1 } else { hit.0 }).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), hits.len(), "nothing twice");
}

/// What these options make of the scores of all items, best first.
fn selected(mut all: Vec<(u64, u64, f32)>, options: &SearchOptions) -> Vec<(u64, u64, f32)> {
    all.retain(|(id, ..)| !options.exclude.contains(id));
    if options.group {
        let mut best = BTreeMap::new();
        for hit in &all {
            best.entry(hit.1).or_insert(*hit);
        }
        all.retain(|hit| *hit == best[&hit.1] || options.ties && hit.2 == best[&hit.1].2);
    }
    let mut keys = Vec::new();
    let key = |hit: &(u64, u64, f32)| if options.group { hit.1 } else { hit.0 };
    let mut last = f32::NEG_INFINITY;
    all.retain(|hit| {
        if keys.len() < options.k && !keys.contains(&key(hit)) {
            keys.push(key(hit));
            last = hit.2;
        }
        keys.contains(&key(hit)) || options.ties && hit.2 == last
    });
    all
}

fn rows(out: &SearchOutput) -> Vec<Vec<(u64, u64, f32)>> {
    let hits = out
        .ids
        .iter()
        .zip(&out.products)
        .zip(&out.scores)
        .map(|((id, product), score)| (*id, *product, *score));
    hits.collect::<Vec<_>>().chunks(out.width).map(<[_]>::to_vec).collect()
}

/// The hits of a row, without what pads it.
fn hits(row: &[(u64, u64, f32)]) -> &[(u64, u64, f32)] {
    &row[..row.iter().position(|(id, ..)| *id == u64::MAX).unwrap_or(row.len())]
}

/// How many of the `k` best, or best products, were found.
fn found(row: &[(u64, u64, f32)], options: &SearchOptions) -> usize {
    let mut keys: Vec<u64> = hits(row).iter().map(|hit| if options.group { hit.1 } else { hit.0 }).collect();
    keys.sort();
    keys.dedup();
    keys.len().min(options.k)
}

fn check_search(
    index: &HashIndex,
    model: &Model,
    seed: u64,
    queries: usize,
    options: &SearchOptions,
    tolerance: f64,
) {
    let queries: Vec<f32> = (0..queries as u64).flat_map(|at| vector(hash(seed) ^ at)).collect();
    let run = |options: &SearchOptions, threads| rows(&index.search(&queries, options, threads).unwrap());
    let everything = SearchOptions { k: model.len().max(1), exact: true, ..Default::default() };
    let everything = run(&SearchOptions { filter: options.filter.clone(), ..everything }, 1);
    let exact = run(&SearchOptions { exact: true, ..options.clone() }, 1);
    let hashed = run(options, 1);
    assert_eq!(run(options, 2), hashed, "threads change nothing");
    let (probes, rerank) = ALL;
    let all = run(&SearchOptions { probes, rerank, effort: None, ..options.clone() }, 1);
    assert_eq!(all, exact, "all probes and a full rerank are exact");
    check_candidates(index, model, &queries, options);
    for (exact, all) in exact.iter().zip(everything) {
        assert_eq!(hits(exact), selected(hits(&all).to_vec(), options));
    }
    for (query, (exact, hashed)) in queries.chunks(DIM).zip(exact.iter().zip(&hashed)) {
        check(model, query, options, tolerance, exact);
        check(model, query, options, tolerance, hashed);
        let best = SearchOptions { ties: false, ..options.clone() };
        let mut best = selected(hits(exact).to_vec(), &best);
        best.resize(options.k, (u64::MAX, u64::MAX, f32::NEG_INFINITY));
        for ((.., score), expected) in best.iter().zip(naive(model, query, options)) {
            let score = f64::from(*score);
            assert!(score == expected || (score - expected).abs() < tolerance, "{score}, not {expected}");
        }
        if options.probes.is_none() {
            assert_eq!(found(hashed, options), found(exact, options), "short only where exact is short");
        }
    }
}

/// The candidates of an exact search hold its answer over the vectors as they were added, ties included.
fn check_candidates(index: &HashIndex, model: &Model, queries: &[f32], options: &SearchOptions) {
    let candidates = index.exact_candidates(queries, options, 1).unwrap();
    assert_eq!(index.exact_candidates(queries, options, 2).unwrap().ids, candidates.ids);
    for (query, ids) in queries.chunks(DIM).zip(candidates.ids) {
        let mut known = ids.iter().map(|id| (id, &model[id]));
        assert!(known.all(|(id, item)| allowed(*id, item, options)) && ids.is_sorted_by(|a, b| a < b));
        let score = |id: &u64| cosine(query, &model[id].vector);
        let best = naive(model, query, options);
        let last = *best.iter().rfind(|score| score.is_finite()).unwrap_or(&f64::INFINITY);
        let is_best = |id: &u64, item: &Item| allowed(*id, item, options) && score(id) >= last;
        for id in model.iter().filter(|(id, item)| is_best(id, item)).map(|(id, _)| id) {
            assert!(ids.contains(id), "{id} is among the best");
        }
    }
}

/// The snapshot holds the items of the model, no more and no less.
fn check_contents(index: &HashIndex, model: &Model, tolerance: f64) {
    let stats = index.stats();
    assert_eq!(stats.items, model.len());
    let items = index.snapshot().items();
    assert_eq!(items.ids.len(), model.len());
    for (at, id) in items.ids.iter().enumerate() {
        let stored = &model[id];
        assert_eq!((items.products[at], &items.attributes[at]), (stored.product, &stored.attributes));
        let vector = &items.vectors[at * DIM..][..DIM];
        assert!((1.0 - cosine(vector, &stored.vector)).abs() < tolerance);
    }
}

fn built(combination: usize, items: &Model) -> (HashIndex, f64) {
    let ((family, tables), (rerank, tolerance)) = (FAMILIES[combination % 3], RERANKS[combination / 3 % 3]);
    let bits = [64, 128][combination / 9 % 2];
    let options =
        IndexOptions { dim: DIM, bits, family, tables, rerank, rotation: RotationKind::Random, seed: 1 };
    let (vectors, ids, products, attributes) = columns(items);
    (
        HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 1)
            .unwrap(),
        tolerance,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 144, ..ProptestConfig::default() })]

    /// The sizes: nothing, all in one bucket, few buckets, enough for filters to be pushed into the scan.
    #[test]
    fn behaves_like_a_list(
        operations in prop::collection::vec(operation(), 1..25),
        combination in 0..18usize,
        with_attributes: bool,
        size in prop::sample::select(vec![0u64, 0, 120, 400, 3500]),
    ) {
        let mut model: Model = (0..size).map(|id| (id, version(id, 77, with_attributes))).collect();
        let (mut index, tolerance) = built(combination, &model);
        let folder = tempfile::tempdir().unwrap();
        for operation in operations {
            match operation {
                Operation::Add { first, count, step, seed } => {
                    let ids = (first..first + count).step_by(step);
                    add(&index, &mut model, ids.map(|id| (id, version(id, seed, with_attributes))).collect());
                }
                Operation::Remove { first, count, step } => {
                    let ids: Vec<u64> = (first..first + count).step_by(step).collect();
                    let removed = ids.iter().filter(|id| model.remove(id).is_some()).count();
                    prop_assert_eq!(index.remove(&ids), removed);
                }
                Operation::Reopen => {
                    let options = SearchOptions { k: 10, ..Default::default() };
                    let before = index.search(&vector(5), &options, 1).unwrap();
                    index.save(folder.path()).unwrap();
                    index = HashIndex::open(folder.path()).unwrap();
                    let after = index.search(&vector(5), &options, 1).unwrap();
                    prop_assert_eq!(rows(&before), rows(&after));
                }
                Operation::Search { seed, queries, options } => {
                    check_search(&index, &model, seed, queries, &options, tolerance);
                }
            }
            prop_assert_eq!(index.stats().items, model.len());
        }
        check_contents(&index, &model, tolerance);
    }
}

/// From one bucket to many by small batches: the index is retrained again and again, each time from
/// the vectors as it kept them.
#[test]
fn stays_right_while_it_grows() {
    for combination in 0..9 {
        let mut model: Model = (0..150).map(|id| (id, version(id, 1, true))).collect();
        let (index, tolerance) = built(combination, &model);
        let mut trainings = std::collections::BTreeSet::new();
        for step in 0..60u64 {
            let first = 150 + 40 * step;
            // New items, and new versions of old ones.
            let ids = (first..first + 40).chain((hash(step) % first / 2..).step_by(17).take(8));
            add(&index, &mut model, ids.map(|id| (id, version(id, step + 2, true))).collect());
            let gone: Vec<u64> = (step..first).step_by(311).collect();
            gone.iter().for_each(|id| drop(model.remove(id)));
            index.remove(&gone);
            trainings.insert(index.stats().trained_on);
        }
        // One that ends between two searches rounds the vectors again.
        index.wait_for_rebuild();
        assert!(trainings.len() > 8, "trained only on {trainings:?}");
        for (seed, group) in [(1, false), (2, true)] {
            let options = SearchOptions { k: 10, group, ..Default::default() };
            check_search(&index, &model, seed, 4, &options, tolerance);
        }
        check_contents(&index, &model, tolerance);
    }
}

/// Bit arrays over the ordinals, and the buckets, do not stay as large as the index once was.
#[test]
fn losing_most_items_retrains() {
    let options = IndexOptions {
        dim: 4,
        bits: 64,
        family: Family::CrossPolytope,
        tables: 1,
        rerank: Rerank::F32,
        rotation: RotationKind::Random,
        seed: 1,
    };
    let count = 70_000;
    let vectors: Vec<f32> = (0..count).flat_map(|id| vector(id)[..4].to_vec()).collect();
    let ids: Vec<u64> = (0..count).collect();
    let index = HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 0).unwrap();
    index.remove(&ids[10_000..]);
    assert_eq!((index.snapshot().ordinals, index.stats().trained_on), (70_000, 70_000));
    index.remove(&ids[5_000..]);
    index.wait_for_rebuild();
    assert_eq!((index.snapshot().ordinals, index.stats().trained_on), (5_000, 5_000));
    let query = &vectors[4 * 77..][..4];
    let search = |index: &HashIndex| {
        index.search(query, &SearchOptions { k: 1, exact: true, ..Default::default() }, 1).unwrap().ids[0]
    };
    assert_eq!(search(&index), 77);
    let folder = tempfile::tempdir().unwrap();
    index.save(folder.path()).unwrap();
    assert_eq!(search(&HashIndex::open(folder.path()).unwrap()), 77);
    index.remove(&ids);
    assert_eq!(index.stats().items, 0);
}
