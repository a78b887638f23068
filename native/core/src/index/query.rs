//! One query against one snapshot, step by step: its table, its way through the buckets, estimates of their
//! rows, scores of the best.

use std::cell::RefCell;
use std::ops::Range;

use super::calibration::{self, FARTHEST_STOP};
use super::candidates::{Candidate, Candidates};
use super::list::Run;
use super::options::{Estimate, SearchOptions};
use super::policy::{self, Effort};
use super::search::Answer;
use super::state::State;
use crate::attributes::to_bitset;
use crate::bitset::Bitset;
use crate::cells;
use crate::chunk::{Record, Rerank};
use crate::dot::{dot, dot_f16, dot_i8};
use crate::partition::Visits;
use crate::prefetch::prefetch;
use crate::rank::{Hit, keep_best_of_each_product, keep_top};
use crate::scan::{self, BLOCK, QueryTable, block_bytes};

/// A bucket on the way of a query.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The bucket, numbered over all tables.
    pub bucket: u32,
    /// Inner product of the query with its centre.
    base: f32,
    /// Rows to look at, or some more; the others come later in the bucket.
    rows: usize,
}

/// What a query carries along. Reusable.
#[derive(Default)]
pub struct Trip {
    /// `Pq`.
    rotated: Vec<f32>,
    table: QueryTable,
    effort: Effort,
    /// Buckets, nearest first.
    pub visits: Vec<Visit>,
    candidates: Candidates,
    /// Rows looked at on the present way, and on all ways.
    on_this_way: usize,
    scanned: usize,
}

/// Where a candidate lies.
pub struct Place<'a> {
    /// Inner product of the query with the centre of its bucket.
    base: f32,
    record: Record<'a>,
}

impl Place<'_> {
    fn hit(&self, score: f32) -> Hit {
        Hit { score, id: self.record.id(), product: self.record.product() }
    }
}

/// Buffers of one thread.
#[derive(Default)]
pub struct Worker {
    /// For [`Search::prepare`].
    pub rotation: Vec<f32>,
    /// For [`Search::plan`].
    pub order: Visits,
    /// One for each query of a batch.
    pub trips: Vec<Trip>,
}

/// Lends the buffers of this thread.
pub fn with_worker<T>(work: impl FnOnce(&mut Worker) -> T) -> T {
    thread_local! {
        static WORKER: RefCell<Worker> = RefCell::default();
    }
    WORKER.with_borrow_mut(work)
}

/// Blocks that are asked for piece by piece while others are read, so that memory is never idle.
#[derive(Default)]
pub struct Ahead<'a> {
    rest: &'a [u8],
}

impl<'a> Ahead<'a> {
    /// Goes on to the rows of another bucket.
    pub fn start(&mut self, search: &Search<'a>, bucket: u32) {
        for run in search.runs(bucket) {
            prefetch(self.rest);
            self.rest = run.chunk().blocks();
        }
    }

    fn step(&mut self, bytes: usize) {
        let (now, later) = self.rest.split_at(bytes.min(self.rest.len()));
        prefetch(now);
        self.rest = later;
    }
}

/// What all queries of one call have in common.
pub struct Search<'a> {
    state: &'a State,
    options: &'a SearchOptions,
    /// The items that the filter lets through, by ordinal.
    allowed: Option<Bitset>,
    /// Items that may be found.
    matches: usize,
    /// Rows that training means a bucket to have at most.
    cap: usize,
}

impl<'a> Search<'a> {
    /// Evaluates the filter.
    pub fn new(state: &'a State, options: &'a SearchOptions) -> Self {
        let allowed = options.filter.as_ref().map(|filter| {
            let ordinals = state.attributes.evaluate(filter);
            Bitset::from_words(to_bitset(&ordinals, state.ordinals as usize))
        });
        let matches = allowed.as_ref().map_or(state.live, Bitset::len);
        let cap = cells::cap(state.live, state.first_table().len());
        Self { state, options, allowed, matches, cap }
    }

    /// Vector dimension.
    pub fn dim(&self) -> usize {
        self.state.layout().dim
    }

    /// Whether every row that may be found is scored, rather than the best of the near buckets.
    pub fn is_exact(&self) -> bool {
        self.options.exact || self.allowed.is_some() && policy::few(self.matches)
    }

    /// Rotates the query and fills its table.
    pub fn prepare(&self, query: &[f32], trip: &mut Trip, rotation: &mut Vec<f32>) {
        let codebook = &self.state.codebook;
        trip.rotated.resize(codebook.rotation.width(), 0.0);
        codebook.rotation.apply(query, rotation, &mut trip.rotated);
        if !self.is_exact() {
            let rotated = &trip.rotated[..codebook.layout.bits];
            match self.options.estimate {
                Estimate::Asymmetric => trip.table.fill(rotated),
                Estimate::Hamming => trip.table.fill_signs(rotated),
            }
        }
        trip.effort = Effort::of(self.options, self.state, self.matches);
        trip.scanned = 0;
    }

