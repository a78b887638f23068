//! One query: the buckets in order, estimates of their rows, scores of the best.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::candidates::{Candidate, Candidates};
use super::clock::{Clock, StageSeconds};
use super::list::List;
use super::policy::{self, Effort};
use super::state::State;
use crate::attributes::to_bitset;
use crate::bitset::Bitset;
use crate::cells;
use crate::chunk::{Rerank, View};
use crate::dot::{dot, dot_f16, dot_i8};
use crate::error::{Result, invalid};
use crate::filter::Filter;
use crate::input::NO_ID;
use crate::partition::Visits;
use crate::prefetch::prefetch;
use crate::rank::{Hit, keep_best_of_each_product, keep_top};
use crate::scan::{self, BLOCK, QueryTable, block_bytes};
use crate::threads;

/// What one search asks for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Results per query, at least 1.
    pub k: usize,
    /// Buckets to visit; `None`: until the automatic number of rows is reached.
    pub probes: Option<usize>,
    /// Candidates whose score is computed; `None`: automatic.
    pub rerank: Option<usize>,
    /// Whether to return the best item of each of the k best products.
    pub group: bool,
    /// Whether to score every stored vector instead of hashing.
    pub exact: bool,
    /// How much work to do where `probes` or `rerank` do not say, 0 to 1; `None`: 0.5.
    pub effort: Option<f32>,
    /// Which items may be found; `None`: all.
    pub filter: Option<Filter>,
}

impl SearchOptions {
    /// Checks the ranges.
    pub fn check(&self) -> Result<()> {
        if self.k == 0 {
            return invalid("k must be at least 1, not 0");
        }
        if self.probes == Some(0) {
            return invalid("probes must be at least 1, not 0");
        }
        if self.effort.is_some_and(|effort| !(0.0..=1.0).contains(&effort)) {
            return invalid(format!("effort must be 0 to 1, not {}", self.effort.unwrap_or_default()));
        }
        match self.rerank {
            Some(depth) if depth < self.k => {
                invalid(format!("rerank must be at least k ({}), not {depth}", self.k))
            }
            _ => Ok(()),
        }
    }
}

/// Results in rows of `k`, padded with [`NO_ID`] and negative infinity.
#[derive(Clone, Debug, Default)]
pub struct SearchOutput {
    /// Item ids, laid out (query, k).
    pub ids: Vec<u64>,
    /// Products of the items, laid out (query, k).
    pub products: Vec<u64>,
    /// Cosines, laid out (query, k).
    pub scores: Vec<f32>,
    /// Rows each query was compared with.
    pub codes_scanned: Vec<u64>,
    /// Time per stage over all queries.
    pub seconds: StageSeconds,
}

struct Answer {
    hits: Vec<Hit>,
    scanned: u64,
    seconds: StageSeconds,
}

/// Buffers of one worker.
#[derive(Default)]
struct Scratch {
    rotation: Vec<f32>,
    /// `Pq`.
    rotated: Vec<f32>,
    table: QueryTable,
    visits: Visits,
    candidates: Candidates,
    estimates: Vec<[f32; BLOCK]>,
    above: Vec<u32>,
}

/// A run of rows that a query has looked at.
struct Visited<'a> {
    view: View<'a>,
    /// `<q,c>`.
    base: f32,
}

/// Answers unit-length `queries` from one snapshot.
pub fn search(
    state: &State,
    queries: &[f32],
    options: &SearchOptions,
    threads: usize,
) -> Result<SearchOutput> {
    let dim = state.layout().dim;
    let allowed = options.filter.as_ref().map(|filter| Allowed::new(state, filter));
    let allowed = allowed.as_ref();
    let one =
        |scratch: &mut Scratch, query: &[f32]| Search { state, query, options, allowed }.answer(scratch);
    let answers: Vec<Answer> = if threads == 1 || queries.len() <= dim {
        let mut scratch = Scratch::default();
        queries.chunks_exact(dim).map(|query| one(&mut scratch, query)).collect()
    } else {
        threads::pool(threads)?
            .install(|| queries.par_chunks_exact(dim).map_init(Scratch::default, one).collect())
    };
    let mut out = SearchOutput::default();
    for answer in answers {
        let padding = options.k - answer.hits.len();
        out.ids.extend(answer.hits.iter().map(|hit| hit.id));
        out.ids.extend(std::iter::repeat_n(NO_ID, padding));
        out.products.extend(answer.hits.iter().map(|hit| hit.product));
        out.products.extend(std::iter::repeat_n(NO_ID, padding));
        out.scores.extend(answer.hits.iter().map(|hit| hit.score));
        out.scores.extend(std::iter::repeat_n(f32::NEG_INFINITY, padding));
        out.codes_scanned.push(answer.scanned);
        out.seconds.add(answer.seconds);
    }
    Ok(out)
}

/// The items that a filter lets through, by ordinal.
struct Allowed(Bitset);

