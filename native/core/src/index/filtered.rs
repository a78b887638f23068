//! How a filtered search goes: over the codes of the near buckets, or over the vectors of all items that pass.
//!
//! A scan estimates the rows of the near buckets and asks of those alone that are better than the candidates so far
//! whether they pass. So it costs little more than one without a filter where most items pass; the fewer do, the
//! larger the share of the buckets that it has to look at. To score what passes costs the same however many items
//! there are, and misses nothing.

use roaring::RoaringBitmap;

use super::effort::Effort;
use super::options::SearchOptions;
use super::state::State;
use crate::bitset::Bitset;
use crate::chunk::Record;

/// Up to so many items are scored whatever a scan would cost: it might find less.
const FEW: usize = 2_000;
/// What it costs to score an item, and to look at another's ordinal in its bucket, in rows that are scanned. On 200,000
/// items of 128 dimensions they took 90 to 150 ns and 2 ns, a scanned row 10 ns or, with many items passing, less.
const SCORE: f64 = 20.0;
const LOOK: f64 = 0.5;

/// Whether a search should score all of the `matches` items that pass its filter.
pub fn scores_all(options: &SearchOptions, state: &State, matches: usize) -> bool {
    // Who chose the number of buckets wants what lies in them.
    options.exact || matches <= FEW || options.probes.is_none() && is_cheaper(options, state, matches)
}

fn is_cheaper(options: &SearchOptions, state: &State, matches: usize) -> bool {
    let effort = Effort::of(options, state, matches);
    let scan = effort.rows.min(state.rows()) as f64 + SCORE * effort.rerank.min(matches) as f64;
    let buckets = state.first_table().len();
    let looked_at = (matches as f64 / buckets as f64).min(1.0) * (state.live + state.removed) as f64;
    SCORE * matches as f64 + LOOK * looked_at <= scan
}

/// A row with its bucket of the first table and its ordinal.
pub type MatchingRow<'a> = (u32, &'a u32, Record<'a>);

/// The rows of the items that pass.
pub fn matching_rows<'a>(
    state: &'a State,
    passing: &RoaringBitmap,
    allowed: &Bitset,
) -> Vec<MatchingRow<'a>> {
    let item_buckets = state.item_buckets();
    let mut used = Bitset::default();
    passing.iter().for_each(|ordinal| {
        used.insert(item_buckets.get(ordinal)[0]);
    });
    let mut rows = Vec::with_capacity(allowed.len());
    for (number, bucket) in (0..).zip(state.first_table()).filter(|(number, _)| used.contains(*number)) {
        for run in bucket.runs() {
            let view = run.chunk().view(state.layout());
            let found = view.ordinals.iter().enumerate().filter(|(_, ordinal)| allowed.contains(**ordinal));
            let found = found.filter(|(row, _)| run.is_live(*row));
            rows.extend(found.map(|(row, ordinal)| (number, ordinal, view.record(state.layout(), row))));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::ItemAttributes;
    use crate::chunk::Rerank;
    use crate::filter::{Condition, Filter};
    use crate::partition::Family;
    use crate::rng::SplitMix64;
    use crate::rotation::RotationKind;
    use crate::{Batch, HashIndex, IndexOptions};

    const DIM: usize = 12;

    fn less_than(bound: f64) -> Option<Filter> {
        let range = Condition::Range { name: "price".into(), min: None, max: Some(bound - 1.0) };
        Some(Filter::new(vec![range], vec![], vec![]).unwrap())
    }

    /// Items with the prices 0, 1, 2, …
    fn priced(family: Family, items: u64, vectors: &[f32]) -> HashIndex {
        let rerank = Rerank::F32;
        let options = IndexOptions {
            dim: DIM,
            bits: 64,
            family,
            tables: 1,
            rerank,
            rotation: RotationKind::Random,
            seed: 1,
        };
        let ids: Vec<u64> = (0..items).collect();
        let price = |id: &u64| vec![("price".to_owned(), id.to_string())];
        let attributes = ids.iter().map(|id| ItemAttributes::new(vec![], price(id)).unwrap()).collect();
        HashIndex::build(options, Batch::new(vectors, &ids, &ids).with_attributes(attributes), 1).unwrap()
    }

    #[test]
    fn a_search_scores_all_that_passes_where_a_scan_would_cost_more() {
        let items = 90_000;
        let mut rng = SplitMix64::new(3);
        let vectors: Vec<f32> = (0..items * DIM).map(|_| rng.next_bell()).collect();
        let index = priced(Family::CrossPolytope, items as u64, &vectors);
        let query = &vectors[DIM * 777..][..DIM];
        let search = |options: &SearchOptions| {
            let found = index.search(query, options, 1).unwrap();
            (found.ids, found.scores, found.codes_scanned[0])
        };
        let mut scored_all = Vec::new();
        for matches in [1_500, 2_100, 25_000] {
            let exact =
                SearchOptions { k: 10, exact: true, filter: less_than(matches as f64), ..Default::default() };
            let best = search(&exact);
            assert_eq!(best.2, matches);
            for effort in [0.2, 0.9] {
                let options = SearchOptions { effort: Some(effort), exact: false, ..exact.clone() };
                let all = scores_all(&options, &index.snapshot(), matches as usize);
                scored_all.push(all);
                let found = search(&options);
                assert_eq!(found.2 == matches, all, "{matches} {effort}");
                assert!(!all || found == best, "{matches} {effort}");
            }
            let probes = SearchOptions { probes: Some(1 << 20), exact: false, ..exact };
            assert_eq!(scores_all(&probes, &index.snapshot(), matches as usize), matches <= FEW as u64);
        }
        assert_eq!(scored_all, [true, true, false, true, false, false]);
    }

    #[test]
    fn only_buckets_with_matching_rows_are_looked_at() {
        let mut rng = SplitMix64::new(4);
        let vectors: Vec<f32> = (0..3_000 * DIM).map(|_| rng.next_bell()).collect();
        let index = priced(Family::Learned, 3_000, &vectors);
        index.remove(&[5, 6]);
        index.add(Batch::new(&vectors[..2 * DIM], &[5, 4_000], &[9, 9])).unwrap();
        let state = index.snapshot();
        let passing = state.attributes.evaluate(&less_than(40.0).unwrap());
        let mut allowed = Bitset::default();
        passing.iter().for_each(|ordinal| assert!(allowed.insert(ordinal)));
        let mut ids: Vec<u64> =
            matching_rows(&state, &passing, &allowed).iter().map(|(.., record)| record.id()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..40).filter(|id| ![5, 6].contains(id)).collect::<Vec<u64>>());
        // A set that says that more is allowed than passes is asked in those buckets alone.
        for ordinal in 0..state.ordinals {
            allowed.insert(ordinal);
        }
        let looked_at = matching_rows(&state, &passing, &allowed).len();
        assert!((40..1_000).contains(&looked_at), "{looked_at} rows");
    }
}