    /// Chooses the buckets that the effort of the trip allows for.
    pub fn plan(&self, query: &[f32], trip: &mut Trip, order: &mut Visits) {
        let Trip { effort, visits, candidates, on_this_way, .. } = trip;
        let codebook = &*self.state.codebook;
        candidates.start(effort.rerank);
        visits.clear();
        *on_this_way = 0;
        let Some(partition) = &codebook.partition else {
            visits.push(Visit { bucket: 0, base: dot(query, &codebook.mean), rows: usize::MAX });
            return;
        };
        partition.start(query, &codebook.mean, effort.buckets, order);
        let mut left = effort.rows;
        while visits.len() < effort.probes && left > 0 {
            let Some((bucket, base)) = partition.next(query, order) else { break };
            let rows = self.rows_worth(bucket, left);
            // The last bucket should not go far beyond what was asked for.
            if !visits.is_empty() && rows > left {
                break;
            }
            left = left.saturating_sub(rows);
            visits.push(Visit { bucket, base, rows });
        }
    }

    /// Rows to look at in a bucket when `left` are left to look at in all.
    ///
    /// What passes a filter may lie anywhere in a bucket, however large.
    fn rows_worth(&self, bucket: u32, left: usize) -> usize {
        let state = self.state;
        let rows = state.lists[bucket as usize].rows();
        if self.allowed.is_some() {
            return rows;
        }
        let only_copies = || state.codebook.takes_only_copies(bucket);
        policy::rows_worth(rows, left, self.cap, only_copies)
    }

    fn runs(&self, bucket: u32) -> impl Iterator<Item = &'a Run> + use<'a> {
        self.state.lists[bucket as usize].runs()
    }

    /// Scans the buckets of the trip, nearest first.
    pub fn scan(&self, trip: &mut Trip) {
        for stage in 0..STAGES {
            let mut ahead = Ahead::default();
            let visits = self.stage(trip, stage);
            trip.visits[visits.clone()].iter().take(AHEAD).for_each(|visit| ahead.start(self, visit.bucket));
            for at in visits.clone() {
                if let Some(visit) = trip.visits[..visits.end].get(at + AHEAD) {
                    ahead.start(self, visit.bucket);
                }
                self.visit(trip, at, &mut ahead);
            }
        }
    }

    /// The visits of one of the [`STAGES`] of a trip: those that are left out by then can hardly find anything
    /// better than the `k` best so far.
    pub fn stage(&self, trip: &Trip, stage: usize) -> Range<usize> {
        let all = trip.visits.len();
        let bounds = [0, all.div_ceil(8), all.div_ceil(2), all];
        let (start, end) = (bounds[stage], bounds[stage + 1]);
        let slack = self.state.calibration.slack;
        // Who chose the buckets, or more effort than was looked at, wants them all.
        let free = self.options.probes.is_none() && self.options.effort.is_none_or(|e| e <= FARTHEST_STOP);
        let measured = slack.is_finite() && self.options.estimate == Estimate::Asymmetric;
        let stops = stage > 0 && measured && free && !self.options.group;
        let wanted = self.options.k.max(calibration::RESULTS);
        let Some(found) = stops.then(|| trip.candidates.kth_best(wanted)).flatten() else {
            return start..end;
        };
        let near = |visit: &Visit| visit.base + slack >= found;
        start..start + trip.visits[start..end].iter().position(|visit| !near(visit)).unwrap_or(end - start)
    }

    /// Estimates the rows of bucket number `at` of the trip and keeps the best as candidates.
    pub fn visit(&self, trip: &mut Trip, at: usize, ahead: &mut Ahead) {
        let Trip { table, visits, candidates, on_this_way, scanned, .. } = trip;
        let Visit { bucket, base, rows: mut most } = visits[at];
        let block_size = block_bytes(self.state.layout().bits);
        let (mut estimates, mut above) = ([[0.0; BLOCK]; PIECE], [0; PIECE]);
        for (part, run) in self.runs(bucket).enumerate() {
            let rows = run.chunk().len().min(most);
            most -= rows;
            *on_this_way += rows;
            *scanned += rows;
            let run_number = (2 * at + part) as u32;
            let blocks = &run.chunk().blocks()[..rows.div_ceil(BLOCK) * block_size];
            // In pieces, so that the threshold rises within a long run.
            for (piece, blocks) in blocks.chunks(PIECE * block_size).enumerate() {
                ahead.step(blocks.len());
                let count = blocks.len() / block_size;
                let (estimates, above) = (&mut estimates[..count], &mut above[..count]);
                scan::estimate(table, blocks, base, candidates.threshold(), estimates, above);
                for (block, (estimates, above)) in estimates.iter().zip(above).enumerate() {
                    let block = piece * PIECE + block;
                    if let Some(dead) = run.dead() {
                        *above &= !dead[block];
                    }
                    while *above != 0 {
                        let lane = above.trailing_zeros() as usize;
                        *above &= *above - 1;
                        let (estimate, row) = (estimates[lane], block * BLOCK + lane);
                        if estimate > candidates.threshold() && self.lets_through(run, row) {
                            candidates.offer(Candidate { estimate, run: run_number, row: row as u32 });
                        }
                    }
                }
            }
        }
    }