impl Allowed {
    fn new(state: &State, filter: &Filter) -> Self {
        let ordinals = state.attributes.evaluate(filter);
        Self(Bitset::from_words(to_bitset(&ordinals, state.ordinals as usize)))
    }
}

/// One query against one snapshot.
struct Search<'a> {
    state: &'a State,
    query: &'a [f32],
    options: &'a SearchOptions,
    allowed: Option<&'a Allowed>,
}

impl<'a> Search<'a> {
    fn answer(&self, scratch: &mut Scratch) -> Answer {
        let mut seconds = StageSeconds::default();
        let mut clock = Clock::start();
        let codebook = &self.state.codebook;
        scratch.rotated.resize(codebook.rotation.width(), 0.0);
        codebook.rotation.apply(self.query, &mut scratch.rotation, &mut scratch.rotated);
        let matches = self.allowed.map_or(self.state.live, |allowed| allowed.0.len());
        if self.options.exact || self.allowed.is_some() && policy::few(matches) {
            return self.exact(scratch, seconds, clock);
        }
        scratch.table.fill(&scratch.rotated[..codebook.layout.bits]);
        seconds.hash = clock.lap();
        let mut effort = Effort::of(self.options, self.state, matches);
        loop {
            let (runs, scanned) = self.scan(effort, scratch, &mut seconds, &mut clock);
            let (hits, cut) = self.rerank(&runs, effort, scratch);
            seconds.rerank += clock.lap();
            let all = scanned >= self.state.lists.iter().map(List::rows).sum();
            if hits.len() == self.options.k.min(matches) || !cut && (all || self.options.probes.is_some()) {
                return Answer { hits, scanned: scanned as u64, seconds };
            }
            // A few products own the near buckets, or most rows there are gone: look further.
            effort = effort.further();
            if effort.rows >= self.state.live && self.options.probes.is_none() {
                return self.exact(scratch, seconds, clock);
            }
        }
    }

    /// Scores every row.
    fn exact(&self, scratch: &Scratch, mut seconds: StageSeconds, mut clock: Clock) -> Answer {
        let state = self.state;
        let mut hits = Vec::with_capacity(state.live);
        for (bucket, list) in state.first_table().iter().enumerate() {
            let base = dot(self.query, state.codebook.centre(bucket as u32));
            for stored in list.runs() {
                let run = Visited { view: stored.chunk().view(state.layout()), base };
                let found = stored.live_rows().filter(|at| self.lets_through(&run.view, *at));
                hits.extend(found.map(|at| Hit {
                    score: self.score(&run, at, scratch),
                    id: run.view.ids[at],
                    product: run.view.products[at],
                }));
            }
        }
        let scanned = hits.len() as u64;
        self.finish(&mut hits);
        // Thousands of queries would else keep the room of all rows each until the last is answered.
        hits.shrink_to_fit();
        seconds.rerank += clock.lap();
        Answer { hits, scanned, seconds }
    }

    fn lets_through(&self, view: &View, row: usize) -> bool {
        self.allowed.is_none_or(|allowed| allowed.0.contains(view.ordinals[row]))
    }

    /// Visits buckets until `effort` is spent; fills `scratch.candidates`.
    fn scan(
        &self,
        effort: Effort,
        scratch: &mut Scratch,
        seconds: &mut StageSeconds,
        clock: &mut Clock,
    ) -> (Vec<Visited<'a>>, usize) {
        let state = self.state;
        let codebook = &*state.codebook;
        scratch.candidates.start(effort.rerank);
        let mut runs = Vec::with_capacity(64);
        let mut scanned = 0;
        let Some(partition) = &codebook.partition else {
            self.visit(0, usize::MAX, dot(self.query, &codebook.mean), &mut runs, &mut scanned, scratch);
            seconds.scan += clock.lap();
            return (runs, scanned);
        };
        partition.start(self.query, &codebook.mean, effort.buckets, &mut scratch.visits);
        seconds.probe += clock.lap();
        let next = |visits: &mut Visits| {
            let (bucket, base) = partition.next(self.query, visits)?;
            let runs = state.lists[bucket as usize].runs();
            runs.for_each(|run| prefetch(run.chunk().view(state.layout()).blocks));
            Some((bucket, base))
        };
        let mut ahead: VecDeque<(u32, f32)> = VecDeque::with_capacity(AHEAD + 1);
        let mut visited = 0;
        while visited < effort.probes && scanned < effort.rows {
            while ahead.len() <= AHEAD.min(effort.probes - visited - 1) {
                let Some(bucket) = next(&mut scratch.visits) else { break };
                ahead.push_back(bucket);
            }
            let Some((bucket, base)) = ahead.pop_front() else { break };
            let rows = self.rows_worth(bucket, effort.rows - scanned);
            // The last bucket should not go far beyond what was asked for.
            if scanned > 0 && rows > effort.rows - scanned {
                break;
            }
            self.visit(bucket, rows, base, &mut runs, &mut scanned, scratch);
            visited += 1;
        }
        seconds.scan += clock.lap();
        (runs, scanned)
    }

