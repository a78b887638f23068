//! Connections to the search ports, and unary calls on them.
//!
//! The calls are h2's own: a channel of tonic passes each through a queue, two more tasks and a codec, which costs
//! as much CPU time as the rest of a search.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::wire::{end_of, lost, of_stranger, receive, without_message};

// As the channels of the Python services have it (lookalike/wire/channel.py).
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A pod that is gone may not even refuse: then a new one is looked for soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer of 1,000 hits comes in one go.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

type Connection = SendRequest<Bytes>;
/// Nothing as long as the attempt goes on.
type Attempt = watch::Receiver<Option<Result<Connection, Status>>>;

/// The way to one server: connects with the first call, and again after a loss.
pub struct Channel {
    address: Authority,
    latest: Mutex<Option<Attempt>>,
    in_progress: Arc<AtomicUsize>,
    keepalive: Keepalive,
}

/// How often a server that is called gets a ping, and how long its answer may take.
#[derive(Clone, Copy)]
struct Keepalive {
    every: Duration,
    timeout: Duration,
}

impl Channel {
    /// To the server at `host:port`.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub fn new(address: &str) -> Result<Self, InvalidUri> {
        let keepalive = Keepalive { every: KEEPALIVE, timeout: KEEPALIVE_TIMEOUT };
        let address = address.parse()?;
        Ok(Self { address, latest: Mutex::default(), in_progress: Arc::default(), keepalive })
    }

    /// How many calls are in progress.
    pub fn load(&self) -> usize {
        self.in_progress.load(Ordering::Relaxed)
    }

    /// Sends a message that is [`framed`](crate::wire::framed), and returns the message that answers it. Dropped, it ends
    /// the call.
    ///
    /// # Errors
    ///
    /// The status that the call ended with. One with a source is not the server's.
    pub async fn unary(
        &self,
        path: &'static str,
        metadata: HeaderMap,
        message: Bytes,
        most: usize,
    ) -> Result<Bytes, Status> {
        let _load = Load::of(&self.in_progress);
        let mut connection = self.connection().await?;
        let request = self.request(path, metadata);
        let (response, mut sending) = connection.send_request(request, false).map_err(lost)?;
        sending.send_data(message, true).map_err(lost)?;
        let (head, mut body) = response.await.map_err(lost)?.into_parts();
        if let Some(ended) = end_of(&head.headers) {
            return Err(ended.err().unwrap_or_else(without_message));
        }
        if head.status != StatusCode::OK {
            return Err(of_stranger(head.status));
        }
        let message = receive(&mut body, most).await?;
        let trailers = body.trailers().await.map_err(lost)?.unwrap_or_default();
        end_of(&trailers).unwrap_or_else(|| Err(of_stranger(head.status)))?;
        message.ok_or_else(without_message)
    }

    fn request(&self, path: &'static str, metadata: HeaderMap) -> Request<()> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.address.clone());
        uri.path_and_query = Some(PathAndQuery::from_static(path));
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_parts(uri).expect("all of its parts are there");
        *request.headers_mut() = metadata;
        request
    }

    /// The latest connection, if it is still of use, and otherwise a new one: all calls wait for the same.
    async fn connection(&self) -> Result<Connection, Status> {
        let mut attempt = self.attempt();
        let outcome = attempt.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Status::unavailable("connecting was cut short")))
    }

    fn attempt(&self) -> Attempt {
        let mut latest = self.latest.lock().expect("nothing panics while it holds the lock");
        if let Some(attempt) = latest.as_ref().filter(|attempt| is_of_use(attempt)) {
            return attempt.clone();
        }
        let (sender, attempt) = watch::channel(None);
        let (address, keepalive) = (self.address.clone(), self.keepalive);
        let in_progress = Arc::clone(&self.in_progress);
        // A call that is given up while it waits does not end it: another one may wait, too.
        tokio::spawn(async move {
            let connected = timeout(CONNECT_TIMEOUT, connect(&address, keepalive, in_progress)).await;
            let failed = |why: &dyn fmt::Display| Status::unavailable(format!("{address}: {why}"));
            let outcome = match connected {
                Ok(outcome) => outcome.map_err(|error| failed(&error)),
                Err(late) => Err(failed(&late)),
            };
            // Nobody may wait any more.
            let _ = sender.send(Some(outcome));
        });
        *latest = Some(attempt.clone());
        attempt
    }
}

