//! The end of a query: scores of the candidates, or of every row that may be found, and the best of them.

use super::bucket::Run;
use super::filtered;
use super::query::{BucketProbe, QueryScratch, Search};
use crate::chunk::{Record, Rerank};
use crate::kernels::dot::{dot, dot_f16, dot_i8};
use crate::kernels::prefetch::prefetch;
use crate::rank::{Hit, keep_best};

/// Rows that are scored between two looks at whether the search is stopped.
const BETWEEN_LOOKS: usize = 1024;

/// What was found for one query.
#[derive(Debug, Default)]
pub struct Answer {
    /// The best, in order.
    pub hits: Vec<Hit>,
    /// The ordinals of their items, where their documents are asked for.
    pub ordinals: Vec<u32>,
    /// Rows it was compared with.
    pub scanned: u64,
    /// Buckets that were looked into for it.
    pub probed: u64,
    /// Rows whose kept vectors it was compared with.
    pub reranked: u64,
}

/// A candidate's row, to be scored.
pub struct CandidateRow<'a> {
    /// Inner product of the query with the centre of its bucket.
    base: f32,
    /// Read only of those that are found: it lies apart from the record.
    ordinal: &'a u32,
    pub record: Record<'a>,
}

impl CandidateRow<'_> {
    fn hit(&self, score: f32, place: u32) -> Hit {
        Hit { score, id: self.record.id(), product: self.record.product(), place }
    }
}

