//! One search of all shards: calls them at once, and waits as long as it is worth while.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::HeaderMap;
use tokio::time::{sleep_until, timeout_at};

use super::failure::{Failure, Kind};
use super::merge::{Merged, Wanted, merge};
use super::patience::Patience;
use super::replica::Question;
use super::shard::{AtWork, Hedge, Shard};
use super::wire::headers_of_call;
use crate::v1::{HasherServiceSearchResponse as Answer, ShardTiming};
use crate::wire::framed_parts;

/// How late a timer is at least where the process got no CPU.
const HELD_UP: Duration = Duration::from_millis(5);
const SHARE_TOLERANCE: f64 = 1e-6;

/// What is searched for, and how.
#[derive(Clone, Debug)]
pub struct Search {
    /// The encoded `HasherServiceSearchRequest` without `target` and `min_positions`.
    pub request: Bytes,
    /// How many vectors it has.
    pub vectors: usize,
    /// What to keep of the hits.
    pub wanted: Wanted,
    /// Shard → what else its request has, encoded: its `min_positions`. These shards are waited for whatever is
    /// enough.
    pub needed: HashMap<usize, Bytes>,
    /// How long the shards have; later answers count as failures.
    pub timeout: Duration,
    /// Once this share of the shards has answered, 0..1, the others get a short grace only.
    pub enough: f64,
    /// Metadata of every call.
    pub headers: HeaderMap,
    /// Shard → metadata of its call in place of that.
    pub shard_headers: HashMap<usize, HeaderMap>,
    /// Nobody waits for it: it says nothing about how long others should take, and is not hedged.
    pub is_aside: bool,
}

/// What came of a search.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// For each vector the best hits of all shards that answered, and the codes that were scanned for it.
    pub results: Vec<(Merged, u64)>,
    /// The shards that answered.
    pub answered: Vec<usize>,
    /// The shards that did not, and why.
    pub failures: Vec<(usize, Failure)>,
    /// What is wrong with the request itself; then the rest is not filled in.
    pub mistake: Option<Failure>,
    /// Codes of the shards that answered.
    pub codes_total: u64,
    /// Stages by the shard that took longest.
    pub timing: ShardTiming,
    /// How long each shard took that answered, or was waited for in vain.
    pub took: Vec<(usize, Duration)>,
    /// How long merging took.
    pub merging: Duration,
}

impl Found {
    /// Takes the shards' answers, each of which has a result for each of as many vectors, and merges them.
    pub fn take(&mut self, answers: Vec<(usize, Answer)>, vectors: usize, wanted: Wanted) {
        let start = Instant::now();
        self.answered = answers.iter().map(|(number, _)| *number).collect();
        self.codes_total = sum(answers.iter().map(|(_, answer)| answer.codes_total));
        for timing in answers.iter().filter_map(|(_, answer)| answer.timing) {
            let longest = &mut self.timing;
            longest.hash_seconds = longest.hash_seconds.max(timing.hash_seconds);
            longest.probe_seconds = longest.probe_seconds.max(timing.probe_seconds);
            longest.scan_seconds = longest.scan_seconds.max(timing.scan_seconds);
            longest.rerank_seconds = longest.rerank_seconds.max(timing.rerank_seconds);
        }
        let mut results: Vec<_> = answers.into_iter().map(|(_, answer)| answer.results.into_iter()).collect();
        for _ in 0..vectors {
            let of_vector: Vec<_> = results.iter_mut().filter_map(Iterator::next).collect();
            let scanned = sum(of_vector.iter().map(|hits| hits.codes_scanned));
            match merge(of_vector.into_iter().flat_map(|hits| hits.hits), wanted) {
                Ok(merged) => self.results.push((merged, scanned)),
                Err(_) => {
                    // A defect of a shard, and no one knows of which.
                    self.mistake = Some(Failure::new(Kind::Failed));
                    return;
                }
            }
        }
        self.merging = start.elapsed();
    }
}

/// Adds up what shards report, which may be anything.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Returns whether enough of the called shards answered. The share may be a float32: 3 of 5 shards satisfy 0.6.
#[allow(clippy::cast_precision_loss)]
fn covers(answered: usize, called: usize, share: f64) -> bool {
    answered as f64 + SHARE_TOLERANCE >= share * called as f64
}

/// A call of one shard in progress; it ends when this is dropped.
struct Call {
    number: usize,
    at_work: Arc<AtWork>,
    answer: Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>,
}

/// A call that has ended: the shard, who is at work on it still, and what came of it.
type Outcome = (usize, Arc<AtWork>, Result<Answer, Failure>);

impl Future for Call {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = ready!(self.answer.as_mut().poll(context));
        Poll::Ready((self.number, Arc::clone(&self.at_work), outcome))
    }
}

struct Hedging {
    patience: Arc<Mutex<Patience>>,
    is_aside: bool,
}

impl Hedge for Hedging {
    fn after(&self) -> Option<Duration> {
        if self.is_aside { None } else { lock(&self.patience).hedge_after() }
    }

    fn take(&self) -> bool {
        lock(&self.patience).take_hedge()
    }
}

