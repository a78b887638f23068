//! The fan-out against real sockets. No test asserts how long something takes: `LONG` only ends a hanging test.

pub mod server;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use server::{Does, Server};
use tonic::{Code, Status};

use super::failure::described_status;
use super::*;
use crate::v1::{HasherServiceSearchResponse, ShardHits, ShardTiming};

const LONG: Duration = Duration::from_secs(30);
const LIMIT: usize = 100_000;

#[derive(Clone, PartialEq, Message)]
struct Hit {
    #[prost(string, tag = "2")]
    item_id: String,
    #[prost(float, tag = "3")]
    score: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Hits {
    #[prost(message, repeated, tag = "1")]
    hits: Vec<Hit>,
}

/// A shard's answer to each of some vectors: one hit.
fn answer(vectors: usize, item_id: &str, score: f32) -> Bytes {
    let hit = Bytes::from(Hit { item_id: item_id.into(), score }.encode_to_vec());
    let hits = ShardHits { hits: vec![hit], codes_scanned: 3 };
    let timing = ShardTiming { scan_seconds: f64::from(score), ..ShardTiming::default() };
    let answer = HasherServiceSearchResponse {
        results: vec![hits; vectors],
        codes_total: 10,
        position: 0,
        timing: Some(timing),
    };
    answer.encode_to_vec().into()
}

fn answers(item_id: &str, score: f32) -> Does {
    Does::Answer(answer(1, item_id, score))
}

/// A fan-out, and what it says of silent shards.
struct Bench {
    fanout: Fanout,
    silences: Arc<Mutex<Vec<(usize, bool)>>>,
}

fn over(shards: &[&[&Server]]) -> Bench {
    let shards = shards
        .iter()
        .map(|replicas| replicas.iter().map(|replica| replica.address.to_string()).collect())
        .collect();
    over_addresses(shards)
}

fn over_addresses(shards: Vec<Vec<String>>) -> Bench {
    let layout = Layout { shards, installation_id: "home".into(), layout_epoch: 7, max_message_bytes: LIMIT };
    let silences = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&silences);
    let on_silence: OnSilence =
        Arc::new(move |shard, is_silent| noted.lock().unwrap().push((shard, is_silent)));
    Bench { fanout: Fanout::new(&layout, &on_silence).unwrap(), silences }
}

fn all() -> Search {
    Search {
        request: HasherServiceSearchRequest { k: 10, ..Default::default() }.encode_to_vec().into(),
        vectors: 1,
        wanted: Wanted { k: 10, group_by_product: true, min_score: -1.0, matching: None },
        needed: HashMap::new(),
        timeout: LONG,
        enough: 1.0,
        headers: headers_of([("x-request-id".into(), "r7".into()), ("bad key".into(), "x".into())]),
        shard_headers: HashMap::new(),
        is_aside: false,
    }
}

fn half() -> Search {
    Search { enough: 0.5, ..all() }
}

impl Bench {
    fn begin(&self, search: Search) -> (Running, Receiver<Found>) {
        let (sender, receiver) = channel();
        let running = self.fanout.search(search, move |found| sender.send(found).unwrap());
        (running, receiver)
    }

    fn search(&self, search: Search) -> Found {
        self.begin(search).1.recv_timeout(LONG).expect("the search ends")
    }

