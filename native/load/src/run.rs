//! Sends requests, in one of two ways, and records what became of them.

use std::future::Future;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::record::{Moments, Record};

/// What requests are sent to.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Sends the run's call of a number, and returns its answer or the name of what went wrong.
    fn call(&self, number: usize, message: Bytes) -> impl Future<Output = Result<Bytes, String>> + Send;
}

/// What is sent and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// Sent in turn, and from the first on again.
    pub requests: Arc<[Bytes]>,
    /// How long requests are sent.
    pub duration: Duration,
    /// Whether the first answer of each request is kept.
    pub keep_answers: bool,
}

impl Load {
    fn record(&self, started: Instant) -> Arc<Mutex<Record>> {
        let kept = if self.keep_answers { self.requests.len() } else { 0 };
        Arc::new(Mutex::new(Record::new(started, kept)))
    }
}

/// Lets a number of callers send one request after the other, and waits for the last answers.
pub async fn closed<C: Caller>(caller: C, load: &Load, callers: usize) -> Record {
    let started = Instant::now();
    let end = started + load.duration;
    let record = load.record(started);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (caller, record, next) = (caller.clone(), record.clone(), next.clone());
        let requests = load.requests.clone();
        tasks.spawn(async move {
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                one(&caller, &requests, number, Instant::now(), &record).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a caller has panicked");
    }
    taken(record)
}

/// Sends a request whenever one is due, however many are under way, and waits for the last answers.
///
/// Blocks: the times of sending come from a thread of its own, as an event loop's timers know milliseconds only.
///
/// # Arguments
///
/// * `arrivals` - when requests are due, counted from `started`.
/// * `most_under_way` - what is due while so many are under way is counted and not sent.
pub fn open<C: Caller>(
    runtime: &Handle,
    caller: &C,
    load: &Load,
    arrivals: impl Iterator<Item = Duration>,
    started: Instant,
    most_under_way: u32,
) -> Record {
    let record = load.record(started);
    let free = Arc::new(Semaphore::new(most_under_way as usize));
    // By default the kernel may wake a thread 50 µs late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    for (number, after) in arrivals.take_while(|after| *after < load.duration).enumerate() {
        let due = started + after;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let Ok(place) = free.clone().try_acquire_owned() else {
            record.lock().expect("no thread panics with it").not_sent();
            continue;
        };
        let (caller, requests, record) = (caller.clone(), load.requests.clone(), record.clone());
        runtime.spawn(async move {
            one(&caller, &requests, number, due, &record).await;
            drop(record);
            drop(place);
        });
    }
    let _all = runtime.block_on(free.acquire_many(most_under_way)).expect("it is never closed");
    taken(record)
}

async fn one<C: Caller>(caller: &C, requests: &[Bytes], number: usize, due: Instant, record: &Mutex<Record>) {
    let request = number % requests.len();
    let sent = Instant::now();
    let outcome = caller.call(number, requests[request].clone()).await;
    let moments = Moments { due, sent, ended: Instant::now() };
    record.lock().expect("no thread panics with it").ended(request, moments, outcome);
}

fn taken(record: Arc<Mutex<Record>>) -> Record {
    let record = Arc::into_inner(record).expect("all calls have ended");
    record.into_inner().expect("no thread panics with it")
}
