//! What an answer says of its work: buckets looked into, and rows scored with their kept vectors.

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 16;
const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 1), (Family::CrossPolytope, 1)];

fn vectors(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..count * DIM).map(|_| rng.next_bell()).collect()
}

/// Items with the prices 0, 1, 2, …, four to a product.
fn built(family: Family, tables: usize, items: u64) -> HashIndex {
    let (rerank, rotation) = (Rerank::Int8, RotationKind::Random);
    let options = IndexOptions { dim: DIM, bits: 64, family, tables, rerank, rotation, seed: 7 };
    let ids: Vec<u64> = (0..items).collect();
    let products: Vec<u64> = ids.iter().map(|id| id / 4).collect();
    let price = |id: &u64| vec![("price".to_owned(), id.to_string())];
    let attributes = ids.iter().map(|id| ItemAttributes::new(vec![], price(id)).unwrap()).collect();
    let vectors = vectors(items as usize, 1);
    HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 1).unwrap()
}

/// Codes scanned, buckets probed and candidates reranked of one query.
fn work(index: &HashIndex, query: &[f32], options: &SearchOptions) -> (u64, u64, u64) {
    let found = index.search(query, options, 1).unwrap();
    (found.codes_scanned[0], found.buckets_probed[0], found.candidates_reranked[0])
}

fn cheaper_than(price: u64) -> Option<Filter> {
    let range = Condition::Range { name: "price".into(), min: None, max: Some(price as f64 - 1.0) };
    Some(Filter::new(vec![range], vec![], vec![]).unwrap())
}

#[test]
fn as_many_buckets_are_probed_as_asked_for_and_as_many_candidates_scored() {
    for (family, tables) in FAMILIES {
        let index = built(family, tables, 4_000);
        let state = index.snapshot();
        let buckets = state.first_table().len() as u64;
        for query in vectors(8, 2).chunks_exact(DIM) {
            for probes in [1, 3, 20, buckets, 10 * buckets] {
                for depth in [10, 37, 100_000] {
                    let (probes, rerank) = (Some(probes as usize), Some(depth as usize));
                    let options = SearchOptions { k: 1, probes, rerank, ..Default::default() };
                    let (scanned, probed, reranked) = work(&index, query, &options);
                    assert_eq!(probed, (probes.unwrap() as u64).min(buckets), "{family:?}");
                    assert_eq!(reranked, scanned.min(depth), "{family:?} {probed} buckets");
                }
            }
        }
    }
}

#[test]
fn a_search_of_everything_probes_the_buckets_that_have_rows() {
    for (family, tables) in FAMILIES {
        let index = built(family, tables, 2_000);
        let state = index.snapshot();
        let used = state.first_table().iter().filter(|bucket| bucket.rows() > 0).count() as u64;
        let options = SearchOptions { k: 1, effort: Some(1.0), rerank: Some(50), ..Default::default() };
        let (scanned, probed, reranked) = work(&index, &vectors(1, 3), &options);
        assert_eq!((scanned, reranked), (2_000, 50), "{family:?}");
        // Cells are taken in order, those without rows among them.
        let expected = if family == Family::Learned { state.first_table().len() as u64 } else { used };
        assert_eq!(probed, expected, "{family:?}");
    }
    let tiny = built(Family::Learned, 1, 40);
    assert_eq!(tiny.stats().buckets_per_table, 0);
    assert_eq!(work(&tiny, &vectors(1, 3), &SearchOptions { k: 10, ..Default::default() }), (40, 1, 40));
}

#[test]
fn exact_searches_probe_nothing_and_score_all_that_may_be_found() {
    let index = built(Family::Learned, 1, 4_000);
    index.remove(&[1, 2, 3]);
    let query = vectors(1, 4);
    let exact = SearchOptions { k: 10, exact: true, ..Default::default() };
    assert_eq!(work(&index, &query, &exact), (3_997, 0, 3_997));
    let few = SearchOptions { k: 10, filter: cheaper_than(100), ..Default::default() };
    assert_eq!(work(&index, &query, &few), (97, 0, 97));
    let none = SearchOptions { k: 10, filter: cheaper_than(0), ..Default::default() };
    assert_eq!(work(&index, &query, &none), (0, 0, 0));
}

#[test]
fn what_is_excluded_is_not_scored() {
    let index = built(Family::Learned, 1, 2_000);
    let query = vectors(1, 5);
    let all = SearchOptions { k: 5, effort: Some(1.0), rerank: Some(10_000), ..Default::default() };
    assert_eq!(work(&index, &query, &all).2, 2_000);
    let without = SearchOptions { exclude: vec![3, 4, 1_000_000], ..all };
    assert_eq!(work(&index, &query, &without).2, 1_998);
}

#[test]
fn rows_of_several_tables_count_each_time() {
    let index = built(Family::CrossPolytope, 3, 1_500);
    let buckets = 3 * index.snapshot().first_table().len();
    let (probes, rerank) = (Some(buckets), Some(10_000));
    let options = SearchOptions { k: 1, probes, rerank, ..Default::default() };
    assert_eq!(work(&index, &vectors(1, 6), &options), (4_500, buckets as u64, 4_500));
}

#[test]
fn a_search_that_goes_on_counts_all_it_did() {
    // One product owns all that is near.
    let (options, near) = (built(Family::Learned, 1, 4).options().clone(), vectors(1, 8));
    let mut all = vectors(6_000, 9);
    let mut rng = SplitMix64::new(10);
    all[..3_000 * DIM]
        .iter_mut()
        .enumerate()
        .for_each(|(at, value)| *value = near[at % DIM] + 0.1 * rng.next_bell());
    let ids: Vec<u64> = (0..6_000).collect();
    let products: Vec<u64> = ids.iter().map(|id| if *id < 3_000 { 0 } else { *id }).collect();
    let index = HashIndex::build(options, Batch::new(&all, &ids, &products), 1).unwrap();
    let wanted = SearchOptions { k: 10, rerank: Some(20), effort: Some(0.0), ..Default::default() };
    let (scanned, probed, reranked) = work(&index, &near, &wanted);
    let (scanned_g, probed_g, reranked_g) = work(&index, &near, &SearchOptions { group: true, ..wanted });
    assert_eq!(reranked, 20);
    assert!(scanned_g > scanned && probed_g > probed, "{scanned_g} rows, {probed_g} buckets");
    assert!(reranked_g >= 20 + 80, "{reranked_g} candidates");
}