    fn lets_through(&self, run: &Run, row: usize) -> bool {
        let ordinal = || run.chunk().view(self.state.layout()).ordinals[row];
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(ordinal()))
    }

    /// Finds where the candidates of a trip lie and asks for their vectors.
    pub fn reach(&self, trip: &mut Trip) -> Vec<Place<'a>> {
        let layout = self.state.layout();
        let Trip { visits, candidates, .. } = trip;
        let places = candidates.best().iter().map(|candidate| {
            let Visit { bucket, base, .. } = visits[candidate.run as usize / 2];
            let run = self.runs(bucket).nth(candidate.run as usize % 2).expect("a run that was visited");
            let record = run.chunk().view(layout).record(layout, candidate.row as usize);
            prefetch(record.bytes());
            Place { base, record }
        });
        places.collect()
    }

    /// Scores the candidates of a trip; none if too few were found and a further way should be taken.
    pub fn conclude(&self, query: &[f32], trip: &Trip, places: &[Place]) -> Option<Answer> {
        let hits = self.rerank(query, trip, places);
        let enough = hits.len() == self.options.k.min(self.matches);
        let cut = places.len() == trip.effort.rerank;
        // Everything was scanned, or just what was asked for.
        let at_end = || self.options.probes.is_some() || trip.on_this_way >= self.state.rows();
        (enough || !cut && at_end()).then_some(Answer { hits, scanned: trip.scanned as u64 })
    }

    /// Takes a way four times as far; false where scoring every row is no further.
    pub fn go_further(&self, trip: &mut Trip) -> bool {
        trip.effort = trip.effort.further();
        trip.effort.rows < self.state.live || self.options.probes.is_some()
    }

    fn rerank(&self, query: &[f32], trip: &Trip, places: &[Place]) -> Vec<Hit> {
        let score = |place: &Place| self.score(query, trip, place);
        let mut scored: Vec<(f32, &Place)> = places.iter().map(|place| (score(place), place)).collect();
        let several_tables = self.state.codebook.tables() > 1;
        let k = self.options.k;
        if !self.options.group && !several_tables && scored.len() > k {
            let enough = scored.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0)).1.0;
            scored.retain(|(score, _)| *score >= enough);
        }
        let mut hits: Vec<Hit> = scored.into_iter().map(|(score, place)| place.hit(score)).collect();
        if several_tables {
            hits.sort_unstable_by_key(|hit| hit.id);
            hits.dedup_by_key(|hit| hit.id);
        }
        self.order(&mut hits);
        hits
    }

    fn score(&self, query: &[f32], trip: &Trip, place: &Place) -> f32 {
        let layout = self.state.layout();
        let vector = place.record.vector();
        match layout.rerank {
            Rerank::Int8 => {
                let eighths = bytemuck::cast_slice(vector);
                place.base + place.record.scale() * dot_i8(&trip.rotated[..layout.dim], eighths)
            }
            Rerank::F16 => dot_f16(query, bytemuck::cast_slice(vector)),
            Rerank::F32 => dot(query, bytemuck::cast_slice(vector)),
        }
    }

    /// Scores every row that may be found.
    pub fn exact(&self, query: &[f32], trip: &Trip) -> Answer {
        let state = self.state;
        let mut hits = Vec::with_capacity(self.matches);
        for (bucket, list) in state.first_table().iter().enumerate() {
            let base = dot(query, state.codebook.centre(bucket as u32));
            for run in list.runs() {
                let view = run.chunk().view(state.layout());
                let found = run.live_rows().filter(|row| self.lets_through(run, *row));
                hits.extend(found.map(|row| {
                    let place = Place { base, record: view.record(state.layout(), row) };
                    place.hit(self.score(query, trip, &place))
                }));
            }
        }
        let scanned = hits.len() as u64;
        self.order(&mut hits);
        // Thousands of queries would else keep the room of all rows each until the last is answered.
        hits.shrink_to_fit();
        Answer { hits, scanned }
    }

    fn order(&self, hits: &mut Vec<Hit>) {
        if self.options.group {
            keep_best_of_each_product(hits);
        }
        keep_top(hits, self.options.k);
    }
}

/// Buckets whose codes are asked for before their turn.
pub const AHEAD: usize = 2;
/// Parts of a trip between looks at what was found.
pub const STAGES: usize = 3;
/// Blocks estimated at a time.
const PIECE: usize = 2;
