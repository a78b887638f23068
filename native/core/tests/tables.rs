//! Several bucket tables: every item lies in each of them.

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions};

const DIM: usize = 16;
const ITEMS: u64 = 3_000;
const QUERIES: usize = 40;

fn index(family: Family, tables: usize) -> HashIndex {
    let (rerank, rotation) = (Rerank::F32, RotationKind::Random);
    let options = IndexOptions { dim: DIM, bits: 64, family, tables, rerank, rotation, seed: 1 };
    let ids: Vec<u64> = (0..ITEMS).collect();
    let products: Vec<u64> = ids.iter().map(|id| id / 3).collect();
    let parity =
        |id: &u64| ItemAttributes::new(vec![], vec![("parity".into(), (id % 2).to_string())]).unwrap();
    let attributes = ids.iter().map(parity).collect();
    let index = HashIndex::build(
        options,
        Batch::new(&vectors(7, ids.len()), &ids, &products).with_attributes(attributes),
        1,
    )
    .unwrap();
    assert_eq!(index.remove(&(0..500).collect::<Vec<u64>>()), 500);
    index
}

fn vectors(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..count * DIM).map(|_| rng.next_bell()).collect()
}

/// To look at every row in every table takes as many times longer, and finds nothing else.
#[test]
fn the_greatest_effort_looks_at_each_item_once() {
    let odd = Condition::Equals { name: "parity".into(), value: "1".into() };
    let odd = Filter::new(vec![odd], vec![], vec![]).unwrap();
    for (family, tables) in
        [Family::Hyperplane, Family::CrossPolytope].into_iter().flat_map(|f| [(f, 1), (f, 6)])
    {
        let index = index(family, tables);
        let queries = vectors(8, QUERIES);
        for (group, filter) in [(false, None), (true, None), (false, Some(&odd)), (true, Some(&odd))] {
            let options = SearchOptions { k: 10, group, filter: filter.cloned(), ..Default::default() };
            let all = SearchOptions { effort: Some(1.0), ..options.clone() };
            let found = index.search(&queries, &all, 1).unwrap();
            let exact = index.search(&queries, &SearchOptions { exact: true, ..options }, 1).unwrap();
            let right = found.ids.iter().zip(&exact.ids).filter(|(found, exact)| found == exact).count();
            assert!(right * 100 >= exact.ids.len() * 98, "{family:?}, {tables} tables: {right}");
            let most = *found.codes_scanned.iter().max().unwrap();
            assert!(most <= ITEMS, "{family:?}, {tables} tables: {most} rows");
        }
    }
}
