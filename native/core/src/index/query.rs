//! One query against one snapshot, step by step: its table, the buckets to probe, estimates of their rows. The
//! scores of the best follow in `rerank`.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

use roaring::RoaringBitmap;

use super::bucket::Run;
use super::calibration::{self, FARTHEST_STOP};
use super::candidates::{Candidate, Candidates};
use super::effort::{self, Effort};
use super::filtered::{self, MatchingRow};
use super::options::{Estimate, SearchOptions};
use super::read_ahead::{AHEAD, ReadAhead};
use super::state::State;
use crate::attributes::to_words;
use crate::bitset::Bitset;
use crate::cells;
use crate::kernels::dot::dot;
use crate::kernels::scan::{self, BLOCK, QueryTable, block_bytes};
use crate::partition::{Partition, ProbeOrder};
use crate::threads::Stop;

/// A bucket that a query looks at.
#[derive(Clone, Copy, Debug)]
pub struct BucketProbe {
    /// The bucket, numbered over all tables.
    pub bucket: u32,
    /// Inner product of the query with its centre.
    pub base: f32,
    /// Rows to look at, or some more; the others come later in the bucket.
    rows: usize,
}

/// What one query has computed and found so far. Reusable.
#[derive(Default)]
pub struct QueryScratch {
    /// `Pq`.
    pub rotated: Vec<f32>,
    table: QueryTable,
    pub effort: Effort,
    /// Buckets, nearest first.
    pub probes: Vec<BucketProbe>,
    pub candidates: Candidates,
    /// Rows looked at with the current effort, and in all.
    pub scanned_now: usize,
    pub scanned: usize,
    /// Buckets looked into, and rows scored with their kept vectors, in all.
    pub probed: usize,
    pub reranked: usize,
}

/// Buffers of one thread.
#[derive(Default)]
pub struct Worker {
    /// For [`Search::prepare`].
    pub rotation: Vec<f32>,
    /// For [`Search::plan`].
    pub order: ProbeOrder,
    /// One for each query of a batch.
    pub scratches: Vec<QueryScratch>,
}

/// Lends the buffers of this thread.
pub fn with_worker<T>(work: impl FnOnce(&mut Worker) -> T) -> T {
    thread_local! {
        static WORKER: RefCell<Worker> = RefCell::default();
    }
    WORKER.with_borrow_mut(work)
}

/// What all queries of one call have in common.
pub struct Search<'a> {
    pub state: &'a State,
    pub options: &'a SearchOptions,
    /// The items that the filter lets through, by ordinal.
    pub allowed: Option<Bitset>,
    /// Their rows, where all of them are scored.
    pub matching: OnceLock<Vec<MatchingRow<'a>>>,
    pub passing: RoaringBitmap,
    exact: bool,
    /// Items that pass the filter.
    pub matches: usize,
    /// Ids of items that are not to be found, ascending.
    excluded: Vec<u64>,
    /// Rows that training means a bucket to have at most.
    cap: usize,
    /// Asks it to end without a result.
    stop: Option<&'a Stop>,
}

impl<'a> Search<'a> {
    /// Evaluates the filter.
    pub fn new(state: &'a State, options: &'a SearchOptions) -> Self {
        let filter = options.filter.as_ref().map(|filter| state.attributes.evaluate(filter));
        let allowed =
            filter.as_ref().map(|ordinals| Bitset::from_words(to_words(ordinals, state.ordinals as usize)));
        let matches = allowed.as_ref().map_or(state.live, Bitset::len);
        let exact = match &allowed {
            None => options.exact,
            Some(_) => filtered::scores_all(options, state, matches),
        };
        let cap = cells::cap(state.live, state.first_table().len());
        let (matching, passing) = (OnceLock::new(), filter.unwrap_or_default());
        let mut excluded = options.exclude.clone();
        excluded.sort_unstable();
        excluded.dedup();
        Self { state, options, allowed, matching, passing, exact, matches, excluded, cap, stop: None }
    }

    /// The same, which ends without a result soon after `stop` is set.
    pub fn until(self, stop: &'a Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Whether nobody waits for the result any more.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some_and(Stop::is_set)
    }

