//! A shard's search port of the tests: a real server that does what a test asks of it.

#[path = "../../../tests/common/raw.rs"]
mod raw;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::{Grpc, UnaryService};

use raw::Raw;

/// What a server does with each call.
#[derive(Clone, Debug)]
pub enum Does {
    Answer(Bytes),
    AnswerAfter(Duration, Bytes),
    Hang,
    Fail(Status),
}

#[derive(Default)]
struct Seen {
    does: Mutex<Option<Does>>,
    requests: Mutex<Vec<(Bytes, Option<String>)>>,
    cancelled: AtomicUsize,
}

/// A server on its own thread.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    runtime: Option<Runtime>,
}

impl Server {
    pub fn start(does: Does) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), does)
    }

    pub fn start_at(address: SocketAddr, does: Does) -> Self {
        let seen = Arc::new(Seen { does: Mutex::new(Some(does)), ..Seen::default() });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener: TcpListener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            socket.listen(64).unwrap()
        });
        let address = listener.local_addr().unwrap();
        let port = Port(Arc::clone(&seen));
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder().serve_with_incoming(port, incoming).await.unwrap();
        });
        Self { address, seen, runtime: Some(runtime) }
    }

    pub fn set(&self, does: Does) {
        *self.seen.does.lock().unwrap() = Some(does);
    }

    /// The requests of searches, and the request ids that came with them.
    pub fn requests(&self) -> Vec<(Bytes, Option<String>)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How many calls ended before they were answered.
    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::Relaxed)
    }

    /// Ends it as a kill does: its connections break.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(5));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Port(Arc<Seen>);

/// Counts a call that is dropped before its answer.
struct Waiting {
    seen: Arc<Seen>,
    is_answered: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_answered {
            self.seen.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl UnaryService<Bytes> for Port {
    type Response = Bytes;
    type Future = Answer<tonic::Response<Bytes>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let id = request.metadata().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        let message = request.into_inner();
        if !message.is_empty() {
            self.0.requests.lock().unwrap().push((message, id));
        }
        let waiting = Waiting { seen: Arc::clone(&self.0), is_answered: false };
        let does = self.0.does.lock().unwrap().clone().unwrap();
        Box::pin(async move {
            // All of it: the call would be counted as soon as this future is made.
            let mut waiting = waiting;
            let answer = match does {
                Does::Answer(answer) => Ok(answer),
                Does::AnswerAfter(delay, answer) => {
                    tokio::time::sleep(delay).await;
                    Ok(answer)
                }
                Does::Hang => std::future::pending().await,
                Does::Fail(status) => Err(status),
            };
            waiting.is_answered = true;
            answer.map(tonic::Response::new)
        })
    }
}

impl Service<Request<Body>> for Port {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let port = self.clone();
        Box::pin(async move { Ok(Grpc::new(Raw).unary(port, request).await) })
    }
}