    /// Rows to look at in a bucket when `left` are left to look at in all.
    ///
    /// What passes a filter may lie anywhere in a bucket, however large.
    fn rows_worth(&self, bucket: u32, left: usize) -> usize {
        let state = self.state;
        let rows = state.lists[bucket as usize].rows();
        let most = match self.allowed {
            Some(_) => usize::MAX,
            None => cells::cap(state.live, state.first_table().len()),
        };
        policy::rows_worth(rows, left, most, state.codebook.takes_only_copies(bucket))
    }

    /// Estimates the first `most` rows of one bucket, or some more, and offers the best as candidates.
    fn visit(
        &self,
        bucket: u32,
        mut most: usize,
        base: f32,
        runs: &mut Vec<Visited<'a>>,
        scanned: &mut usize,
        scratch: &mut Scratch,
    ) {
        let state = self.state;
        let layout = state.layout();
        let Scratch { table, candidates, estimates, above, .. } = scratch;
        for stored in state.lists[bucket as usize].runs() {
            let view = stored.chunk().view(layout);
            let rows = view.ids.len().min(most);
            most -= rows;
            *scanned += rows;
            let run = runs.len() as u32;
            runs.push(Visited { view, base });
            let blocks = &view.blocks[..rows.div_ceil(BLOCK) * block_bytes(layout.bits)];
            // In pieces, so that the threshold rises within a long run.
            for (piece, blocks) in blocks.chunks(PIECE * block_bytes(layout.bits)).enumerate() {
                let count = blocks.len() / block_bytes(layout.bits);
                estimates.resize(count.max(estimates.len()), [0.0; BLOCK]);
                above.resize(count.max(above.len()), 0);
                let (estimates, above) = (&mut estimates[..count], &mut above[..count]);
                scan::estimate(table, blocks, base, candidates.threshold(), estimates, above);
                for (block, (estimates, above)) in estimates.iter().zip(above).enumerate() {
                    let block = piece * PIECE + block;
                    if let Some(dead) = stored.dead() {
                        *above &= !dead[block];
                    }
                    while *above != 0 {
                        let lane = above.trailing_zeros() as usize;
                        *above &= *above - 1;
                        let row = block * BLOCK + lane;
                        if estimates[lane] > candidates.threshold() && self.lets_through(&view, row) {
                            let row = row as u32;
                            candidates.offer(Candidate { estimate: estimates[lane], run, row });
                        }
                    }
                }
            }
        }
    }

    /// The hits among the best candidates, and whether there were more candidates than were scored.
    fn rerank(&self, runs: &[Visited], effort: Effort, scratch: &mut Scratch) -> (Vec<Hit>, bool) {
        let layout = self.state.layout();
        let mut candidates = std::mem::take(&mut scratch.candidates);
        let best = candidates.sorted();
        for candidate in best.iter() {
            prefetch(runs[candidate.run as usize].view.vector(layout, candidate.row as usize));
        }
        for candidate in best.iter_mut() {
            candidate.estimate = self.score(&runs[candidate.run as usize], candidate.row as usize, scratch);
        }
        let cut = best.len() == effort.rerank;
        let several_tables = self.state.codebook.tables() > 1;
        let k = self.options.k;
        let mut enough = f32::NEG_INFINITY;
        if !self.options.group && !several_tables && best.len() > k {
            // Ids are far from the vectors: only those of the results are worth the way.
            let by_score = |a: &Candidate, b: &Candidate| b.estimate.total_cmp(&a.estimate);
            enough = best.select_nth_unstable_by(k - 1, by_score).1.estimate;
        }
        let good = best.iter().filter(|candidate| candidate.estimate >= enough);
        let mut hits: Vec<Hit> = good
            .map(|Candidate { estimate, run, row }| {
                let view = &runs[*run as usize].view;
                Hit { score: *estimate, id: view.ids[*row as usize], product: view.products[*row as usize] }
            })
            .collect();
        scratch.candidates = candidates;
        if several_tables {
            hits.sort_unstable_by_key(|hit| hit.id);
            hits.dedup_by_key(|hit| hit.id);
        }
        self.finish(&mut hits);
        (hits, cut)
    }

    fn score(&self, run: &Visited, at: usize, scratch: &Scratch) -> f32 {
        let layout = self.state.layout();
        let vector = run.view.vector(layout, at);
        match layout.rerank {
            Rerank::Int8 => {
                let eighths = bytemuck::cast_slice(vector);
                run.base + run.view.scales[at] * dot_i8(&scratch.rotated[..layout.dim], eighths)
            }
            Rerank::F16 => dot_f16(self.query, bytemuck::cast_slice(vector)),
            Rerank::F32 => dot(self.query, bytemuck::cast_slice(vector)),
        }
    }

    fn finish(&self, hits: &mut Vec<Hit>) {
        if self.options.group {
            keep_best_of_each_product(hits);
        }
        keep_top(hits, self.options.k);
    }
}

/// Buckets whose codes are fetched before their turn.
const AHEAD: usize = 2;
/// Blocks estimated at a time.
const PIECE: usize = 16;
