//! Documents against a map of what each item has: through additions, removals, rebuilds, compactions and files.

use std::collections::HashMap;

use lookalike_core::chunk::Rerank;
use lookalike_core::documents::MAX_DOCUMENT_BYTES;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Error, Family, HashIndex, IndexOptions, SearchOptions, SearchOutput};
use proptest::prelude::*;

const DIM: usize = 6;
const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 3), (Family::CrossPolytope, 2)];
const ANY: IndexOptions = IndexOptions {
    dim: DIM,
    bits: 64,
    family: Family::Learned,
    tables: 1,
    rerank: Rerank::F16,
    rotation: RotationKind::Random,
    seed: 1,
};

/// The version of each item: its product, and what makes its vector and its document.
type Model = HashMap<u64, u64>;

fn vector(id: u64, version: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(version << 32 | id);
    (0..DIM).map(|_| rng.next_bell()).collect()
}

/// Mostly some ten bytes; now and then none, one, or many.
fn document(id: u64, version: u64) -> Vec<u8> {
    let mut rng = SplitMix64::new(version << 32 | id | 1 << 63);
    let length = match rng.next_u64() % 16 {
        0 => 0,
        1 => 1,
        2 => 3_000,
        _ => 10 + rng.next_u64() % 90,
    };
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// What `work` makes of a batch of items of one version.
fn with_batch<T>(ids: &[u64], version: u64, work: impl FnOnce(Batch) -> T) -> T {
    let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(*id, version)).collect();
    let documents: Vec<Vec<u8>> = ids.iter().map(|id| document(*id, version)).collect();
    let products = vec![version; ids.len()];
    let documents = documents.iter().map(Vec::as_slice).collect();
    work(Batch::new(&vectors, ids, &products).with_documents(documents))
}

fn add(index: &HashIndex, model: &mut Model, ids: &[u64], version: u64) {
    with_batch(ids, version, |batch| index.add(batch)).unwrap();
    model.extend(ids.iter().map(|id| (*id, version)));
}

fn remove(index: &HashIndex, model: &mut Model, ids: &[u64]) {
    let there = ids.iter().filter(|id| model.remove(id).is_some()).count();
    assert_eq!(index.remove(ids), there);
}

/// The document of every hit is that of the version that was scored.
fn check_output(found: &SearchOutput) {
    for (at, (id, version)) in found.ids.iter().zip(&found.products).enumerate() {
        let expected = if *id == u64::MAX { Vec::new() } else { document(*id, *version) };
        assert_eq!(found.document(at), expected, "{id} {version}");
    }
    assert!(found.document(found.ids.len()).is_empty());
}

fn check(index: &HashIndex, model: &Model) {
    let ids: Vec<u64> = model.keys().copied().chain([1 << 40]).collect();
    let mut expected: Vec<_> = ids[..model.len()].iter().map(|id| Some(document(*id, model[id]))).collect();
    expected.push(None);
    assert_eq!(index.documents(&ids), expected);
    let bytes: usize = expected.iter().flatten().map(Vec::len).sum();
    let found = index.stats().document_bytes;
    let items = index.snapshot().ordinals as usize;
    assert!((bytes..=bytes + 4096 * items.div_ceil(512)).contains(&found), "{found} for {bytes} bytes");
    assert_eq!(found == 0, bytes == 0);
}

fn search(index: &HashIndex, seed: u64, options: &SearchOptions) -> SearchOutput {
    let queries = [vector(seed, 1), vector(seed + 1, 1)].concat();
    let options = SearchOptions { documents: true, ..options.clone() };
    let found = index.search(&queries, &options, 1).unwrap();
    check_output(&found);
    found
}

#[derive(Clone, Debug)]
enum Operation {
    Add { first: u64, count: u64, step: usize },
    Remove { first: u64, count: u64, step: usize },
    Reopen,
    Search { seed: u64, options: SearchOptions },
}