impl<'a> Search<'a> {
    /// Finds the rows of the candidates and asks for their vectors.
    pub fn locate(&self, scratch: &mut QueryScratch) -> Vec<CandidateRow<'a>> {
        let layout = self.state.layout();
        let QueryScratch { probes, candidates, .. } = scratch;
        let rows = candidates.best().iter().map(|candidate| {
            let BucketProbe { bucket, base, .. } = probes[candidate.run as usize / 2];
            let run = self.runs(bucket).nth(candidate.run as usize % 2).expect("a run that was visited");
            let (view, row) = (run.chunk().view(layout), candidate.row as usize);
            let record = view.record(layout, row);
            prefetch(record.bytes());
            CandidateRow { base, ordinal: &view.ordinals[row], record }
        });
        rows.collect()
    }

    /// Scores the candidates; none if too few were found and more buckets should be probed.
    pub fn conclude(
        &self,
        query: &[f32],
        scratch: &mut QueryScratch,
        rows: &[CandidateRow],
    ) -> Option<Answer> {
        let mut hits = self.rerank(query, scratch, rows);
        let enough = self.keep_best(&mut hits) == self.options.k.min(self.matches);
        let cut = scratch.candidates.is_full();
        // Everything was scanned, or just what was asked for.
        let at_end = || {
            let all = self.options.probes.is_some() || self.takes_all(&scratch.effort);
            all || scratch.scanned_now >= self.state.rows()
        };
        let (scanned, probed, reranked) = (scratch.scanned, scratch.probed, scratch.reranked);
        let ordinals = self.ordinals(&hits, |hit| *rows[hit.place as usize].ordinal);
        (enough || !cut && at_end()).then_some(Answer {
            hits,
            ordinals,
            scanned: scanned as u64,
            probed: probed as u64,
            reranked: reranked as u64,
        })
    }

    fn rerank(&self, query: &[f32], scratch: &mut QueryScratch, rows: &[CandidateRow]) -> Vec<Hit> {
        let score = |row: &CandidateRow| score_of(self.product(query, scratch, row));
        let mut scored: Vec<(f32, u32)> = Vec::with_capacity(rows.len());
        let found = (0..).zip(rows).filter(|(_, row)| !self.excludes() || !self.is_excluded(row.record.id()));
        scored.extend(found.map(|(place, row)| (score(row), place)));
        scratch.reranked += scored.len();
        let several_tables = self.state.codebook.tables() > 1;
        let k = self.options.k;
        if !self.options.group && !several_tables && scored.len() > k {
            let enough = scored.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0)).1.0;
            scored.retain(|(score, _)| *score >= enough);
        }
        let hit = |(score, place): (f32, u32)| rows[place as usize].hit(score, place);
        let mut hits: Vec<Hit> = scored.into_iter().map(hit).collect();
        if several_tables {
            hits.sort_unstable_by_key(|hit| hit.id);
            hits.dedup_by_key(|hit| hit.id);
        }
        hits
    }

    /// The inner product of the query with a stored vector.
    fn product(&self, query: &[f32], scratch: &QueryScratch, row: &CandidateRow) -> f32 {
        let layout = self.state.layout();
        let vector = row.record.vector();
        match layout.rerank {
            Rerank::Int8 => {
                let eighths = bytemuck::cast_slice(vector);
                row.base + row.record.scale() * dot_i8(&scratch.rotated[..layout.dim], eighths)
            }
            Rerank::F16 => dot_f16(query, bytemuck::cast_slice(vector)),
            Rerank::F32 => dot(query, bytemuck::cast_slice(vector)),
        }
    }

    /// Scores every row that may be found; nothing is found once the search is stopped.
    pub fn exact(&self, query: &[f32], scratch: &QueryScratch) -> Answer {
        let mut hits = Vec::with_capacity(self.matches);
        self.score_all(query, scratch, &mut hits, |row, product| row.hit(score_of(product), *row.ordinal));
        if self.is_stopped() {
            return Answer::default();
        }
        let scanned = hits.len() as u64;
        if self.excludes() {
            hits.retain(|hit| !self.is_excluded(hit.id));
        }
        self.keep_best(&mut hits);
        // Otherwise thousands of queries would each keep room for all rows until the last is answered.
        hits.shrink_to_fit();
        let ordinals = self.ordinals(&hits, |hit| hit.place);
        Answer {
            hits,
            ordinals,
            scanned,
            probed: scratch.probed as u64,
            reranked: scratch.reranked as u64 + scanned,
        }
    }

    /// The ordinals of what was found, where they are needed.
    fn ordinals(&self, hits: &[Hit], ordinal: impl Fn(&Hit) -> u32) -> Vec<u32> {
        if self.options.documents { hits.iter().map(ordinal).collect() } else { Vec::new() }
    }

    /// Adds to `out` what `make` makes of every row that passes the filter, and of its inner product with the query, until
    /// the search is stopped.
    pub fn score_all<T>(
        &self,
        query: &[f32],
        scratch: &QueryScratch,
        out: &mut impl Extend<T>,
        make: impl Fn(CandidateRow<'a>, f32) -> T + Copy,
    ) {
        let state = self.state;
        let Some(allowed) = &self.allowed else {
            for (number, bucket) in (0..).zip(state.first_table()) {
                if self.is_stopped() {
                    return;
                }
                let live = |run: &'a Run| {
                    let view = run.chunk().view(state.layout());
                    run.live_rows().map(move |row| (&view.ordinals[row], view.record(state.layout(), row)))
                };
                out.extend(self.made(query, scratch, number, bucket.runs().flat_map(live), make));
            }
            return;
        };
        let matching = || filtered::matching_rows(state, &self.passing, allowed);
        for rows in self.matching.get_or_init(matching).chunk_by(|a, b| a.0 == b.0) {
            if self.is_stopped() {
                return;
            }
            let rows_of_bucket = rows.iter().map(|(_, ordinal, record)| (*ordinal, *record));
            out.extend(self.made(query, scratch, rows[0].0, rows_of_bucket, make));
        }
    }

    /// The same of rows of one bucket.
    fn made<T>(
        &self,
        query: &[f32],
        scratch: &QueryScratch,
        bucket: u32,
        rows: impl Iterator<Item = (&'a u32, Record<'a>)>,
        make: impl Fn(CandidateRow<'a>, f32) -> T,
    ) -> impl Iterator<Item = T> {
        let base = dot(query, self.state.codebook.centre(bucket));
        // A bucket may have any number of rows.
        let going_on = move |(at, _): &(usize, _)| !at.is_multiple_of(BETWEEN_LOOKS) || !self.is_stopped();
        rows.enumerate().take_while(going_on).map(move |(_, (ordinal, record))| {
            let row = CandidateRow { base, ordinal, record };
            let product = self.product(query, scratch, &row);
            make(row, product)
        })
    }

    fn keep_best(&self, hits: &mut Vec<Hit>) -> usize {
        keep_best(hits, self.options.k, self.options.group, self.options.ties)
    }
}

