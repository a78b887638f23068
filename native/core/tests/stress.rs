//! Searches while a writer works: every answer is one that some moment between its start and its end had.
//!
//! Products identify versions: version `v` of an item is of product `1000 · v + group`, and the writer
//! publishes how far it has come before and after each batch.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 16;
const READERS: usize = 3;
/// Items of a group are always replaced, removed and added in one batch.
const GROUP: u64 = 20;
const START_GROUPS: u64 = 60;
const MOST_GROUPS: u64 = 300;
const BATCHES: u64 = 900;

/// What the writer does to a group in its version `v`: all add it but each fifth, which removes it.
fn removes(version: u64) -> bool {
    version % 5 == 4
}

fn product(group: u64, version: u64) -> u64 {
    1000 * version + group
}

/// Progress of each group's version, before a batch and after it.
struct Progress {
    started: Vec<AtomicU64>,
    finished: Vec<AtomicU64>,
}

/// All vectors of a version of a group lie close together: a search near it finds the group.
fn vectors(group: u64, version: u64) -> Vec<f32> {
    let mut centre = SplitMix64::new(group);
    let centre: Vec<f32> = (0..DIM).map(|_| centre.next_bell()).collect();
    let mut rng = SplitMix64::new(product(group, version) << 20);
    (0..GROUP).flat_map(|_| centre.iter().map(|c| c + 0.05 * rng.next_bell()).collect::<Vec<f32>>()).collect()
}

fn document(id: u64, version: u64) -> Vec<u8> {
    format!("version {version} of {id}, {}", "x".repeat((id * version % 50) as usize)).into_bytes()
}

fn ids(group: u64) -> Vec<u64> {
    (GROUP * group..GROUP * (group + 1)).collect()
}

fn write_version(index: &HashIndex, group: u64, version: u64) {
    if removes(version) {
        assert_eq!(index.remove(&ids(group)), GROUP as usize);
        return;
    }
    let values = vec![("version".to_owned(), version.to_string()), ("group".to_owned(), group.to_string())];
    let attributes = ItemAttributes::new(vec!["all".to_owned()], values).unwrap();
    let products = vec![product(group, version); GROUP as usize];
    let documents: Vec<Vec<u8>> = ids(group).iter().map(|id| document(*id, version)).collect();
    let (ids, vectors) = (ids(group), vectors(group, version));
    let batch = Batch::new(&vectors, &ids, &products)
        .with_attributes(vec![attributes; GROUP as usize])
        .with_documents(documents.iter().map(Vec::as_slice).collect());
    index.add(batch).unwrap();
}

/// Takes groups through their versions until `BATCHES` are written; new groups make the index grow
/// beyond its codebook again and again.
fn write_all(index: &HashIndex, progress: &Progress) {
    let mut rng = SplitMix64::new(9);
    for batch in 0..BATCHES {
        let groups = START_GROUPS + batch * (MOST_GROUPS - START_GROUPS) / BATCHES;
        let group = rng.next_u64() % groups;
        let version = progress.finished[group as usize].load(Ordering::SeqCst) + 1;
        progress.started[group as usize].store(version, Ordering::SeqCst);
        write_version(index, group, version);
        progress.finished[group as usize].store(version, Ordering::SeqCst);
    }
}

