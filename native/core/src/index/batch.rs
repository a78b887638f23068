//! Queries that travel together: a bucket that many of them visit is read from memory once.
//!
//! The answers are those of the same queries alone: the order of the visits decides nothing but ties, which
//! are broken by the place of a bucket in the query's own order.

use super::clock::{Clock, StageSeconds};
use super::query::{AHEAD, Ahead, STAGES, Search, Trip, Worker};
use super::search::Answer;
use crate::partition::Visits;

/// Most queries that travel together: their tables should stay within the cache.
pub const MOST: usize = 1_024;
/// Fewer queries hardly ever meet in a bucket.
const FEWEST: usize = 16;

/// Answers up to [`MOST`] unit-length queries.
pub fn answer(search: &Search, queries: &[f32], worker: &mut Worker) -> (Vec<Answer>, StageSeconds) {
    let queries: Vec<&[f32]> = queries.chunks_exact(search.dim()).collect();
    let mut seconds = StageSeconds::default();
    let together = if queries.len() < FEWEST || search.is_exact() { 1 } else { queries.len() };
    if worker.trips.len() < together {
        worker.trips.resize_with(together, Trip::default);
    }
    let answers = queries.chunks(together).flat_map(|queries| travel(search, queries, worker, &mut seconds));
    let answers = answers.collect();
    // The buffers of a large batch would else stay with this thread for ever.
    worker.trips.truncate(1);
    worker.trips.shrink_to_fit();
    (answers, seconds)
}

/// Takes each query along its way; all visits happen in the order of the buckets.
fn travel(
    search: &Search,
    queries: &[&[f32]],
    Worker { rotation, order, trips }: &mut Worker,
    seconds: &mut StageSeconds,
) -> Vec<Answer> {
    let mut clock = Clock::start();
    let trips = &mut trips[..queries.len()];
    for (query, trip) in queries.iter().zip(&mut *trips) {
        search.prepare(query, trip, rotation);
    }
    seconds.hash += clock.lap();
    if search.is_exact() {
        let answers = queries.iter().zip(&*trips).map(|(query, trip)| search.exact(query, trip)).collect();
        seconds.rerank += clock.lap();
        return answers;
    }
    for (query, trip) in queries.iter().zip(&mut *trips) {
        search.plan(query, trip, order);
    }
    seconds.probe += clock.lap();
    match &mut *trips {
        [trip] => search.scan(trip),
        trips => scan(search, trips),
    }
    seconds.scan += clock.lap();
    let mut answers = Vec::with_capacity(queries.len());
    let mut next = trips.first_mut().map(|trip| search.reach(trip));
    for at in 0..queries.len() {
        // While the vectors of the next query are on their way, those of this one are scored.
        let places = std::mem::replace(&mut next, trips.get_mut(at + 1).map(|trip| search.reach(trip)));
        let found = search.conclude(queries[at], &trips[at], &places.unwrap_or_default());
        answers.push(found.unwrap_or_else(|| go_further(search, queries[at], &mut trips[at], order)));
    }
    seconds.rerank += clock.lap();
    answers
}

/// A few products own the near buckets, or most rows there are gone: looks on until enough is found.
fn go_further(search: &Search, query: &[f32], trip: &mut Trip, order: &mut Visits) -> Answer {
    while search.go_further(trip) {
        search.plan(query, trip, order);
        search.scan(trip);
        let places = search.reach(trip);
        if let Some(answer) = search.conclude(query, trip, &places) {
            return answer;
        }
    }
    search.exact(query, trip)
}

/// Scans the buckets of all trips, stage by stage, and within a stage in the order of the buckets.
fn scan(search: &Search, trips: &mut [Trip]) {
    for stage in 0..STAGES {
        let mut visits: Vec<(u32, u32, u32)> = Vec::new();
        for (number, trip) in trips.iter().enumerate() {
            let bucket = |at: usize| (trip.visits[at].bucket, number as u32, at as u32);
            visits.extend(search.stage(trip, stage).map(bucket));
        }
        visits.sort_unstable();
        visit_all(search, trips, &visits);
    }
}

/// Makes visits (bucket, trip, number of the visit) in their order.
fn visit_all(search: &Search, trips: &mut [Trip], visits: &[(u32, u32, u32)]) {
    let mut buckets = visits.chunk_by(|a, b| a.0 == b.0).map(|group| group[0].0);
    let mut ahead = Ahead::default();
    buckets.by_ref().take(AHEAD).for_each(|bucket| ahead.start(search, bucket));
    let mut last = None;
    for (bucket, trip, at) in visits {
        if last.replace(*bucket) != Some(*bucket)
            && let Some(bucket) = buckets.next()
        {
            ahead.start(search, bucket);
        }
        search.visit(&mut trips[*trip as usize], *at as usize, &mut ahead);
    }
}