fn lock(patience: &Mutex<Patience>) -> std::sync::MutexGuard<'_, Patience> {
    patience.lock().expect("nothing panics while it holds the lock")
}

/// Searches all shards; dropped, it ends their calls.
pub async fn search(shards: Arc<[Arc<Shard>]>, patience: Arc<Mutex<Patience>>, mut search: Search) -> Found {
    let start = Instant::now();
    let mut found = Found::default();
    let mut answers = Vec::with_capacity(shards.len());
    let headers = Arc::new(headers_of_call(std::mem::take(&mut search.headers)));
    let calls = FuturesUnordered::new();
    for (number, shard) in shards.iter().enumerate() {
        if shard.is_silent() {
            found.failures.push((number, Failure::new(Kind::Silent)));
        } else {
            let own = search.shard_headers.remove(&number);
            let own = own.map(|own| Arc::new(headers_of_call(own)));
            let question = Question {
                message: framed_parts(&[
                    &search.request,
                    search.needed.get(&number).map_or(&[], |needed| needed),
                    &shard.target,
                ]),
                headers: own.unwrap_or_else(|| Arc::clone(&headers)),
                vectors: search.vectors,
                limit: start + search.timeout,
            };
            let hedging = Hedging { patience: Arc::clone(&patience), is_aside: search.is_aside };
            calls.push(begin(number, shard, question, hedging));
        }
    }
    let mut collector = Collector { shards: &shards, patience: &patience, search: &search, start, calls };
    found.mistake = collector.collect(&mut found, &mut answers).await;
    if found.mistake.is_none() {
        collector.give_up(&mut found);
        found.take(answers, search.vectors, search.wanted);
    }
    found
}

fn begin(number: usize, shard: &Arc<Shard>, question: Question, hedging: Hedging) -> Call {
    let at_work = Arc::new(AtWork::default());
    let (shard, working) = (Arc::clone(shard), Arc::clone(&at_work));
    let answer = Box::pin(async move { shard.search(&question, &working, hedging).await });
    Call { number, at_work, answer }
}

struct Collector<'a> {
    shards: &'a [Arc<Shard>],
    patience: &'a Mutex<Patience>,
    search: &'a Search,
    start: Instant,
    /// All in this one task: those of a search are too short to be worth one each.
    calls: FuturesUnordered<Call>,
}

impl Collector<'_> {
    /// Waits, and returns the caller's mistake as soon as a shard finds one.
    async fn collect(&mut self, found: &mut Found, answers: &mut Vec<(usize, Answer)>) -> Option<Failure> {
        let limit = self.start + self.search.timeout;
        let called = self.shards.len();
        let mut end = limit;
        let mut timer = pin!(sleep_until(end.into()));
        let (mut in_grace, mut was_held_up) = (false, false);
        while !self.calls.is_empty() {
            let is_needed = answers.is_empty()
                || self.calls.iter().any(|call| self.search.needed.contains_key(&call.number));
            if !in_grace && !is_needed && covers(answers.len(), called, self.search.enough) {
                end = limit.min(self.end_of_grace());
                timer.as_mut().reset(end.into());
                in_grace = true;
            }
            tokio::select! {
                biased;
                Some(outcome) = self.calls.next() => {
                    if let Some(mistake) = self.take(outcome, found, answers) {
                        return Some(mistake);
                    }
                }
                () = &mut timer => {
                    let held_up = end.elapsed();
                    if was_held_up || end == limit || held_up < HELD_UP {
                        break;
                    }
                    // Answers may have come while this process itself stood still; nobody has looked at them yet.
                    was_held_up = true;
                    end = limit.min(Instant::now() + held_up);
                    timer.as_mut().reset(end.into());
                }
            }
        }
        None
    }

    fn end_of_grace(&self) -> Instant {
        let silences = self.calls.iter().map(|call| self.shards[call.number].silences()).min().unwrap_or(0);
        let patience = lock(self.patience);
        (Instant::now() + patience.grace(silences)).max(self.start + patience.usual())
    }

    fn take(
        &mut self,
        (number, at_work, outcome): Outcome,
        found: &mut Found,
        answers: &mut Vec<(usize, Answer)>,
    ) -> Option<Failure> {
        match outcome {
            Ok(answer) => {
                let took = self.start.elapsed();
                if !self.search.is_aside {
                    lock(self.patience).answered(took);
                }
                found.took.push((number, took));
                answers.push((number, answer));
            }
            Err(failure) if failure.is_callers_mistake() => return Some(failure),
            Err(failure) => {
                if failure.is_late() {
                    self.shards[number].gave_up(&at_work);
                    found.took.push((number, self.start.elapsed()));
                }
                found.failures.push((number, failure));
            }
        }
        None
    }

    /// Gives up the calls that are still in progress.
    fn give_up(&mut self, found: &mut Found) {
        let limit = self.start + self.search.timeout;
        for Call { number, at_work, answer } in std::mem::take(&mut self.calls) {
            let shard = &self.shards[number];
            shard.keep(timeout_at(limit.into(), answer));
            shard.gave_up(&at_work);
            found.took.push((number, self.start.elapsed()));
            found.failures.push((number, Failure::new(Kind::Late)));
        }
    }
}