    /// Whether any item is excluded.
    pub fn excludes(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// Whether the item with this id is excluded.
    pub fn is_excluded(&self, id: u64) -> bool {
        self.excluded.binary_search(&id).is_ok()
    }

    /// Most candidates that may turn out to be excluded.
    fn spare(&self) -> usize {
        self.excluded.len() * self.state.codebook.tables()
    }

    /// Vector dimension.
    pub fn dim(&self) -> usize {
        self.state.layout().dim
    }

    /// Whether every row that may be found is scored, rather than the best of the near buckets.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Rotates the query and fills its table.
    pub fn prepare(&self, query: &[f32], scratch: &mut QueryScratch, rotation: &mut Vec<f32>) {
        let codebook = &self.state.codebook;
        scratch.rotated.resize(codebook.rotation.width(), 0.0);
        codebook.rotation.apply(query, rotation, &mut scratch.rotated);
        if !self.is_exact() {
            let rotated = &scratch.rotated[..codebook.layout.bits];
            match self.options.estimate {
                Estimate::Asymmetric => scratch.table.fill(rotated),
                Estimate::Hamming => scratch.table.fill_signs(rotated),
            }
        }
        scratch.effort = Effort::of(self.options, self.state, self.matches);
        (scratch.scanned, scratch.probed, scratch.reranked) = (0, 0, 0);
    }

    /// Chooses the buckets that the effort of the query allows for.
    pub fn plan(&self, query: &[f32], scratch: &mut QueryScratch, order: &mut ProbeOrder) {
        let QueryScratch { effort, probes, candidates, scanned_now, .. } = scratch;
        let codebook = &*self.state.codebook;
        candidates.start(effort.rerank.saturating_add(self.spare()));
        probes.clear();
        *scanned_now = 0;
        let Some(partition) = &codebook.partition else {
            probes.push(BucketProbe { bucket: 0, base: dot(query, &codebook.mean), rows: usize::MAX });
            return;
        };
        if self.takes_all(effort) {
            let base = dot(query, &codebook.mean);
            let all = (0..).zip(self.state.first_table()).map(|(number, bucket)| (number, bucket.rows()));
            let used = all.filter(|(_, rows)| *rows > 0);
            probes.extend(used.map(|(bucket, rows)| BucketProbe { bucket, base, rows }));
            return;
        }
        partition.start(query, &codebook.mean, effort.buckets, order);
        let mut left = effort.rows;
        while probes.len() < effort.probes && left > 0 {
            let Some((bucket, base)) = partition.next(query, order) else { break };
            let rows = self.rows_worth(bucket, left);
            // The last bucket should not go far beyond what was asked for.
            if !probes.is_empty() && rows > left {
                break;
            }
            left = left.saturating_sub(rows);
            probes.push(BucketProbe { bucket, base, rows });
        }
    }

    /// Whether an effort is for all rows of buckets with one centre. Every item lies in the first table, and an order
    /// of so many buckets would take longer than the rows.
    pub fn takes_all(&self, effort: &Effort) -> bool {
        let cells = matches!(self.state.codebook.partition, Some(Partition::Learned(_)));
        effort.rows == usize::MAX && effort.probes == usize::MAX && !cells
    }

    /// Rows to look at in a bucket when `left` are left to look at in all.
    ///
    /// What passes a filter may lie anywhere in a bucket, however large.
    fn rows_worth(&self, bucket: u32, left: usize) -> usize {
        let state = self.state;
        let rows = state.buckets[bucket as usize].rows();
        if self.allowed.is_some() {
            return rows;
        }
        let only_copies = || state.codebook.takes_only_copies(bucket);
        effort::rows_worth(rows, left, self.cap, only_copies)
    }

    /// The runs of a bucket.
    pub fn runs(&self, bucket: u32) -> impl Iterator<Item = &'a Run> + use<'a> {
        self.state.buckets[bucket as usize].runs()
    }

    /// Scans the buckets of the query, nearest first.
    pub fn scan(&self, scratch: &mut QueryScratch) {
        for stage in 0..STAGES {
            let mut ahead = ReadAhead::default();
            let probes = self.stage(scratch, stage);
            scratch.probes[probes.clone()]
                .iter()
                .take(AHEAD)
                .for_each(|probe| ahead.start(self.runs(probe.bucket)));
            for at in probes.clone() {
                if self.is_stopped() {
                    return;
                }
                if let Some(probe) = scratch.probes[..probes.end].get(at + AHEAD) {
                    ahead.start(self.runs(probe.bucket));
                }
                self.scan_bucket(scratch, at, &mut ahead);
            }
        }
    }

    /// The buckets of one of the [`STAGES`] of a query: those that are left out by then can hardly find anything
    /// better than the `k` best so far.
    pub fn stage(&self, scratch: &QueryScratch, stage: usize) -> Range<usize> {
        let all = scratch.probes.len();
        let bounds = [0, all.div_ceil(8), all.div_ceil(2), all];
        let (start, end) = (bounds[stage], bounds[stage + 1]);
        let slack = self.state.calibration.slack;
        // Who chose the buckets, or more effort than was looked at, wants them all.
        let free = self.options.probes.is_none() && self.options.effort.is_none_or(|e| e <= FARTHEST_STOP);
        let measured = slack.is_finite() && self.options.estimate == Estimate::Asymmetric;
        let stops = stage > 0 && measured && free && !self.options.group;
        let wanted = self.options.k.max(calibration::RESULTS) + self.spare();
        let Some(found) = stops.then(|| scratch.candidates.kth_best(wanted)).flatten() else {
            return start..end;
        };
        let near = |probe: &BucketProbe| probe.base + slack >= found;
        start..start + scratch.probes[start..end].iter().position(|probe| !near(probe)).unwrap_or(end - start)
    }

    /// Estimates the rows of the query's bucket number `at` and keeps the best as candidates.
    pub fn scan_bucket(&self, scratch: &mut QueryScratch, at: usize, ahead: &mut ReadAhead) {
        let QueryScratch { table, probes, candidates, scanned_now, scanned, probed, .. } = scratch;
        *probed += 1;
        let BucketProbe { bucket, base, rows: mut most } = probes[at];
        let block_size = block_bytes(self.state.layout().bits);
        let (mut estimates, mut above) = ([[0.0; BLOCK]; PIECE], [0; PIECE]);
        for (part, run) in self.runs(bucket).enumerate() {
            let rows = run.chunk().len().min(most);
            most -= rows;
            *scanned_now += rows;
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

    /// Multiplies the effort by four; false where scoring every row is no more work.
    pub fn widen(&self, scratch: &mut QueryScratch) -> bool {
        scratch.effort = scratch.effort.further();
        scratch.effort.rows < self.state.live || self.options.probes.is_some()
    }
}

/// Parts of a query's buckets between looks at what was found.
pub const STAGES: usize = 3;
/// Blocks estimated at a time.
const PIECE: usize = 2;
