//! Background rebuilds while a writer works, against a naive list of items.

use std::collections::BTreeMap;

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::threads::Stop;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 16;
const START: u64 = 24_000;
/// More than half of what there was at the start, which makes a rebuild due.
const NEW: u64 = 12_500;

/// The version of each item; it is the item's product, and makes its vector.
type Model = BTreeMap<u64, u64>;

fn vector(id: u64, version: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(version << 32 | id);
    (0..DIM).map(|_| rng.next_bell()).collect()
}

fn columns(items: &Model) -> (Vec<f32>, Vec<u64>, Vec<u64>, Vec<ItemAttributes>) {
    let vectors = items.iter().flat_map(|(id, version)| vector(*id, *version)).collect();
    let attributes = items.iter().map(|(id, version)| {
        let values = vec![("version".to_owned(), version.to_string())];
        ItemAttributes::new(vec![(id % 7).to_string()], values).unwrap()
    });
    (vectors, items.keys().copied().collect(), items.values().copied().collect(), attributes.collect())
}

fn add(index: &HashIndex, model: &mut Model, ids: impl Iterator<Item = u64>, version: u64) {
    let items: Model = ids.map(|id| (id, version)).collect();
    let (vectors, ids, products, attributes) = columns(&items);
    index.add(Batch::new(&vectors, &ids, &products).with_attributes(attributes)).unwrap();
    model.extend(items);
}

fn check(index: &HashIndex, model: &Model, tolerance: f32) {
    let items = index.snapshot().items();
    assert_eq!(index.stats().items, model.len());
    assert_eq!(items.ids.len(), model.len());
    for (at, id) in items.ids.iter().enumerate() {
        let version = model[id];
        assert_eq!(items.products[at], version);
        assert_eq!(items.attributes[at], columns(&Model::from([(*id, version)])).3[0]);
        let (stored, expected) = (&items.vectors[at * DIM..][..DIM], vector(*id, version));
        let length = expected.iter().map(|v| v * v).sum::<f32>().sqrt();
        let cosine = stored.iter().zip(&expected).map(|(a, b)| a * b).sum::<f32>() / length;
        assert!((1.0 - cosine).abs() < tolerance, "{id}: {cosine}");
    }
    let (id, version) = model.iter().nth(model.len() / 2).unwrap();
    let options = SearchOptions { k: 1, ..Default::default() };
    let found = index.search(&vector(*id, *version), &options, 1).unwrap();
    assert_eq!((found.ids[0], found.products[0]), (*id, *version));
}

#[test]
fn a_build_that_is_stopped_gives_nothing() {
    let model: Model = (0..300).map(|id| (id, 1)).collect();
    let (vectors, ids, products, attributes) = columns(&model);
    for family in [Family::Learned, Family::Hyperplane, Family::CrossPolytope] {
        let (rerank, rotation) = (Rerank::Int8, RotationKind::Random);
        let options = IndexOptions { dim: DIM, bits: 64, family, tables: 1, rerank, rotation, seed: 1 };
        let build = |stop: &Stop| {
            let (options, attributes) = (options.clone(), attributes.clone());
            HashIndex::build_until(
                stop,
                options,
                Batch::new(&vectors, &ids, &products).with_attributes(attributes),
                1,
            )
            .unwrap()
        };
        let stop = Stop::default();
        assert_eq!(build(&stop).unwrap().stats().items, 300);
        stop.set();
        assert!(build(&stop).is_none());
    }
}

#[test]
fn an_index_that_grows_is_rebuilt_while_it_is_written() {
    for (family, tables, rerank, tolerance) in [
        (Family::Learned, 1, Rerank::Int8, 0.01),
        (Family::Hyperplane, 2, Rerank::F32, 1e-6),
        (Family::CrossPolytope, 2, Rerank::F16, 1e-3),
    ] {
        let options = IndexOptions {
            dim: DIM,
            bits: 64,
            family,
            tables,
            rerank,
            rotation: RotationKind::Random,
            seed: 1,
        };
        let mut model: Model = (0..START).map(|id| (id, 0)).collect();
        let (vectors, ids, products, attributes) = columns(&model);
        let index =
            HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 0)
                .unwrap();
        add(&index, &mut model, START..START + NEW, 1);
        assert!(index.stats().rebuilding, "the write does not wait for it");
        let folder = tempfile::tempdir().unwrap();
        let (mut rng, mut batches) = (SplitMix64::new(5), 0);
        // At least some of these come while it runs; the last ones may come after it.
        while batches < 25 || index.stats().rebuilding && batches < 200 {
            batches += 1;
            let first = rng.next_u64() % (START + NEW);
            add(&index, &mut model, (first..first + 200).step_by(3), 1 + batches);
            let gone: Vec<u64> = (rng.next_u64() % (START + NEW)..).step_by(5).take(20).collect();
            let there = gone.iter().filter(|id| model.remove(id).is_some()).count();
            assert_eq!(index.remove(&gone), there);
            if batches == 5 {
                index.save(folder.path()).unwrap();
                let stored = HashIndex::open(folder.path()).unwrap();
                assert_eq!(stored.stats().trained_on, START as usize);
                check(&stored, &model, tolerance);
            }
        }
        index.wait_for_rebuild();
        let stats = index.stats();
        assert_eq!((stats.trained_on as u64, stats.failed_rebuilds), (START + NEW, 0));
        check(&index, &model, tolerance);
        add(&index, &mut model, 0..300, 77);
        check(&index, &model, tolerance);
    }
}

#[test]
fn an_index_may_go_while_it_is_rebuilt() {
    let (family, rerank) = (Family::Learned, Rerank::F16);
    let options = IndexOptions {
        dim: DIM,
        bits: 64,
        family,
        tables: 1,
        rerank,
        rotation: RotationKind::Random,
        seed: 1,
    };
    let mut model: Model = (0..START).map(|id| (id, 0)).collect();
    let (vectors, ids, products, attributes) = columns(&model);
    let index =
        HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 0)
            .unwrap();
    add(&index, &mut model, START..START + NEW, 1);
    let snapshot = index.snapshot();
    drop(index);
    assert_eq!(snapshot.items().ids.len() as u64, START + NEW);
}

/// Most items go while a rebuild is under way: what is stored then has far more ordinals than items.
#[test]
fn what_is_stored_before_a_rebuild_is_through_can_be_opened() {
    let (family, rerank) = (Family::CrossPolytope, Rerank::F32);
    let options = IndexOptions {
        dim: DIM,
        bits: 64,
        family,
        tables: 1,
        rerank,
        rotation: RotationKind::Random,
        seed: 1,
    };
    let mut model: Model = (0..70_000).map(|id| (id, 0)).collect();
    let (vectors, ids, products, attributes) = columns(&model);
    let index =
        HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 0)
            .unwrap();
    add(&index, &mut model, 70_000..300_000, 1);
    assert!(index.stats().rebuilding);
    let gone: Vec<u64> = (100..300_000).collect();
    index.remove(&gone);
    let folder = tempfile::tempdir().unwrap();
    index.save(folder.path()).unwrap();
    model.retain(|id, _| *id < 100);
    let stored = HashIndex::open(folder.path()).unwrap();
    assert_eq!(stored.snapshot().ordinals, 100);
    check(&stored, &model, 1e-6);
    index.wait_for_rebuild();
    assert_eq!(index.snapshot().ordinals, 100);
    check(&index, &model, 1e-6);
}
