//! `HasherService.Search` and health: admit, receive, check, search, answer.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use lookalike_core::threads::Stop;
use tokio::sync::{oneshot, watch};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use super::call::Call;
use super::checks::{Query, query_of};
use super::events::{Defect, Event, Events};
use super::health::Health;
use super::metrics::{Method, Metrics, Stage};
use super::pool::Pool;
use super::registry::{Generation, Registry};
use super::sampling::Sampling;
use super::search::{self, NoAnswer, Work};
use crate::caller::NOTICED;
use crate::failure::Failure;
use crate::messages::{Messages, NotReceived};
use crate::v1::HasherServiceSearchRequest;
use crate::wire::{self, decoded};

/// Searches of more vectors than this take their turn with the exact ones.
const MOST_VECTORS: usize = 64;
/// Share of a call's remaining time that may be spent waiting, so that the answer still arrives in time.
const WAIT_SHARE: f64 = 0.9;
/// How long a message may be on its way: who begins a call has it at hand.
const ARRIVAL: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the calls of one server share.
pub struct Shared {
    /// What is served.
    pub registry: Registry,
    /// Whether it is.
    pub health: Health,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is logged and traced.
    pub events: Arc<Events>,
    /// Which calls are traced.
    pub sampling: Sampling,
    /// Limit of one message in either direction.
    pub most_message_bytes: usize,
    /// The longest wait for a position of the log.
    pub position_wait: Duration,
    /// Threads of ordinary searches.
    pub searches: Pool,
    /// Threads of those that take long.
    pub long_searches: Pool,
    /// Set when the server is about to stop.
    pub stopping: watch::Sender<bool>,
    /// Set when calls that still run are ended.
    pub cut: watch::Sender<bool>,
}

/// Answers calls; clones share everything.
#[derive(Clone)]
pub struct Server(pub Arc<Shared>);

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.answered(request).await) })
    }
}

