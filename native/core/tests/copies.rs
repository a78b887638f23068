//! A catalogue of which three in ten items are copies of one photo: half of them identical, half slightly noisy.

use std::collections::HashSet;

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 32;
const LEAVES: u64 = 60;
const OTHERS: u64 = 14_000;
const COPIES: u64 = 6_000;
const QUERIES: u64 = 300;
/// Ids of identical copies, and of noisy ones.
const SAME: std::ops::Range<u64> = OTHERS..OTHERS + COPIES / 2;
const NOISY: std::ops::Range<u64> = OTHERS + COPIES / 2..OTHERS + COPIES;

fn bells(seed: u64, size: f32) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..DIM).map(|_| size * rng.next_bell()).collect()
}

fn sum(a: Vec<f32>, b: Vec<f32>) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// A photo of a leaf category; queries are others of the same kind.
fn other(id: u64) -> Vec<f32> {
    sum(bells(id % LEAVES, 1.0), bells(1_000_000 + id, 0.7))
}

fn photo() -> Vec<f32> {
    other(9_999_999)
}

fn vector(id: u64) -> Vec<f32> {
    match id {
        id if SAME.contains(&id) => photo(),
        id if NOISY.contains(&id) => sum(photo(), bells(1_000_000 + id, 0.05)),
        id => other(id),
    }
}

fn item(id: u64) -> ItemAttributes {
    let hundred = ("hundred".to_owned(), (id / 100).to_string());
    ItemAttributes::new(vec!["all".to_owned()], vec![hundred]).unwrap()
}

fn options(family: Family, tables: usize, rerank: Rerank) -> IndexOptions {
    IndexOptions { dim: DIM, bits: 128, family, tables, rerank, rotation: RotationKind::Random, seed: 1 }
}

fn build(options: IndexOptions, ids: impl Iterator<Item = u64>) -> HashIndex {
    let ids: Vec<u64> = ids.collect();
    let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(*id)).collect();
    HashIndex::build(
        options,
        Batch::new(&vectors, &ids, &ids).with_attributes(ids.iter().map(|id| item(*id)).collect()),
        0,
    )
    .unwrap()
}

/// Mean share of the best 10 scores that a search finds, and the most rows that one query looked at.
fn quality(index: &HashIndex) -> (f64, u64) {
    let queries: Vec<f32> = (0..QUERIES).flat_map(|at| other(500_000 + at)).collect();
    let search = SearchOptions { k: 10, effort: Some(0.3), ..Default::default() };
    let exact = index.search(&queries, &SearchOptions { exact: true, ..search.clone() }, 0).unwrap();
    let found = index.search(&queries, &search, 0).unwrap();
    let rows = found.scores.chunks(10).zip(exact.scores.chunks(10));
    let right: usize =
        rows.map(|(found, exact)| found.iter().filter(|score| **score >= exact[9] - 1e-6).count()).sum();
    (right as f64 / (10 * QUERIES) as f64, *found.codes_scanned.iter().max().unwrap())
}

