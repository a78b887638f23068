//! Queries answered together: a bucket that many of them probe is read from memory once.
//!
//! The answers are those of the same queries alone: the order of the probes decides nothing but ties, which
//! are broken by the place of a bucket in the query's own order.

use super::clock::{Clock, StageSeconds};
use super::query::{QueryScratch, STAGES, Search, Worker};
use super::read_ahead::{AHEAD, ReadAhead};
use super::rerank::Answer;
use crate::partition::ProbeOrder;

/// Most queries answered together: their tables should stay within the cache.
pub const MOST: usize = 1_024;
/// Fewer queries hardly ever meet in a bucket.
const FEWEST: usize = 16;

/// Answers up to [`MOST`] unit-length queries.
pub fn answer(search: &Search, queries: &[f32], worker: &mut Worker) -> (Vec<Answer>, StageSeconds) {
    let queries: Vec<&[f32]> = queries.chunks_exact(search.dim()).collect();
    let mut seconds = StageSeconds::default();
    let together = if queries.len() < FEWEST || search.is_exact() { 1 } else { queries.len() };
    if worker.scratches.len() < together {
        worker.scratches.resize_with(together, QueryScratch::default);
    }
    let answers =
        queries.chunks(together).flat_map(|queries| answer_together(search, queries, worker, &mut seconds));
    let answers = answers.collect();
    // Otherwise the buffers of a large batch would stay with this thread for ever.
    worker.scratches.truncate(1);
    worker.scratches.shrink_to_fit();
    (answers, seconds)
}

/// Takes all queries through one stage after another; they probe in the order of the buckets.
fn answer_together(
    search: &Search,
    queries: &[&[f32]],
    Worker { rotation, order, scratches }: &mut Worker,
    seconds: &mut StageSeconds,
) -> Vec<Answer> {
    let mut clock = Clock::start();
    let scratches = &mut scratches[..queries.len()];
    for (query, scratch) in queries.iter().zip(&mut *scratches) {
        search.prepare(query, scratch, rotation);
    }
    seconds.hash += clock.lap();
    if search.is_exact() {
        let answers =
            queries.iter().zip(&*scratches).map(|(query, scratch)| search.exact(query, scratch)).collect();
        seconds.rerank += clock.lap();
        return answers;
    }
    for (query, scratch) in queries.iter().zip(&mut *scratches) {
        search.plan(query, scratch, order);
    }
    seconds.probe += clock.lap();
    match &mut *scratches {
        [scratch] => search.scan(scratch),
        scratches => scan(search, scratches),
    }
    seconds.scan += clock.lap();
    if search.is_stopped() {
        return queries.iter().map(|_| Answer::default()).collect();
    }
    let mut answers = Vec::with_capacity(queries.len());
    let mut next = scratches.first_mut().map(|scratch| search.locate(scratch));
    for at in 0..queries.len() {
        // While the vectors of the next query are on their way, those of this one are scored.
        let rows =
            std::mem::replace(&mut next, scratches.get_mut(at + 1).map(|scratch| search.locate(scratch)));
        let found = search.conclude(queries[at], &mut scratches[at], &rows.unwrap_or_default());
        answers.push(found.unwrap_or_else(|| widen(search, queries[at], &mut scratches[at], order)));
    }
    seconds.rerank += clock.lap();
    answers
}

/// A few products own the near buckets, or most rows there are gone: probes more until enough is found.
fn widen(search: &Search, query: &[f32], scratch: &mut QueryScratch, order: &mut ProbeOrder) -> Answer {
    while !search.is_stopped() && search.widen(scratch) {
        search.plan(query, scratch, order);
        search.scan(scratch);
        let rows = search.locate(scratch);
        if let Some(answer) = search.conclude(query, scratch, &rows) {
            return answer;
        }
    }
    search.exact(query, scratch)
}

/// Scans the buckets of all queries, stage by stage, and within a stage in the order of the buckets.
fn scan(search: &Search, scratches: &mut [QueryScratch]) {
    for stage in 0..STAGES {
        let mut probes: Vec<(u32, u32, u32)> = Vec::new();
        for (number, scratch) in scratches.iter().enumerate() {
            let bucket = |at: usize| (scratch.probes[at].bucket, number as u32, at as u32);
            probes.extend(search.stage(scratch, stage).map(bucket));
        }
        probes.sort_unstable();
        scan_buckets(search, scratches, &probes);
    }
}

/// Scans (bucket, number of the query, number of the bucket within it) in their order.
fn scan_buckets(search: &Search, scratches: &mut [QueryScratch], probes: &[(u32, u32, u32)]) {
    let mut buckets = probes.chunk_by(|a, b| a.0 == b.0).map(|group| group[0].0);
    let mut ahead = ReadAhead::default();
    buckets.by_ref().take(AHEAD).for_each(|bucket| ahead.start(search.runs(bucket)));
    let mut last = None;
    for (bucket, query, at) in probes {
        if search.is_stopped() {
            return;
        }
        if last.replace(*bucket) != Some(*bucket)
            && let Some(bucket) = buckets.next()
        {
            ahead.start(search.runs(bucket));
        }
        search.scan_bucket(&mut scratches[*query as usize], *at as usize, &mut ahead);
    }
}
