//! Exact search over vectors that are kept rounded: which items can be among the best of the vectors as they were.
//!
//! The score of a row is computed from its rounded vector `x'`. The row's error `e` says how far `x'` is at most from
//! the unit vector `x` that the item was added with, over all the rebuilds since. So with a unit query `q`
//! `|<q, x> - <q, x'>| <= |q| |x - x'| <= e` (Cauchy and Schwarz), and the true cosine lies in a bracket around the
//! score: `e`, and what rounding adds up to (see [`crate::bounds`]), to either side.
//!
//! The `k`-th best of the lower ends is a score that the true `k`-th best reaches. Whatever is among the best, or equals
//! the last of them, has an upper end that is not below it. With grouping the same holds for products, whose lower end
//! is the best of their items': the best item of each of the best products is among those returned.

use std::collections::HashMap;

use rayon::prelude::*;

use super::clock::{Clock, StageSeconds};
use super::options::SearchOptions;
use super::query::{QueryScratch, Search, Worker, with_worker};
use super::rerank::CandidateRow;
use super::state::State;
use crate::bounds::{self, roundings};
use crate::chunk::Rerank;
use crate::codebook::Codebook;
use crate::error::Result;
use crate::threads::{self, Stop};

/// What can be among the best.
#[derive(Clone, Debug, Default)]
pub struct ExactCandidates {
    /// Ids for each query, ascending.
    pub ids: Vec<Vec<u64>>,
    /// Rows each query was compared with.
    pub codes_scanned: Vec<u64>,
    /// Time per stage over all queries.
    pub seconds: StageSeconds,
}

/// Finds the candidates of unit-length `queries` in one snapshot, on `threads` threads (0: all cores); soon after `stop`
/// is set not all of them.
pub fn candidates(
    state: &State,
    queries: &[f32],
    options: &SearchOptions,
    threads: usize,
    stop: &Stop,
) -> Result<ExactCandidates> {
    let options = SearchOptions { exact: true, ..options.clone() };
    let search = Search::new(state, &options).until(stop);
    let tolerance = Tolerance::of(&state.codebook);
    let one = |query: &[f32]| with_worker(|worker| of_query(&search, &tolerance, query, worker));
    let dim = search.dim();
    let found: Vec<_> = if threads == 1 || queries.len() <= dim {
        queries.chunks_exact(dim).map(one).collect()
    } else {
        threads::pool(threads)?.install(|| queries.par_chunks_exact(dim).map(one).collect())
    };
    let mut out = ExactCandidates::default();
    for (ids, scanned, seconds) in found {
        out.ids.push(ids);
        out.codes_scanned.push(scanned);
        out.seconds.add(seconds);
    }
    Ok(out)
}

fn of_query(
    search: &Search,
    tolerance: &Tolerance,
    query: &[f32],
    worker: &mut Worker,
) -> (Vec<u64>, u64, StageSeconds) {
    let (mut clock, mut seconds) = (Clock::start(), StageSeconds::default());
    if worker.scratches.is_empty() {
        worker.scratches.push(QueryScratch::default());
    }
    let scratch = &mut worker.scratches[0];
    search.prepare(query, scratch, &mut worker.rotation);
    seconds.hash = clock.lap();
    let mut contenders = Contenders::new(search);
    search.score_all(query, scratch, &mut contenders, |row, product| tolerance.contender(&row, product));
    let scanned = contenders.seen;
    let ids = contenders.into_ids();
    seconds.rerank = clock.lap();
    (ids, scanned, seconds)
}

/// How far scores can be from the cosines of the vectors as they were added, and as others compute these in f32.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    /// For every row.
    constant: f64,
    /// For each unit of its error.
    factor: f64,
}

impl Tolerance {
    fn of(codebook: &Codebook) -> Self {
        let dim = codebook.layout.dim;
        let dot = bounds::dot(dim);
        // Of the length of what is multiplied with the query.
        let share = match codebook.layout.rerank {
            Rerank::F32 | Rerank::F16 => dot,
            // The query was rotated; its product with integers is scaled, then added to that with the centre.
            Rerank::Int8 => dot + codebook.rotation.apply_error() + roundings(2),
        };
        // A kept vector is as long as one of unit length and its error; a residual also has the centre's length.
        let (longest, centre) = match codebook.layout.rerank {
            Rerank::F32 | Rerank::F16 => (1.0, 0.0),
            Rerank::Int8 => (2.0, dot + roundings(1)),
        };
        // Query and vector were each rounded to unit length, here and by whoever computes the cosine again.
        let elsewhere = bounds::dot_in_any_order(dim) + roundings(8);
        // Lengths of 1 and 2 are a little more after rounding.
        let spare = 1.02;
        Self {
            constant: spare * (longest * share + centre) + elsewhere,
            factor: 1.0 + spare * share + roundings(2),
        }
    }

    fn contender(&self, row: &CandidateRow, product: f32) -> Contender {
        let record = &row.record;
        let reach = self.constant + self.factor * f64::from(record.error());
        let (lower, upper) = (f64::from(product) - reach, f64::from(product) + reach);
        Contender { lower, upper, id: record.id(), product: record.product() }
    }
}

/// An item and the bracket of its cosine.
#[derive(Clone, Copy, Debug)]
struct Contender {
    lower: f64,
    upper: f64,
    id: u64,
    product: u64,
}

