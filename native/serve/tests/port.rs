//! The search port on a real socket, called by tonic.

#[path = "common/raw.rs"]
mod raw;
#[path = "common/small.rs"]
mod small;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use lookalike_core::chunk::Rerank;
use lookalike_core::rotation::RotationKind;
use lookalike_core::threads::Stop;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions};
use lookalike_serve::front::Kind;
use lookalike_serve::port::Port;
use lookalike_serve::port::filters::filter_of;
use lookalike_serve::port::metrics::Method;
use lookalike_serve::port::registry::Published;
use lookalike_serve::port::vectors::{Rows, Vectors};
use lookalike_serve::v1::{HasherServiceSearchRequest, HasherServiceSearchResponse};
use prost::Message;
use raw::Raw;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Vectors that are read until the search is stopped; it says when that begins and when it ends.
struct Endless {
    begun: Mutex<Sender<()>>,
    ended: Mutex<Sender<()>>,
}

impl Vectors for Endless {
    fn read(&self, _: &[u64], stop: &Stop, _: &mut (dyn FnMut(Rows) + Send)) -> Result<(), String> {
        self.begun.lock().unwrap().send(()).unwrap();
        while !stop.is_set() {
            thread::sleep(Duration::from_millis(1));
        }
        self.ended.lock().unwrap().send(()).unwrap();
        Ok(())
    }
}

struct Served {
    port: Arc<Port>,
    channel: Channel,
    runtime: Runtime,
    begun: Receiver<()>,
    ended: Receiver<()>,
}

impl Served {
    fn new() -> Self {
        let port = Arc::new(Port::new(small::options()).unwrap());
        let index = small::index(Family::Learned, Rerank::F16, 40);
        let ((begun, is_begun), (ended, is_ended)) = (channel(), channel());
        let vectors: Arc<dyn Vectors> =
            Arc::new(Endless { begun: Mutex::new(begun), ended: Mutex::new(ended) });
        let model_version = "m".to_owned();
        let positions = BTreeMap::from([(0, 1)]);
        let published = Published { index, model_version, positions, vectors: Some(vectors) };
        port.shared().registry.publish("g".into(), published);
        port.shared().registry.loaded();
        let runtime = Runtime::new().unwrap();
        let bound = port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{bound}")).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self { port, channel, runtime, begun: is_begun, ended: is_ended }
    }

    async fn call(channel: Channel, path: &'static str, content: Vec<u8>) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(grpc.unary(Request::new(Bytes::from(content)), path, Raw).await?.into_inner())
    }

    fn search(&self, change: impl FnOnce(&mut HasherServiceSearchRequest)) -> Result<Bytes, Status> {
        self.runtime.block_on(Self::call(self.channel.clone(), Method::Search.path(), request(change)))
    }

    /// Begins an exact search, which goes on until it is stopped.
    fn begin_endless(&self) -> tokio::task::JoinHandle<Result<Bytes, Status>> {
        let content = request(|request| request.exact = true);
        self.runtime.spawn(Self::call(self.channel.clone(), Method::Search.path(), content))
    }