/// Whether an attempt goes on, or has led to a connection that is not lost.
fn is_of_use(attempt: &Attempt) -> bool {
    match &*attempt.borrow() {
        None => attempt.has_changed().is_ok(),
        Some(Err(_)) => false,
        Some(Ok(connection)) => {
            let ready = connection.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
            !matches!(ready, Poll::Ready(Err(_)))
        }
    }
}

/// Connects; TLS would be set here.
async fn connect(
    address: &Authority,
    keepalive: Keepalive,
    in_progress: Arc<AtomicUsize>,
) -> io::Result<Connection> {
    let stream = dial(address).await?;
    stream.set_nodelay(true)?;
    let mut builder = Builder::new();
    builder.enable_push(false).initial_window_size(STREAM_WINDOW);
    builder.initial_connection_window_size(CONNECTION_WINDOW);
    let (sender, mut connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    let pings = connection.ping_pong().expect("it was not taken yet");
    tokio::spawn(async move {
        tokio::select! {
            biased;
            // Its calls are told why it ended.
            _ = connection => {}
            () = falls_silent(pings, keepalive, &in_progress) => {}
        }
    });
    Ok(sender)
}

/// A name may stand for several addresses, each of which gets its share of the time.
async fn dial(address: &Authority) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host(address.as_str()).await?.collect();
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for one in &addresses {
        let share = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        outcome = timeout(share, TcpStream::connect(one)).await.unwrap_or_else(|late| Err(late.into()));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Returns when the other side is called and does not answer a ping.
async fn falls_silent(mut pings: PingPong, keepalive: Keepalive, in_progress: &AtomicUsize) {
    loop {
        sleep(keepalive.every).await;
        let is_idle = in_progress.load(Ordering::Relaxed) == 0;
        if !is_idle && !matches!(timeout(keepalive.timeout, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// One call in progress.
struct Load<'a>(&'a AtomicUsize);

impl<'a> Load<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use tokio::net::TcpListener;
    use tokio::runtime::{Builder, Runtime};

    use super::super::tests::server::{Does, Server};
    use super::super::wire::{headers_of_call, with_timeout};
    use super::*;
    use crate::wire::framed;

    const LONG: Duration = Duration::from_secs(30);
    const MOST: usize = 1 << 20;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn with_pings(address: &str) -> Channel {
        let keepalive = Keepalive { every: Duration::from_millis(20), timeout: Duration::from_secs(2) };
        Channel { keepalive, ..Channel::new(address).unwrap() }
    }

    async fn call(channel: &Channel) -> Result<Bytes, Status> {
        let headers = with_timeout(&headers_of_call(HeaderMap::new()), LONG);
        channel.unary("/test/Call", headers, framed(b"a"), MOST).await
    }

    #[test]
    fn an_answer_of_many_frames_is_put_together() {
        for size in [0, 1, 16_379, 16_380, MOST] {
            let answer = Bytes::from_iter((0..size).map(|byte| byte as u8));
            let server = Server::start(Does::Answer(answer.clone()));
            let channel = Channel::new(&server.address.to_string()).unwrap();
            assert_eq!(runtime().block_on(call(&channel)).unwrap(), answer);
        }
    }

    #[test]
    fn a_server_that_answers_no_ping_is_lost_and_a_slow_one_is_not() {
        let slow = Server::start(Does::AnswerAfter(Duration::from_millis(500), Bytes::new()));
        runtime().block_on(async {
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let channel = with_pings(&silent.local_addr().unwrap().to_string());
            let lost = call(&channel).await.unwrap_err();
            assert!(lost.source().is_some(), "{lost:?}");
            call(&with_pings(&slow.address.to_string())).await.unwrap();
        });
    }

    #[test]
    fn calls_that_begin_together_share_one_connection() {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let channel = Channel::new(&listener.local_addr().unwrap().to_string()).unwrap();
            let connections = tokio::join!(channel.connection(), channel.connection());
            assert!(connections.0.is_ok() && connections.1.is_ok());
            listener.accept().await.unwrap();
            let more = timeout(Duration::from_millis(50), listener.accept()).await;
            assert!(more.is_err(), "there is one more");
        });
    }
}