/// Why a call ends without an answer.
enum Refused {
    Failure(Failure),
    /// By something that is not described.
    Status(Status),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Shared {
    async fn answered(&self, request: Request<Body>) -> Response<Body> {
        let Some(method) = Method::of(request.uri().path()) else {
            let name = request.uri().path().rsplit('/').next().unwrap_or_default();
            return Status::unimplemented(format!("{name} is not served on the search port")).into_http();
        };
        let (head, body) = request.into_parts();
        let mut call = Call::begin(&self.metrics, &self.events, self.sampling, method, &head.headers);
        let (cut, time) = (self.cut.subscribe(), call.remaining());
        let answer = tokio::select! {
            answer = self.answer(method, &mut call, body) => answer,
            () = is_set(cut) => Err(Failure::shutting_down().into()),
            () = is_over(time) => Err(Refused::Status(Status::deadline_exceeded("Deadline Exceeded"))),
        };
        match answer {
            Ok(content) if method == Method::Watch => self.watched(content, call),
            Ok(content) => {
                let response = wire::message(&content, &call.request_id);
                call.end(Code::Ok);
                response
            }
            Err(Refused::Failure(failure)) => {
                let response = wire::failure(&failure, &call.request_id);
                call.fail(failure);
                response
            }
            Err(Refused::Status(status)) => {
                call.end(status.code());
                status.into_http()
            }
        }
    }

    /// The encoded answer; of `Watch` the request, which is for the stream.
    async fn answer(&self, method: Method, call: &mut Call, body: Body) -> Result<Bytes, Refused> {
        let accept = |size| call.take_bytes(size);
        let mut messages = Messages::new(body, self.most_message_bytes, false);
        let request = tokio::time::timeout(ARRIVAL, wire::receive(&mut messages, ARRIVAL, accept)).await;
        let late = |_| Refused::Status(Status::deadline_exceeded("the message did not arrive in time"));
        let request = request.map_err(late)?.map_err(|error| match error {
            NotReceived::Status(status) => Refused::Status(status),
            NotReceived::Refused(failure) => Refused::Failure(failure),
        })?;
        // Only now: a call that never comes whole must not take the place of one that does.
        call.enter()?;
        let answer = match method {
            Method::Search => self.search(request, call).await?,
            Method::Check => self.health.check(request)?,
            Method::Watch => request,
        };
        Ok(answer)
    }

    fn watched(&self, request: Bytes, call: Call) -> Response<Body> {
        let request_id = call.request_id.clone();
        match self.health.watch(request, self.stopping.subscribe(), call) {
            Ok(changes) => wire::response(Body::new(changes)),
            Err(failure) => wire::failure(&failure, &request_id),
        }
    }

    async fn search(&self, request: Bytes, call: &mut Call) -> Result<Bytes, Failure> {
        let begun = Instant::now();
        let request: HasherServiceSearchRequest = decoded(request)?;
        let exact = request.exact;
        let generation = self.registry.generation(request.target.as_ref(), &request.generation)?;
        let waits = Instant::now();
        let most = call
            .remaining()
            .map_or(self.position_wait, |remaining| self.position_wait.min(remaining.mul_f64(WAIT_SHARE)));
        let reached = generation.reach(&request.min_positions, most).await;
        let waited = waits.elapsed();
        self.metrics.stage(Stage::Position, exact).observe(waited.as_secs_f64(), call.trace_id());
        reached?;
        let query = query_of(request, &generation.model_version, generation.index.options().dim);
        let converted = begun.elapsed().saturating_sub(waited);
        match query {
            Ok(query) => self.run(generation, query, converted, call).await,
            Err(failure) => {
                self.metrics.stage(Stage::Convert, exact).observe(converted.as_secs_f64(), call.trace_id());
                Err(failure)
            }
        }
    }

    /// Searches in a thread of its pool. If nobody waits any more the search ends soon.
    async fn run(
        &self,
        generation: Arc<Generation>,
        mut query: Query,
        converted: Duration,
        call: &mut Call,
    ) -> Result<Bytes, Failure> {
        let exact = query.options.exact;
        let long = exact || query.count > MOST_VECTORS;
        let pool = if long { &self.long_searches } else { &self.searches };
        let unneeded = StopOnDrop(Stop::default());
        let (stop, queued) = (unneeded.0.clone(), Instant::now());
        let begun_after = call.elapsed();
        if let Some(trace) = &mut call.trace {
            trace.stages.0 = begun_after;
        }
        let (send, answer) = oneshot::channel();
        let most = self.most_message_bytes;
        let work = move || {
            let begun = Instant::now();
            let answer = || search::answer(&generation, &mut query, &stop, most);
            let answer = catch_unwind(AssertUnwindSafe(answer));
            let _ = send.send((answer, begun - queued, begun.elapsed()));
        };
        if !pool.submit(unneeded.0.clone(), work) {
            return Err(Failure::overloaded("too many searches wait for a thread", RETRY_AFTER));
        }
        let Ok((answer, waited, took)) = answer.await else { return Err(Failure::shutting_down()) };
        self.metrics.stage(Stage::Queue, exact).observe(waited.as_secs_f64(), call.trace_id());
        let problem = match answer {
            Ok(Ok((answer, work))) => {
                let stages = self.observe(&work, exact, converted, took, call.trace_id());
                if let Some(trace) = &mut call.trace {
                    trace.stages.1 = [("queue", waited.as_secs_f64())].into_iter().chain(stages).collect();
                    trace.scanned = Some(work.scanned);
                }
                return Ok(answer);
            }
            Ok(Err(NoAnswer::Stopped)) => return Err(Failure::shutting_down()),
            Ok(Err(NoAnswer::TooLarge(size))) => return Err(too_large(size, most)),
            Ok(Err(NoAnswer::TooManyTies { results, most })) => return Err(too_many_ties(results, most)),
            Ok(Err(NoAnswer::Failed(problem))) => problem,
            Err(panic) => {
                self.metrics.panics.fetch_add(1, Relaxed);
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                format!("the engine has panicked: {}", text.unwrap_or("for a reason without text"))
            }
        };
        let request_id = call.request_id();
        let method = Method::Search.path();
        self.events.add(Event::Defect(Defect { method, request_id: request_id.to_owned(), problem }));
        Err(Failure::internal(request_id))
    }

    /// Counts what a search was, and returns its stages in a thread.
    fn observe(
        &self,
        work: &Work,
        exact: bool,
        converted: Duration,
        took: Duration,
        trace_id: Option<u128>,
    ) -> [(&'static str, f64); 5] {
        let (metrics, seconds) = (&self.metrics, work.seconds);
        let engine = [
            (Stage::Hash, "hash", seconds.hash),
            (Stage::Probe, "probe", seconds.probe),
            (Stage::Scan, "scan", seconds.scan),
            (Stage::Rerank, "rerank", seconds.rerank),
        ];
        let rest = (took.as_secs_f64() - engine.iter().map(|(.., seconds)| seconds).sum::<f64>()).max(0.0);
        metrics.stage(Stage::Convert, exact).observe(converted.as_secs_f64() + rest, trace_id);
        for (stage, _, seconds) in engine {
            metrics.stage(stage, exact).observe(seconds, trace_id);
        }
        metrics.scanned.fetch_add(work.scanned, Relaxed);
        metrics.probed.fetch_add(work.probed, Relaxed);
        metrics.reranked[usize::from(exact)].fetch_add(work.reranked, Relaxed);
        let [hash, probe, scan, rerank] = engine.map(|(_, name, seconds)| (name, seconds));
        [hash, probe, scan, rerank, ("convert", rest)]
    }
}

fn too_large(size: usize, most: usize) -> Failure {
    let message = format!(
        "the answer has {size} bytes, more than one message may have; ask for fewer results at once (the limit is \
         {most})"
    );
    Failure::invalid(message).because("BATCH_TOO_LARGE").with("max_bytes", most)
}

fn too_many_ties(results: usize, most: usize) -> Failure {
    let message = format!(
        "{results} items have equal scores for a vector; search fewer vectors at once, or with a filter (the limit \
         is {most} results of all vectors, each with as many as the vector that has most)"
    );
    Failure::invalid(message).because("BATCH_TOO_LARGE").with("max_results", most)
}

/// Stops a search when its call is dropped.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

async fn is_over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time.saturating_sub(NOTICED)).await,
        None => std::future::pending().await,
    }
}

async fn is_set(mut flag: watch::Receiver<bool>) {
    if flag.wait_for(|set| *set).await.is_err() {
        std::future::pending::<()>().await;
    }
}