#[test]
fn copies_cost_the_others_nothing_and_are_found() {
    let baseline = build(options(Family::Learned, 1, Rerank::Int8), 0..OTHERS);
    let index = build(options(Family::Learned, 1, Rerank::Int8), 0..OTHERS + COPIES);
    let ((recall_without, _), (recall, most)) = (quality(&baseline), quality(&index));
    println!("recall {recall} for {recall_without} without the copies, at most {most} rows");
    assert!(recall > recall_without - 0.01, "{recall} for {recall_without}");
    assert!(most < COPIES / 3, "{most} rows");

    let search = |query: Vec<f32>, options: SearchOptions| index.search(&query, &options, 1).unwrap();
    let found = search(photo(), SearchOptions { k: 50, ..Default::default() });
    assert!(found.codes_scanned[0] < COPIES / 3, "{} rows", found.codes_scanned[0]);
    assert!(found.scores.iter().all(|score| *score > 0.999));
    assert!(found.ids.iter().collect::<HashSet<_>>().len() == 50);
    let noisy =
        NOISY.step_by(29).map(|id| (id, search(vector(id), SearchOptions { k: 1, ..Default::default() })));
    let noisy: Vec<bool> = noisy.map(|(id, found)| found.ids[0] == id).collect();
    let itself = noisy.iter().filter(|found| **found).count();
    assert!(itself * 100 >= noisy.len() * 97, "{itself} of {} find themselves", noisy.len());

    let all = search(photo(), SearchOptions { k: COPIES as usize, exact: true, ..Default::default() });
    assert!(all.ids.iter().all(|id| *id >= OTHERS));
    // Items that are the last of thousands of copies: more than are scored one by one.
    let late = (SAME.end / 100 - 21..SAME.end / 100).map(|hundred| hundred.to_string()).collect();
    let late = Condition::In { name: "hundred".to_owned(), values: late };
    let filter = Some(Filter::new(vec![late], vec![], vec![]).unwrap());
    let found = search(photo(), SearchOptions { k: 100, filter, ..Default::default() });
    let ids: HashSet<u64> = found.ids.iter().copied().collect();
    assert!(ids.len() == 100 && ids.iter().all(|id| (SAME.end - 2_100..SAME.end).contains(id)));
}

#[test]
fn one_search_is_bounded_in_every_family() {
    for (family, tables) in [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)] {
        let index = build(options(family, tables, Rerank::F16), 0..OTHERS + COPIES);
        for group in [false, true] {
            let search = SearchOptions { k: 10, group, ..Default::default() };
            let found = index.search(&photo(), &search, 1).unwrap();
            assert!(found.codes_scanned[0] < 2 * COPIES / 5, "{family:?}: {} rows", found.codes_scanned[0]);
            assert!(found.scores.iter().all(|score| *score > 0.995), "{family:?}: {:?}", found.scores);
        }
    }
}

#[test]
fn copies_that_come_later_lead_to_one_training() {
    for start in [2_000, 30_000] {
        let index = build(options(Family::Learned, 1, Rerank::F32), (0..start).map(|id| 1_000_000 + id));
        let mut trained = vec![index.stats().trained_on];
        let buckets = index.stats().buckets_per_table;
        // Fewer than growth alone would need.
        let copies: Vec<u64> = SAME.take(if start < 20_000 { 190 } else { 2_900 }).collect();
        for batch in copies.chunks(copies.len() / 19) {
            let vectors = photo().repeat(batch.len());
            index.add(Batch::new(&vectors, batch, batch)).unwrap();
            index.wait_for_rebuild();
            trained.push(index.stats().trained_on);
        }
        trained.dedup();
        let due = start > 20_000;
        assert_eq!(trained.len(), 1 + usize::from(due), "{trained:?}");
        assert!(!due || index.stats().buckets_per_table > buckets);
        let search = SearchOptions { k: 10, ..Default::default() };
        assert!(index.search(&photo(), &search, 1).unwrap().scores.iter().all(|score| *score > 0.9999));
    }
}

#[test]
fn an_index_of_nothing_but_one_photo_works() {
    for family in [Family::Learned, Family::Hyperplane, Family::CrossPolytope] {
        let index = build(options(family, 1, Rerank::Int8), SAME.take(2_900));
        let search = SearchOptions { k: 10, ..Default::default() };
        let found = index.search(&photo(), &search, 1).unwrap();
        assert!(found.scores.iter().all(|score| *score > 0.999));
        let folder = tempfile::tempdir().unwrap();
        index.save(folder.path()).unwrap();
        let opened = HashIndex::open(folder.path()).unwrap();
        assert_eq!(opened.search(&photo(), &search, 1).unwrap().ids, found.ids);
        let all = SearchOptions { k: 2_900, exact: true, ..Default::default() };
        let ids: HashSet<u64> = opened.search(&photo(), &all, 1).unwrap().ids.into_iter().collect();
        assert_eq!(ids, SAME.take(2_900).collect());
    }
}