fn operation() -> impl Strategy<Value = Operation> {
    let options = (1..30usize, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(k, group, ties, exact, all)| SearchOptions {
            k,
            group,
            ties,
            exact,
            probes: all.then_some(1 << 20),
            ..Default::default()
        },
    );
    prop_oneof![
        4 => (0..900u64, 1..200u64, 1..4usize)
            .prop_map(|(first, count, step)| Operation::Add { first, count, step }),
        3 => (0..900u64, 1..200u64, 1..4usize)
            .prop_map(|(first, count, step)| Operation::Remove { first, count, step }),
        2 => Just(Operation::Reopen),
        3 => (0..900u64, options).prop_map(|(seed, options)| Operation::Search { seed, options }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn documents_go_with_their_items(
        operations in prop::collection::vec(operation(), 1..25),
        family in prop::sample::select(FAMILIES.to_vec()),
        size in prop::sample::select(vec![0u64, 120, 900]),
    ) {
        let options = IndexOptions { family: family.0, tables: family.1, ..ANY };
        let ids: Vec<u64> = (0..size).collect();
        let mut model: Model = ids.iter().map(|id| (*id, 1)).collect();
        let mut index = with_batch(&ids, 1, |batch| HashIndex::build(options, batch, 1)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Vec::new();
        for (version, operation) in (2..).zip(operations) {
            match operation {
                Operation::Add { first, count, step } => {
                    let ids: Vec<u64> = (first..first + count).step_by(step).collect();
                    add(&index, &mut model, &ids, version);
                }
                Operation::Remove { first, count, step } => {
                    let ids: Vec<u64> = (first..first + count).step_by(step).collect();
                    remove(&index, &mut model, &ids);
                }
                Operation::Reopen => {
                    index.save(folder.path()).unwrap();
                    index = HashIndex::open(folder.path()).unwrap();
                }
                Operation::Search { seed, options } => kept.push(search(&index, seed, &options)),
            }
            check(&index, &model);
        }
        // What was found lies in the snapshots of then.
        kept.iter().for_each(check_output);
    }
}

#[test]
fn documents_go_with_their_items_through_rebuilds_and_compactions() {
    let ids: Vec<u64> = (0..24_000).collect();
    let mut model: Model = ids.iter().map(|id| (*id, 1)).collect();
    let mut index = with_batch(&ids, 1, |batch| HashIndex::build(ANY, batch, 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    index.save(folder.path()).unwrap();
    index = HashIndex::open(folder.path()).unwrap();
    // An eighth is replaced: the rows are compacted, and meanwhile there are more writes.
    add(&index, &mut model, &(1_000..4_100).collect::<Vec<_>>(), 2);
    assert!(index.stats().rebuilding);
    add(&index, &mut model, &(4_000..4_500).collect::<Vec<_>>(), 3);
    remove(&index, &mut model, &(500..1_500).collect::<Vec<_>>());
    index.wait_for_rebuild();
    assert_eq!(index.stats().trained_on, 24_000);
    check(&index, &model);
    // Half as many come: it is trained again.
    add(&index, &mut model, &(24_000..37_500).collect::<Vec<_>>(), 4);
    assert!(index.stats().rebuilding);
    add(&index, &mut model, &(23_000..25_000).collect::<Vec<_>>(), 5);
    remove(&index, &mut model, &(30_000..31_000).collect::<Vec<_>>());
    search(&index, 24_500, &SearchOptions { k: 50, ..Default::default() });
    index.wait_for_rebuild();
    assert!(index.stats().trained_on > 30_000);
    check(&index, &model);
    search(&index, 24_500, &SearchOptions { k: 50, ..Default::default() });
    index.save(folder.path()).unwrap();
    check(&HashIndex::open(folder.path()).unwrap(), &model);
    let all: Vec<u64> = model.keys().copied().collect();
    remove(&index, &mut model, &all);
    assert_eq!(index.stats().document_bytes, 0);
}

#[test]
fn documents_are_returned_where_they_are_asked_for() {
    let index = with_batch(&[7, 8], 1, |batch| HashIndex::build(ANY, batch, 1)).unwrap();
    let search = |documents| {
        let options = SearchOptions { k: 3, documents, ..Default::default() };
        index.search(&vector(8, 1), &options, 1).unwrap()
    };
    let found = search(true);
    assert_eq!((found.ids[0], found.document(0)), (8, &document(8, 1)[..]));
    assert!(!found.document(0).is_empty());
    assert!(search(false).document(0).is_empty());
}

#[test]
fn wrong_documents_are_refused_and_nothing_is_added() {
    let index = with_batch(&[1, 2], 1, |batch| HashIndex::build(ANY, batch, 1)).unwrap();
    let (vectors, ids) = ([vector(1, 2), vector(3, 2)].concat(), [1, 3]);
    let add = |documents: Vec<&[u8]>| index.add(Batch::new(&vectors, &ids, &ids).with_documents(documents));
    let long = vec![0; MAX_DOCUMENT_BYTES + 1];
    for documents in [vec![&b"one"[..]], vec![&b"one"[..]; 3], vec![&b"one"[..], &long]] {
        let refused = add(documents);
        assert!(matches!(&refused, Err(Error::Invalid(_))), "{refused:?}");
        assert_eq!(index.documents(&[1, 3]), [Some(document(1, 1)), None]);
    }
    add(vec![b"", &long[1..]]).unwrap();
    assert_eq!(index.documents(&[1, 3]), [Some(Vec::new()), Some(long[1..].to_vec())]);
    add(Vec::new()).unwrap();
    assert_eq!(index.documents(&[1, 3]), [Some(Vec::new()), Some(Vec::new())]);
}
