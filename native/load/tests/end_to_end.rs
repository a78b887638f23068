//! Runs against a server in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use lookalike_load::echo::{self, Echo};
use lookalike_load::grpc::Method;
use lookalike_load::record::{OK, Record};
use lookalike_load::run::{self, Load};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const ANSWER: &[u8] = b"an answer";
const MS: Duration = Duration::from_millis(1);

struct Served {
    runtime: Runtime,
    target: String,
}

impl Served {
    fn new(delay: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        runtime.spawn(echo::serve(listener, Echo { answer: Bytes::from_static(ANSWER), delay }));
        Self { runtime, target }
    }

    fn method(&self, path: &'static str, deadline: Duration) -> Method {
        let path = PathAndQuery::from_static(path);
        self.runtime.block_on(Method::connect(&self.target, path, 2, deadline)).unwrap()
    }

    /// Sends requests that are due at these milliseconds.
    fn open(&self, method: &Method, due: &[u32], started: Instant, most_under_way: u32) -> Record {
        let arrivals = due.iter().map(|&ms| MS * ms);
        run::open(self.runtime.handle(), method, &load(), arrivals, started, most_under_way)
    }
}

fn load() -> Load {
    let requests = [Bytes::from_static(b"one"), Bytes::from(vec![7; 100_000]), Bytes::new()];
    Load { requests: Arc::new(requests), duration: Duration::from_secs(60), keep_answers: true }
}

fn milliseconds(record: &Record, kind: &str, percentile: &str) -> f64 {
    record.figures()[kind][percentile].as_f64().unwrap() / 1e3
}

#[test]
fn every_due_request_is_sent_and_answered() {
    let served = Served::new(Duration::ZERO);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let due: Vec<u32> = (0..50).collect();
    let record = served.open(&method, &due, Instant::now(), 1000);
    assert_eq!(record.count(OK), 50, "{}", record.figures());
    assert_eq!(record.answers(), vec![Some(Bytes::from_static(ANSWER)); 3]);
}

#[test]
fn nothing_is_sent_after_the_end() {
    let served = Served::new(Duration::ZERO);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let record = served.open(&method, &[0, 1, 60_001, 60_002], Instant::now(), 1000);
    assert_eq!(record.count(OK), 2);
}

#[test]
fn answers_are_not_waited_for() {
    let served = Served::new(200 * MS);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let started = Instant::now();
    let record = served.open(&method, &[0; 20], started, 1000);
    assert_eq!(record.count(OK), 20);
    // One after the other they would take four seconds.
    assert!(record.figures()["seconds"].as_f64().unwrap() < 3.9);
    assert!(milliseconds(&record, "service_us", "p50") > 199.0);
}

#[test]
fn a_request_that_is_sent_late_has_waited() {
    let served = Served::new(Duration::ZERO);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let record = served.open(&method, &[0, 10], Instant::now() - 500 * MS, 1000);
    assert!(milliseconds(&record, "latency_us", "p50") > 489.0);
    assert!(milliseconds(&record, "late_us", "p50") > 489.0);
}

#[test]
fn what_is_due_beyond_the_bound_is_counted_and_not_sent() {
    let served = Served::new(500 * MS);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let record = served.open(&method, &[0; 10], Instant::now(), 3);
    let figures = record.figures();
    assert_eq!((record.count(OK), figures["sent"].as_u64()), (3, Some(3)), "{figures}");
    assert_eq!(figures["unsent"], 7);
}

#[test]
fn failures_are_counted_by_status() {
    let served = Served::new(Duration::ZERO);
    let method = served.method("/lookalike.load.Echo/Other", Duration::from_secs(60));
    let record = served.open(&method, &[0, 0, 0], Instant::now(), 1000);
    assert_eq!((record.count("UNIMPLEMENTED"), record.count(OK)), (3, 0), "{}", record.figures());
    assert_eq!(record.answers(), [None, None, None]);
}

#[test]
fn a_deadline_ends_a_call() {
    let served = Served::new(Duration::from_secs(60));
    let method = served.method(echo::PATH, 50 * MS);
    let record = served.open(&method, &[0, 1], Instant::now(), 1000);
    assert_eq!(record.count("DEADLINE_EXCEEDED"), 2, "{}", record.figures());
}

#[test]
fn callers_of_a_closed_loop_wait_for_their_answers() {
    let served = Served::new(50 * MS);
    let method = served.method(echo::PATH, Duration::from_secs(60));
    let load = Load { duration: 500 * MS, ..load() };
    let record = served.runtime.block_on(run::closed(method, &load, 3));
    // At most ten each within the time, and one that was under way at its end.
    assert!((3..=33).contains(&record.count(OK)), "{}", record.figures());
}