/// Those that can still be among the best.
struct Contenders<'s, 'a> {
    search: &'s Search<'a>,
    entries: Vec<Contender>,
    /// Entries at which those that cannot are dropped.
    limit: usize,
    /// What an upper end must reach.
    least: f64,
    /// How many there were.
    seen: u64,
}

impl Extend<Contender> for Contenders<'_, '_> {
    fn extend<T: IntoIterator<Item = Contender>>(&mut self, contenders: T) {
        for contender in contenders {
            self.seen += 1;
            if contender.upper >= self.least && !self.search.is_excluded(contender.id) {
                self.entries.push(contender);
                if self.entries.len() >= self.limit {
                    self.drop_beaten();
                    self.limit = self.limit.max(2 * self.entries.len());
                }
            }
        }
    }
}

impl<'s, 'a> Contenders<'s, 'a> {
    fn new(search: &'s Search<'a>) -> Self {
        let limit = search.options.k.saturating_mul(4).max(4096);
        Self { search, entries: Vec::new(), limit, least: f64::NEG_INFINITY, seen: 0 }
    }

    fn drop_beaten(&mut self) {
        let k = self.search.options.k;
        let mut lower: Vec<f64> = if self.search.options.group {
            let mut best = HashMap::new();
            for Contender { lower, product, .. } in &self.entries {
                let entry = best.entry(*product).or_insert(*lower);
                *entry = lower.max(*entry);
            }
            best.into_values().collect()
        } else {
            self.entries.iter().map(|contender| contender.lower).collect()
        };
        if lower.len() >= k {
            self.least = *lower.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
            self.entries.retain(|contender| contender.upper >= self.least);
        }
    }

    fn into_ids(mut self) -> Vec<u64> {
        self.drop_beaten();
        let mut ids: Vec<u64> = self.entries.iter().map(|contender| contender.id).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Family;
    use crate::rng::SplitMix64;
    use crate::rotation::RotationKind;
    use crate::{Batch, HashIndex, IndexOptions};

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// As others may compute it: in f32, one after another, which rounds most.
    fn plain_cosine(a: &[f32], b: &[f32]) -> f64 {
        let unit = |x: &[f32]| {
            let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
            x.iter().map(|v| v / length).collect::<Vec<f32>>()
        };
        f64::from(unit(a).iter().zip(unit(b)).map(|(x, y)| x * y).sum::<f32>())
    }

    /// Clusters, so that some residuals are short, and vectors near to each other.
    fn vectors(count: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = SplitMix64::new(seed);
        let centres: Vec<f32> = (0..9 * dim).map(|_| rng.next_bell()).collect();
        let near = [0.01, 0.3, 3.0];
        let values = (0..count * dim)
            .map(|at| centres[at / dim % 9 * dim + at % dim] + near[at / dim % 3] * rng.next_bell());
        values.collect()
    }

    #[test]
    fn brackets_hold_the_cosines_of_the_vectors_as_they_were_added() {
        let families = [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)];
        let reranks = [(Rerank::Int8, 0.2), (Rerank::F16, 2e-3), (Rerank::F32, 1e-4)];
        for ((family, tables), (rerank, widest)) in families.into_iter().flat_map(|f| reranks.map(|r| (f, r)))
        {
            for (dim, bits, rotation) in [
                (3, 64, RotationKind::Random),
                (45, 64, RotationKind::Random),
                (100, 64, RotationKind::Learned),
            ] {
                let options = IndexOptions { dim, bits, family, tables, rerank, rotation, seed: 5 };
                let added = vectors(700, dim, 1);
                let ids: Vec<u64> = (0..700).collect();
                // Growing, it is retrained again and again, each time from the vectors as it kept them.
                let index = HashIndex::build(options, Batch::default(), 1).unwrap();
                for (vectors, ids) in added.chunks(50 * dim).zip(ids.chunks(50)) {
                    index.add(Batch::new(vectors, ids, ids)).unwrap();
                }
                assert!(index.stats().trained_on > 500);
                let state = index.snapshot();
                let options = SearchOptions { k: 1, exact: true, ..Default::default() };
                let (search, tolerance) = (Search::new(&state, &options), Tolerance::of(&state.codebook));
                let queries = [&vectors(30, dim, 2), &added[..10 * dim]].concat();
                for query in queries.chunks_exact(dim) {
                    let unit = crate::input::unit_vectors("query", query, 1, dim).unwrap();
                    let (mut scratch, mut rotation) = (QueryScratch::default(), Vec::new());
                    search.prepare(&unit, &mut scratch, &mut rotation);
                    let mut brackets: Vec<Contender> = Vec::new();
                    search.score_all(&unit, &scratch, &mut brackets, |row, product| {
                        tolerance.contender(&row, product)
                    });
                    assert_eq!(brackets.len(), 700);
                    for Contender { lower, upper, id, .. } in brackets {
                        let vector = &added[id as usize * dim..][..dim];
                        for cosine in [cosine(query, vector), plain_cosine(query, vector)] {
                            assert!((lower..=upper).contains(&cosine), "{lower} to {upper}, not {cosine}");
                        }
                        assert!(
                            upper - lower < 2.0 * widest,
                            "{dim} {family:?} {rerank:?}: {lower} to {upper}"
                        );
                    }
                }
            }
        }
    }
}