/// The cosine that an inner product stands for: between -1 and 1 whatever was rounded, and never `-0.0`, so that equal
/// scores have equal bits. The product depends on nothing but the query, the kept vector and its bucket.
fn score_of(product: f32) -> f32 {
    product.clamp(-1.0, 1.0) + 0.0
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::filter::{Condition, Filter};
    use crate::index::query::{QueryScratch, Search};
    use crate::partition::Family;
    use crate::partition::ProbeOrder;
    use crate::rng::SplitMix64;
    use crate::rotation::RotationKind;
    use crate::threads::Stop;
    use crate::{Batch, HashIndex, IndexOptions, SearchOptions};

    const ROWS: usize = 12_000;
    const DIM: usize = 16;

    fn index(vectors: &[f32]) -> HashIndex {
        let options = IndexOptions {
            dim: DIM,
            bits: 64,
            family: Family::Hyperplane,
            tables: 1,
            rerank: Rerank::F16,
            rotation: RotationKind::Random,
            seed: 1,
        };
        let ids: Vec<u64> = (0..vectors.len() as u64 / DIM as u64).collect();
        HashIndex::build(options, Batch::new(vectors, &ids, &ids), 1).unwrap()
    }

    /// Rows that are scored after the search was stopped, when some had been.
    fn scored_after_stop(index: &HashIndex, query: &[f32], filter: Option<Filter>, when: usize) -> usize {
        let (state, stop) = (index.snapshot(), Stop::default());
        let options = SearchOptions { k: 10, exact: true, filter, ..SearchOptions::default() };
        let search = Search::new(&state, &options).until(&stop);
        let (mut scratch, mut rotation) = (QueryScratch::default(), Vec::new());
        search.prepare(query, &mut scratch, &mut rotation);
        let scored = Cell::new(0);
        search.score_all(query, &scratch, &mut Vec::new(), |_, _| {
            scored.set(scored.get() + 1);
            if scored.get() == when {
                stop.set();
            }
        });
        assert!(scored.get() >= when);
        scored.get() - when
    }

    #[test]
    fn a_stopped_search_scores_few_more_rows() {
        let mut rng = SplitMix64::new(8);
        let spread: Vec<f32> = (0..ROWS * DIM).map(|_| rng.next_bell()).collect();
        // All in one bucket.
        let copies = spread[..DIM].repeat(ROWS);
        let everything =
            Filter::new(vec![], vec![], vec![Condition::InCategory(vec!["none".into()])]).unwrap();
        for vectors in [spread, copies] {
            let index = index(&vectors);
            for filter in [None, Some(everything.clone())] {
                for when in [1, 5_000, 9_000] {
                    let more = scored_after_stop(&index, &vectors[..DIM], filter.clone(), when);
                    assert!(more < BETWEEN_LOOKS, "{more} rows after the stop");
                }
            }
        }
    }

    #[test]
    fn a_stopped_search_returns_nothing_and_looks_into_no_bucket() {
        let mut rng = SplitMix64::new(9);
        let vectors: Vec<f32> = (0..ROWS * DIM).map(|_| rng.next_bell()).collect();
        let (index, stop) = (index(&vectors), Stop::default());
        let options = SearchOptions { k: 10, ..SearchOptions::default() };
        for queries in [1, 40] {
            let queries = &vectors[..queries * DIM];
            assert!(index.search_until(&stop, queries, &options, 1).unwrap().is_some());
            assert!(index.exact_candidates_until(&stop, queries, &options, 1).unwrap().is_some());
        }
        stop.set();
        for queries in [1, 40] {
            let queries = &vectors[..queries * DIM];
            assert!(index.search_until(&stop, queries, &options, 1).unwrap().is_none());
            assert!(index.exact_candidates_until(&stop, queries, &options, 1).unwrap().is_none());
        }
        let state = index.snapshot();
        let search = Search::new(&state, &options).until(&stop);
        let (mut scratch, mut rotation) = (QueryScratch::default(), Vec::new());
        search.prepare(&vectors[..DIM], &mut scratch, &mut rotation);
        search.plan(&vectors[..DIM], &mut scratch, &mut ProbeOrder::default());
        search.scan(&mut scratch);
        assert_eq!(scratch.probed, 0);
    }
}
