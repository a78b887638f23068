//! Queries answered together find what each finds alone, and effort finds what was promised at build.

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 24;

/// Products in clusters, a few photos each.
fn catalogue(items: usize, seed: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    let mut bells = |count: usize| (0..count).map(|_| rng.next_bell()).collect::<Vec<f32>>();
    let (centres, products, noise) = (bells(40 * DIM), bells(items / 4 * DIM), bells(items * DIM));
    let value = |at: usize| {
        let (item, axis) = (at / DIM, at % DIM);
        let product = item / 4 % (items / 4);
        centres[product % 40 * DIM + axis] + 0.8 * products[product * DIM + axis] + 0.4 * noise[at]
    };
    (0..items * DIM).map(value).collect()
}

fn built(family: Family, tables: usize, rerank: Rerank) -> HashIndex {
    let options =
        IndexOptions { dim: DIM, bits: 64, family, tables, rerank, rotation: RotationKind::Random, seed: 9 };
    let mut vectors = catalogue(12_000, 1);
    // Copies have equal estimates: what is kept of them must not depend on the order of the visits.
    for copy in 1..500 {
        vectors.copy_within(..DIM, copy * DIM);
    }
    let ids: Vec<u64> = (0..12_000).collect();
    let products: Vec<u64> = ids.iter().map(|id| id / 4).collect();
    let colour = |id: &u64| vec![("colour".to_owned(), format!("c{}", id % 3))];
    let attributes = ids.iter().map(|id| ItemAttributes::new(vec![], colour(id)).unwrap()).collect();
    let index =
        HashIndex::build(options, Batch::new(&vectors, &ids, &products).with_attributes(attributes), 1)
            .unwrap();
    index.remove(&(0..12_000).step_by(7).collect::<Vec<u64>>());
    let late = catalogue(200, 2);
    let late_ids: Vec<u64> = (20_000..20_200).collect();
    index.add(Batch::new(&late, &late_ids, &late_ids)).unwrap();
    index
}

#[test]
fn queries_together_find_what_each_finds_alone() {
    let queries = [&catalogue(12_000, 1)[..DIM], &catalogue(36, 3)].concat();
    let red =
        Filter::new(vec![Condition::Equals { name: "colour".into(), value: "c1".into() }], vec![], vec![])
            .unwrap();
    for (family, tables) in [(Family::Learned, 1), (Family::Hyperplane, 3), (Family::CrossPolytope, 2)] {
        for rerank in [Rerank::Int8, Rerank::F32] {
            let index = built(family, tables, rerank);
            for options in [
                SearchOptions { k: 10, ..Default::default() },
                SearchOptions { k: 3, probes: Some(5), rerank: Some(20), ..Default::default() },
                SearchOptions { k: 10, group: true, effort: Some(0.1), ..Default::default() },
                SearchOptions { k: 10, effort: Some(0.9), ..Default::default() },
                SearchOptions { k: 10, exact: true, ..Default::default() },
                SearchOptions { k: 10, filter: Some(red.clone()), effort: Some(0.3), ..Default::default() },
            ] {
                let together = index.search(&queries, &options, 1).unwrap();
                let threads = index.search(&queries, &options, 2).unwrap();
                assert_eq!((&together.ids, &together.scores), (&threads.ids, &threads.scores));
                for (at, query) in queries.chunks_exact(DIM).enumerate() {
                    let alone = index.search(query, &options, 1).unwrap();
                    let rows = at * options.k..(at + 1) * options.k;
                    assert_eq!(alone.ids, together.ids[rows.clone()], "{family:?} {rerank:?} {options:?}");
                    assert_eq!(alone.products, together.products[rows.clone()]);
                    assert_eq!(alone.scores, together.scores[rows]);
                    assert_eq!(alone.codes_scanned[0], together.codes_scanned[at]);
                    assert_eq!(alone.buckets_probed[0], together.buckets_probed[at]);
                    assert_eq!(alone.candidates_reranked[0], together.candidates_reranked[at]);
                }
            }
        }
    }
}

fn search(index: &HashIndex, queries: &[f32], effort: Option<f32>) -> (Vec<u64>, Vec<u64>) {
    let options = SearchOptions { k: 10, exact: effort.is_none(), effort, ..Default::default() };
    let found = index.search(queries, &options, 0).unwrap();
    (found.ids, found.codes_scanned)
}

fn share_found(truth: &[u64], found: &[u64]) -> f64 {
    let right = |(truth, found): (&[u64], &[u64])| truth.iter().filter(|id| found.contains(id)).count();
    let right: usize = truth.chunks_exact(10).zip(found.chunks_exact(10)).map(right).sum();
    right as f64 / truth.len() as f64
}

#[test]
fn effort_finds_what_was_measured_at_build() {
    let vectors = catalogue(20_000, 1);
    // One photo of every 13th product is asked for, the others of that product are stored.
    let (asked, ids): (Vec<u64>, Vec<u64>) = (0..20_000).partition(|id| id % 52 == 0);
    let rows = |ids: &[u64]| -> Vec<f32> {
        ids.iter().flat_map(|id| &vectors[*id as usize * DIM..][..DIM]).copied().collect()
    };
    let (queries, vectors) = (rows(&asked), rows(&ids));
    for (family, tables) in [(Family::Learned, 1), (Family::Hyperplane, 1), (Family::CrossPolytope, 4)] {
        let options = IndexOptions {
            dim: DIM,
            bits: 256,
            family,
            tables,
            rerank: Rerank::F32,
            rotation: RotationKind::Random,
            seed: 9,
        };
        let index = HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 0).unwrap();
        let promised = index.stats().recall_by_effort;
        assert!(promised.is_sorted() && promised[0] < 0.999, "{promised:?}");
        let truth = search(&index, &queries, None).0;
        let tolerance = if family == Family::Learned { 0.05 } else { 0.15 };
        for step in [0, 1, 2, 4, 6] {
            let (found, scanned) = search(&index, &queries, Some(step as f32 / 8.0));
            let share = share_found(&truth, &found);
            let expected = f64::from(promised[step]);
            assert!(share > expected - tolerance, "{family:?} {step}: {share} of {expected}");
            if (step, family) == (6, Family::Learned) {
                let most = *scanned.iter().max().unwrap();
                assert!(scanned.iter().any(|rows| 10 * rows < 9 * most), "no search stopped early");
            }
        }
    }
}