    /// Searches that come one after another until one is as wanted.
    fn until(&self, search: &Search, is_wanted: impl Fn(&Found) -> bool) -> Found {
        let start = Instant::now();
        loop {
            let found = self.search(search.clone());
            if is_wanted(&found) {
                return found;
            }
            assert!(start.elapsed() < LONG, "{found:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn silences(&self) -> Vec<(usize, bool)> {
        self.silences.lock().unwrap().clone()
    }
}

fn failures(found: &Found) -> Vec<(usize, Kind)> {
    assert_eq!(found.mistake, None);
    found.failures.iter().map(|(shard, failure)| (*shard, failure.kind)).collect()
}

fn items(found: &Found, vector: usize) -> Vec<String> {
    let hits = Hits::decode(found.results[vector].0.hits.clone()).unwrap().hits;
    hits.into_iter().map(|hit| hit.item_id).collect()
}

fn wait_for(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn all_shards_are_asked_under_their_identity_and_their_hits_are_merged() {
    let servers = [Does::Answer(answer(2, "a", 0.25)), Does::Answer(answer(2, "b", 0.5))].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    let demand = HasherServiceSearchRequest { min_positions: [(3, 9)].into(), ..Default::default() };
    let needed = [(1, Bytes::from(demand.encode_to_vec()))].into();
    let found = bench.search(Search { vectors: 2, needed, ..all() });
    assert_eq!(failures(&found), []);
    assert_eq!(
        (items(&found, 0), items(&found, 1)),
        (vec!["b".into(), "a".into()], vec!["b".into(), "a".into()])
    );
    let mut answered = found.answered.clone();
    answered.sort_unstable();
    assert_eq!((answered, found.took.len(), found.codes_total), (vec![0, 1], 2, 20));
    assert_eq!((found.results[1].1, found.timing.scan_seconds), (6, 0.5));
    for (number, server) in servers.iter().enumerate() {
        let (request, id) = server.requests().pop().unwrap();
        let request = HasherServiceSearchRequest::decode(request).unwrap();
        let target = request.target.unwrap();
        assert_eq!((request.k, id.as_deref()), (10, Some("r7")));
        assert_eq!((target.shard as usize, target.shard_count, target.layout_epoch), (number, 2, 7));
        assert_eq!(request.min_positions.get(&3).copied(), (number == 1).then_some(9));
    }
}

#[test]
fn a_hung_shard_gets_a_short_grace_once_enough_have_answered() {
    let servers = [answers("a", 0.5), Does::Hang].map(Server::start);
    let found = over(&[&[&servers[0]], &[&servers[1]]]).search(half());
    assert_eq!((failures(&found), items(&found, 0)), (vec![(1, Kind::Late)], vec!["a".into()]));
    assert_eq!(found.took.len(), 2, "a call that was given up took its time, too");
}

#[test]
fn a_late_shard_is_a_failed_one() {
    let servers = [answers("a", 0.5), Does::Hang].map(Server::start);
    let found = over(&[&[&servers[0]], &[&servers[1]]])
        .search(Search { timeout: Duration::from_millis(500), ..all() });
    assert_eq!(failures(&found), [(1, Kind::Late)]);
}

#[test]
fn an_answer_and_a_needed_shard_are_waited_for_whatever_is_enough() {
    let slow = Does::AnswerAfter(Duration::from_millis(200), answer(1, "b", 0.5));
    let servers = [answers("a", 0.5), slow].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    let found = bench.search(Search { needed: [(1, Bytes::new())].into(), ..half() });
    assert_eq!(failures(&found), []);
    let found = over(&[&[&servers[1]]]).search(Search { enough: 0.0, ..all() });
    assert_eq!(failures(&found), []);
}

#[test]
fn no_call_is_given_up_before_answers_usually_come() {
    let slow = Does::AnswerAfter(Duration::from_millis(200), answer(1, "b", 0.5));
    let servers = [answers("a", 0.5), slow].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    bench.fanout.patience.lock().unwrap().answered(LONG);
    assert_eq!(failures(&bench.search(half())), []);
}

#[test]
fn a_shard_that_only_paused_is_waited_for_again_once_it_answers() {
    let servers = [answers("a", 0.5), answers("b", 0.5)].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    // Until the first answers, which include the connecting, do not count any more.
    (0..256).for_each(|_| drop(bench.search(all())));
    servers[1].set(Does::AnswerAfter(Duration::from_secs(1), answer(1, "b", 0.5)));
    assert_eq!(failures(&bench.search(half())), [(1, Kind::Late)]);
    assert_eq!(bench.fanout.shards[1].silences(), 1);
    wait_for(|| bench.fanout.shards[1].silences() == 0);
    assert_eq!(servers[1].cancelled(), 0, "the call went on");
}

#[test]
fn a_shard_that_hangs_is_left_alone_until_it_answers_a_probe() {
    let servers = [answers("a", 0.5), Does::Hang].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    let waiting = bench.begin(all()).1;
    bench.until(&half(), |found| failures(found) == [(1, Kind::Silent)]);
    let waited = waiting.recv_timeout(LONG).unwrap();
    assert_eq!(failures(&waited), [(1, Kind::Silent)], "a call that waits ends when others find it silent");
    assert_eq!(bench.silences(), [(1, true)]);
    assert_eq!(failures(&bench.search(all())), [(1, Kind::Silent)]);
    servers[1].set(answers("b", 0.5));
    wait_for(|| bench.silences() == [(1, true), (1, false)]);
    assert_eq!(failures(&bench.search(all())), []);
}

#[test]
fn a_killed_shard_is_unreachable_and_found_again() {
    let servers = [answers("a", 0.5), Does::Hang].map(Server::start);
    let [alive, killed] = servers;
    let bench = over(&[&[&alive], &[&killed]]);
    let waiting = bench.begin(all()).1;
    wait_for(|| !killed.requests().is_empty());
    let address = killed.address;
    killed.kill();
    assert_eq!(failures(&waiting.recv_timeout(LONG).unwrap()), [(1, Kind::Unreachable)]);
    assert_eq!(failures(&bench.search(all())), [(1, Kind::Unreachable)]);
    let again = Server::start_at(address, answers("b", 0.5));
    assert_eq!(failures(&bench.search(all())), []);
    assert_eq!(again.requests().len(), 1);
    again.kill();
    let _restarted = Server::start_at(address, answers("b", 0.5));
    assert_eq!(failures(&bench.search(all())), [], "the broken connection is not the caller's problem");
    assert_eq!(bench.silences(), []);
}

#[test]
fn failures_that_come_at_once_do_not_open_the_circuit() {
    let server = Server::start(Does::Fail(described_status(Code::Unavailable, "DISK_FULL")));
    let bench = over(&[&[&server]]);
    for status in [described_status(Code::NotFound, "COLLECTION_NOT_FOUND"), Status::internal("defect")] {
        for _ in 0..5 {
            assert!(bench.search(all()).failures[0].1.is_answer());
        }
        server.set(Does::Fail(status));
    }
    assert!(!bench.fanout.shards[0].is_silent());
    server.set(Does::Answer(Bytes::from_static(b"\xff")));
    assert_eq!(failures(&bench.search(all())), [(0, Kind::Failed)]);
    server.set(Does::Answer(answer(2, "a", 0.5)));
    assert_eq!(
        failures(&bench.search(all())),
        [(0, Kind::Failed)],
        "answers to other vectors than were sent"
    );
}

#[test]
fn the_callers_mistake_ends_the_wait() {
    let mistake = described_status(Code::InvalidArgument, "FIELD_INVALID");
    let servers = [Does::Hang, Does::Fail(mistake.clone())].map(Server::start);
    let found = over(&[&[&servers[0]], &[&servers[1]]]).search(all());
    assert_eq!(found.mistake.unwrap().details, mistake.details());
    wait_for(|| servers[0].cancelled() == 1);
}

#[test]
fn messages_that_are_too_large_are_the_callers_to_shrink() {
    let server = Server::start(answers(&"a".repeat(LIMIT), 0.5));
    let bench = over(&[&[&server]]);
    assert_eq!(bench.search(all()).mistake.unwrap().kind, Kind::AnswerTooLarge);
    let found = bench.search(Search { request: vec![0; LIMIT].into(), ..all() });
    assert_eq!(found.mistake.unwrap().kind, Kind::RequestTooLarge);
}

#[test]
fn a_search_that_is_cancelled_ends_its_calls_and_is_not_reported() {
    let servers = [Does::Hang, Does::Hang].map(Server::start);
    let bench = over(&[&[&servers[0]], &[&servers[1]]]);
    let (running, receiver) = bench.begin(all());
    wait_for(|| servers.iter().all(|server| server.requests().len() == 1));
    running.cancel();
    wait_for(|| servers.iter().all(|server| server.cancelled() == 1));
    assert!(receiver.recv_timeout(LONG).is_err());
    assert_eq!(bench.fanout.shards[0].silences(), 0);
}

#[test]
fn another_replica_answers_for_one_that_cannot() {
    let gone = Server::start(Does::Hang);
    let address = gone.address.to_string();
    gone.kill();
    let shard = Server::start(answers("a", 0.5));
    let bench = over_addresses(vec![vec![address, shard.address.to_string()]]);
    for _ in 0..6 {
        assert_eq!(failures(&bench.search(all())), []);
    }
    let lost = Server::start(Does::Fail(described_status(Code::NotFound, "COLLECTION_NOT_FOUND")));
    let bench = over(&[&[&lost, &shard]]);
    for _ in 0..6 {
        assert_eq!(failures(&bench.search(all())), []);
    }
    assert!(!lost.requests().is_empty());
    shard.set(Does::Fail(described_status(Code::ResourceExhausted, "OVERLOADED")));
    lost.set(Does::Fail(described_status(Code::ResourceExhausted, "OVERLOADED")));
    let before = lost.requests().len() + shard.requests().len();
    assert_eq!(failures(&bench.search(all())), [(0, Kind::Described)]);
    assert_eq!(lost.requests().len() + shard.requests().len(), before + 1, "overload is not made worse");
}

#[test]
fn a_slow_replica_is_hedged_and_left_alone_if_it_hangs() {
    let servers = [answers("a", 0.5), answers("a", 0.5)].map(Server::start);
    let bench = over(&[&[&servers[0], &servers[1]]]);
    for _ in 0..200 {
        bench.search(all());
    }
    let calls = servers.each_ref().map(|server| server.requests().len());
    assert!(calls.iter().all(|calls| *calls > 50), "both are called: {calls:?}");
    servers[0].set(Does::Hang);
    for _ in 0..20 {
        assert_eq!(failures(&bench.search(all())), [], "the other one answers");
    }
    // Hedges run out if the pause is long; the breaker has seen enough by then.
    let start = Instant::now();
    while !bench.fanout.shards[0].is_degraded() {
        assert!(start.elapsed() < LONG);
        bench.search(Search { timeout: Duration::from_millis(200), ..all() });
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(failures(&bench.search(all())), []);
    assert_eq!(bench.silences(), [], "the shard still answers");
}

#[test]
fn a_word_that_is_no_address_is_refused() {
    let layout = Layout {
        shards: vec![vec!["no address".into()]],
        installation_id: String::new(),
        layout_epoch: 1,
        max_message_bytes: LIMIT,
    };
    let refused = Fanout::new(&layout, &(Arc::new(|_, _| ()) as OnSilence)).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}