/// Searches near one group and checks the answer against what was written before and after.
fn check_one_search(index: &HashIndex, progress: &Progress, rng: &mut SplitMix64) {
    let group = rng.next_u64() % MOST_GROUPS;
    let before: Vec<u64> = progress.finished.iter().map(|v| v.load(Ordering::SeqCst)).collect();
    let filter = match rng.next_u64() % 3 {
        0 => Some(Condition::Equals { name: "group".into(), value: group.to_string() }),
        1 => Some(Condition::InCategory(vec!["all".into()])),
        _ => None,
    };
    let only_group = matches!(filter, Some(Condition::Equals { .. }));
    let everything = rng.next_u64().is_multiple_of(2);
    let options = SearchOptions {
        k: 30,
        exact: everything && rng.next_u64().is_multiple_of(2),
        probes: everything.then_some(1 << 24),
        rerank: everything.then_some(1 << 16),
        filter: filter.map(|condition| Filter::new(vec![condition], vec![], vec![]).unwrap()),
        documents: true,
        ..Default::default()
    };
    let out = index.search(&vectors(group, 0)[..DIM], &options, 1).unwrap();
    let after: Vec<u64> = progress.started.iter().map(|v| v.load(Ordering::SeqCst)).collect();

    assert!(out.scores.is_sorted_by(|a, b| a >= b));
    let hits = out.ids.iter().take_while(|id| **id != u64::MAX).count();
    let unique: HashSet<u64> = out.ids[..hits].iter().copied().collect();
    assert_eq!(unique.len(), hits, "no item twice");
    let mut of_group = HashSet::new();
    for (at, (id, found)) in out.ids[..hits].iter().zip(&out.products).enumerate() {
        let (own, version) = (id / GROUP, found / 1000);
        assert_eq!(out.document(at), document(*id, version), "that of what was scored");
        assert_eq!(found % 1000, own, "the product is one that the item had");
        assert!(!removes(version) && version > 0, "a version that was written");
        let range = before[own as usize]..=after[own as usize];
        assert!(range.contains(&version), "item {id}: version {version} is not within {range:?}");
        assert!(!only_group || own == group, "{id} does not pass the filter");
        if own == group {
            of_group.insert(version);
        }
    }
    assert!(of_group.len() <= 1, "versions {of_group:?} of one group at a time");
    // All 20 items of the group are nearer than anything else, so that all are found, or none where it is gone.
    if everything || only_group {
        let found = out.ids[..hits].iter().filter(|id| **id / GROUP == group).count() as u64;
        let live = |version: u64| version > 0 && !removes(version);
        let range = before[group as usize]..=after[group as usize];
        assert!(found == 0 || found == GROUP, "{found} items of a batch of {GROUP}");
        assert!(found > 0 || range.clone().any(|version| !live(version)), "group {group} is missing");
        assert!(found == 0 || range.clone().any(live), "group {group} is still there");
    }
}

#[test]
fn searches_during_writes_see_whole_batches_and_never_the_past() {
    for (family, tables, rerank) in [
        (Family::Learned, 1, Rerank::Int8),
        (Family::Hyperplane, 2, Rerank::F32),
        (Family::CrossPolytope, 2, Rerank::F16),
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
        let index = HashIndex::build(options, Batch::default(), 1).unwrap();
        let counters = |start: u64| {
            (0..MOST_GROUPS).map(|g| AtomicU64::new(u64::from(g < START_GROUPS) * start)).collect()
        };
        let progress = Progress { started: counters(1), finished: counters(1) };
        (0..START_GROUPS).for_each(|group| write_version(&index, group, 1));
        let first = index.stats().trained_on;
        let (done, searches) = (AtomicBool::new(false), AtomicU64::new(0));
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for reader in 0..READERS as u64 {
                let (index, progress, done, searches) = (&index, &progress, &done, &searches);
                scope.spawn(move || {
                    let mut rng = SplitMix64::new(reader);
                    while !done.load(Ordering::SeqCst) {
                        check_one_search(index, progress, &mut rng);
                        searches.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // Stored indexes are whole batches as well.
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    index.save(folder.path()).unwrap();
                    let stored = HashIndex::open(folder.path()).unwrap();
                    assert!(stored.stats().items.is_multiple_of(GROUP as usize));
                }
            });
            let written = thread::scope(|writer| writer.spawn(|| write_all(&index, &progress)).join());
            done.store(true, Ordering::SeqCst);
            written.unwrap();
        });
        let stats = index.stats();
        println!("{family:?}: {} searches, {stats:?}", searches.load(Ordering::SeqCst));
        assert!(stats.trained_on > first, "it was retrained");
        let live =
            progress.finished.iter().map(|v| v.load(Ordering::SeqCst)).filter(|v| *v > 0 && !removes(*v));
        assert_eq!(stats.items, live.count() * GROUP as usize);
        assert!(searches.load(Ordering::SeqCst) >= 100, "readers had their turn");
        let mut rng = SplitMix64::new(77);
        (0..500).for_each(|_| check_one_search(&index, &progress, &mut rng));
    }
}