    /// Waits until as many calls have ended in a way.
    fn wait_for(&self, code: Code, count: u64) {
        while self.port.shared().metrics.handled().get(&(Method::Search, code as i32)) != Some(&count) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn request(change: impl FnOnce(&mut HasherServiceSearchRequest)) -> Vec<u8> {
    let mut request = small::request();
    change(&mut request);
    request.encode_to_vec()
}

#[test]
fn a_search_is_answered_with_documents_and_scores() {
    let served = Served::new();
    let answer = HasherServiceSearchResponse::decode(served.search(|_| ()).unwrap()).unwrap();
    assert_eq!((answer.codes_total, answer.position, answer.results.len()), (40, 1, 1));
    let hits = &answer.results[0].hits;
    assert_eq!(hits.len(), 3);
    assert!(hits.iter().all(|hit| hit.len() == 11 && hit.starts_with(&[0x12, 4, b'i']) && hit[6] == 0x1d));
}

#[test]
fn what_is_not_served_or_too_large_is_refused() {
    let served = Served::new();
    let call = |path, content| served.runtime.block_on(Served::call(served.channel.clone(), path, content));
    assert_eq!(call("/lookalike.v1.HasherService/Apply", vec![]).unwrap_err().code(), Code::Unimplemented);
    assert_eq!(call(Method::Check.path(), vec![]).unwrap_err().code(), Code::NotFound);
    served.port.shared().health.set("", true);
    assert_eq!(call(Method::Check.path(), vec![]).unwrap(), [8, 1][..]);
    let error = call(Method::Search.path(), vec![0; (1 << 16) + 1]).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.message(), "SERVER: Received message larger than max (65537 vs. 65536)");
    let error = call(Method::Search.path(), vec![0xff; 9]).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[test]
fn a_search_whose_caller_is_gone_is_stopped_and_leaves_its_place() {
    let served = Served::new();
    let first = served.begin_endless();
    served.begun.recv().unwrap();
    // Exact searches have one thread, and there is room for one that waits.
    let waiting = served.begin_endless();
    while served.port.shared().long_searches.waiting() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let error = served.search(|request| request.exact = true).unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(served.search(|_| ()).is_ok());
    waiting.abort();
    served.wait_for(Code::Cancelled, 1);
    let next = served.begin_endless();
    first.abort();
    served.ended.recv().unwrap();
    // The one that was cancelled before its turn is passed over.
    served.begun.recv().unwrap();
    next.abort();
    served.ended.recv().unwrap();
    served.wait_for(Code::Cancelled, 3);
    assert!(served.begun.try_recv().is_err());
}

#[test]
fn calls_whose_message_does_not_come_take_nobodys_place() {
    let served = Served::new();
    let begin = || {
        let mut grpc = Grpc::new(served.channel.clone());
        let path = http::uri::PathAndQuery::from_static(Method::Search.path());
        served.runtime.spawn(async move {
            grpc.ready().await.unwrap();
            grpc.client_streaming(Request::new(tokio_stream::pending()), path, Raw).await.map(drop)
        })
    };
    let calls: Vec<_> = (0..2 * small::options().most_calls).map(|_| begin()).collect();
    for _ in 0..20 {
        assert!(served.search(|_| ()).is_ok());
    }
    let shared = served.port.shared();
    assert_eq!(shared.metrics.counts.in_progress(Kind::Call), 0);
    assert!(calls.iter().all(|call| !call.is_finished()));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn a_filter_that_is_too_large_is_not_decoded() {
    let served = Served::new();
    let filter = |conditions: usize| Some([0x0a_u8, 0].repeat(conditions).into());
    let error = served.search(|request| request.filter = filter(65)).unwrap_err();
    assert_eq!(error.message(), "filter holds 65 conditions, at most 64 are allowed");
    let error = served.search(|request| request.filter = Some(Bytes::from_static(b"\x0a\x05"))).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let large = filter_of([0xff_u8].repeat((256 << 10) + 1).into(), "filter").unwrap_err();
    assert_eq!(large.message, "filter has 262145 bytes, at most 262144 are allowed together");
}

#[test]
fn ties_beyond_what_the_engine_returns_at_once_are_the_callers_to_avoid() {
    const SAME: u64 = 65_537;
    let served = Served::new();
    let along = |axis: usize, value: f32| {
        let mut vector = [0.0; small::DIM];
        (vector[axis], vector[0]) = (1.0, value);
        vector
    };
    // Those of one vector tie, and make the rows of all as wide.
    let items = (0..3u8).map(|n| along(2, f32::from(n))).chain((0..SAME).map(|_| along(1, 0.0)));
    let vectors: Vec<f32> = items.flatten().collect();
    let ids: Vec<u64> = (0..SAME + 3).collect();
    let options = IndexOptions {
        dim: small::DIM,
        bits: 64,
        family: Family::Hyperplane,
        tables: 1,
        rerank: Rerank::F32,
        rotation: RotationKind::Random,
        seed: 1,
    };
    let index = Arc::new(HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 1).unwrap());
    let model_version = "m".to_owned();
    let published = Published { index, model_version, positions: BTreeMap::new(), vectors: None };
    served.port.shared().registry.publish("ties".into(), published);
    let search = |count: usize| {
        let rest = std::iter::repeat_n(along(2, 0.1), count - 1);
        let vectors: Vec<u8> =
            std::iter::once(along(1, 0.0)).chain(rest).flatten().flat_map(f32::to_le_bytes).collect();
        served.search(|request| {
            request.generation = "ties".into();
            request.exact = true;
            request.vectors_f32_le = vectors.into();
        })
    };
    assert_eq!(HasherServiceSearchResponse::decode(search(2).unwrap()).unwrap().results.len(), 2);
    let refused = search(256).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().starts_with("65537 items have equal scores"), "{refused:?}");
    let details = String::from_utf8_lossy(refused.details());
    assert!(details.contains("BATCH_TOO_LARGE") && details.contains("16777216"), "{details}");
}

#[test]
fn a_search_waits_for_a_position_but_not_for_ever() {
    let served = Served::new();
    let content = request(|request| {
        request.min_positions.insert(0, 2);
    });
    let waiting = served.runtime.spawn(Served::call(served.channel.clone(), Method::Search.path(), content));
    served.port.shared().registry.advance("g", BTreeMap::from([(0, 2)]));
    let answer = served.runtime.block_on(waiting).unwrap().unwrap();
    assert_eq!(HasherServiceSearchResponse::decode(answer).unwrap().position, 2);
}

#[test]
fn calls_that_do_not_end_by_themselves_are_ended_when_the_port_stops() {
    let served = Served::new();
    let running = served.begin_endless();
    served.begun.recv().unwrap();
    served.port.stop(Duration::ZERO);
    served.ended.recv().unwrap();
    let error = served.runtime.block_on(running).unwrap().unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "the server is about to stop"));
}
