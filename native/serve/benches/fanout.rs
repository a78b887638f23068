//! The CPU time that one search of all shards costs the gateway, next to that of bare calls of tonic and a merge;
//! `cargo bench -p lookalike-serve`. The shards are processes of their own.

#[path = "../tests/common/raw.rs"]
mod raw;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lookalike_serve::fanout::{Fanout, Found, Layout, Search, Wanted, answer_of, headers_of};
use lookalike_serve::v1::{HasherServiceSearchRequest, HasherServiceSearchResponse, ShardHits, ShardTiming};
use prost::Message;
use raw::Raw;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, uri::PathAndQuery};
use tonic::metadata::MetadataMap;
use tonic::server::UnaryService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, server};

const SHARDS: usize = 2;
const HITS: usize = 10;
const ROUNDS: usize = 5;
const SEARCHES: usize = 2_000;
const SHARD: &str = "shard";
const WANTED: Wanted = Wanted { k: HITS, group_by_product: true, min_score: -1.0, matching: None };
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, Message)]
struct Hit {
    #[prost(string, tag = "1")]
    product_id: String,
    #[prost(string, tag = "2")]
    item_id: String,
    #[prost(float, tag = "3")]
    score: f32,
    #[prost(string, tag = "4")]
    image_url: String,
}

/// A shard that always gives the same answer.
#[derive(Clone)]
struct Shard(Bytes);

impl Shard {
    fn new(number: usize) -> Self {
        let hit = |rank: usize| Hit {
            product_id: format!("product-{number}-{rank:06}"),
            item_id: format!("item-{number}-{rank:06}"),
            score: 1.0 - 0.01 * rank as f32,
            image_url: "u".repeat(150),
        };
        let hits = (0..HITS).map(|rank| hit(rank).encode_to_vec().into()).collect();
        let answer = HasherServiceSearchResponse {
            results: vec![ShardHits { hits, codes_scanned: 10_000 }],
            codes_total: 1_000_000,
            position: 7,
            timing: Some(ShardTiming::default()),
        };
        Self(answer.encode_to_vec().into())
    }

    /// Serves until the process is killed, and prints its address.
    fn serve(self) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap());
            // Otherwise the end of an answer waits for the acknowledgement of its beginning.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tonic::transport::Server::builder().serve_with_incoming(self, incoming).await.unwrap();
        });
    }
}

impl UnaryService<Bytes> for Shard {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(self.0.clone())))
    }
}

impl Service<Request<Body>> for Shard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shard = self.clone();
        Box::pin(async move { Ok(server::Grpc::new(Raw).unary(shard, request).await) })
    }
}

struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(number: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        let mut child =
            command.args([SHARD, &number.to_string()]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Searches, and calls what it is given once the search has ended.
trait Searches {
    fn begin(&self, done: Box<dyn FnOnce(usize) + Send>);
}

fn hits(found: &Found) -> usize {
    assert!(found.failures.is_empty() && found.mistake.is_none(), "{found:?}");
    found.results[0].0.count
}

impl Searches for (Fanout, Search) {
    fn begin(&self, done: Box<dyn FnOnce(usize) + Send>) {
        self.0.search(self.1.clone(), move |found| done(hits(&found)));
    }
}

/// What cannot be saved: a call of each shard, as tonic makes it, and the merge.
struct Bare {
    runtime: Runtime,
    channels: Vec<Channel>,
    search: Search,
}

impl Bare {
    fn new(addresses: &[Process], search: Search) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let channels = addresses
            .iter()
            .map(|process| {
                let endpoint = Endpoint::from_shared(format!("http://{}", process.address)).unwrap();
                endpoint.tcp_nodelay(true).connect_lazy()
            })
            .collect();
        Self { runtime, channels, search }
    }
}

async fn call(channel: Channel, search: Search) -> HasherServiceSearchResponse {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(search.request);
    *request.metadata_mut() = MetadataMap::from_headers(search.headers);
    request.set_timeout(search.timeout);
    let path = PathAndQuery::from_static("/lookalike.v1.HasherService/Search");
    answer_of(grpc.unary(request, path, Raw).await.unwrap().into_inner(), 1).unwrap()
}

impl Searches for Bare {
    fn begin(&self, done: Box<dyn FnOnce(usize) + Send>) {
        let (channels, search) = (self.channels.clone(), self.search.clone());
        self.runtime.spawn(async move {
            let [one, other] = &channels[..] else { unreachable!("there are two shards") };
            let (one, other) =
                tokio::join!(call(one.clone(), search.clone()), call(other.clone(), search.clone()));
            let mut found = Found::default();
            found.take(vec![(0, one), (1, other)], 1, search.wanted);
            done(hits(&found));
        });
    }
}

/// The CPU time of all threads but the calling one.
fn cpu_of_others() -> Duration {
    let spent = |clock| Duration::try_from(clock_gettime(clock)).expect("clocks of CPU time begin at zero");
    let own = spent(ClockId::ThreadCPUTime);
    spent(ClockId::ProcessCPUTime) - own
}

/// Returns the microseconds of CPU time of a search while so many are in progress.
fn cost(searches: &dyn Searches, at_once: usize) -> f64 {
    let (sender, receiver) = channel();
    let begin = || {
        let sender = sender.clone();
        searches.begin(Box::new(move |hits| sender.send(hits).unwrap()));
    };
    let before = cpu_of_others();
    (0..at_once).for_each(|_| begin());
    for ended in 1..=SEARCHES {
        assert_eq!(receiver.recv().unwrap(), HITS);
        if ended + at_once <= SEARCHES {
            begin();
        }
    }
    (cpu_of_others() - before).as_secs_f64() * 1e6 / SEARCHES as f64
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == SHARD) {
        return Shard::new(arguments[2].parse().unwrap()).serve();
    }
    let shards: Vec<Process> = (0..SHARDS).map(Process::start).collect();
    let vectors_f32_le = vec![0x3d; 1_024].into();
    let request = HasherServiceSearchRequest {
        generation: "g".repeat(40),
        model_version: "m".repeat(60),
        vectors_f32_le,
        k: HITS as u32,
        ..HasherServiceSearchRequest::default()
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let search = Search {
        request: request.encode_to_vec().into(),
        vectors: 1,
        wanted: WANTED,
        needed: HashMap::new(),
        timeout: TIMEOUT,
        enough: 1.0,
        headers: headers_of([
            ("x-request-id".into(), "0af7651916cd43dd8448eb211c80319c".into()),
            ("traceparent".into(), trace.into()),
        ]),
        shard_headers: HashMap::new(),
        is_aside: false,
    };
    let layout = Layout {
        shards: shards.iter().map(|shard| vec![shard.address.clone()]).collect(),
        installation_id: "home".into(),
        layout_epoch: 1,
        max_message_bytes: 1 << 24,
    };
    let fanout = (Fanout::new(&layout, &(Arc::new(|_, _| ()) as _)).unwrap(), search.clone());
    let bare = Bare::new(&shards, search);
    for at_once in [1, 8] {
        cost(&fanout, at_once);
        cost(&bare, at_once);
        let costs: Vec<(f64, f64)> =
            (0..ROUNDS).map(|_| (cost(&fanout, at_once), cost(&bare, at_once))).collect();
        let of_fanout = median(costs.iter().map(|(fanout, _)| *fanout).collect());
        let ratio = median(costs.iter().map(|(fanout, bare)| fanout / bare).collect());
        println!("{at_once} at once: {of_fanout:.1} µs of CPU a search, {ratio:.2} of bare calls");
    }
}
