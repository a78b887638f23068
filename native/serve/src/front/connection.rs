//! Connections: how they are taken, how old they get, how they end.

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::future::pending;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::client::Client;
use super::service::respond;
use super::{Phase, Shared};

/// Streams that a client may open on a connection; more wait there. The limit of calls refuses earlier, with a reason.
/// A stream counts until all of it is sent: so many answers of statuses alone may wait for a client that does not read.
const MOST_STREAMS: u32 = 10_000;
/// Cancelled calls of a connection that may wait to be noticed; a burst of hedged calls cancels many.
const MOST_RESETS: usize = 2_000;
const MOST_HEADER_BYTES: u32 = 16 << 10;
/// An upload of 10 MB over a link of 150 ms takes five round trips.
pub(super) const STREAM_WINDOW: u32 = 2 << 20;
/// What streams hold back that are not read must leave room for the other calls of the connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Connections that began together do not end together: they live this share longer or shorter.
const AGE_SPREAD: f64 = 0.1;
/// What every connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between attempts where the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts something that is open until it is dropped.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Takes the connections of a listener until the server stops.
pub(super) fn listen(io: &Handle, shared: &Arc<Shared>, listener: TcpListener) {
    let open = Open::new(shared);
    io.spawn(async move {
        let mut phases = open.0.phase.subscribe();
        let stopping = phases.wait_for(|phase| *phase > Phase::Serving);
        tokio::select! {
            _ = stopping => (),
            never = accept(&open.0, &listener) => match never {},
        }
    });
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(Open::new(shared), stream, peer));
            }
            // A client that has gone, or no room for another one.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve(open: Open, mut stream: TcpStream, peer: SocketAddr) {
    let shared = &open.0;
    let mut phases = shared.phase.subscribe();
    let has_begun = tokio::select! {
        biased;
        // Who has not begun cannot be asked whether it is still there, but has as long to say so.
        begun = timeout(shared.keepalive.1, begins(&mut stream)) => matches!(begun, Ok(Ok(true))),
        _ = phases.wait_for(|phase| *phase > Phase::Serving) => false,
    };
    if !has_begun {
        return;
    }
    let (reader, writer) = stream.split();
    let stream = TokioIo::new(join(PREFACE.chain(reader), writer));
    let client = Arc::new(Client::new(peer));
    let service = service_fn(|request| {
        let (shared, client) = (Arc::clone(shared), Arc::clone(&client));
        async move { Ok::<_, Infallible>(respond(shared, client, request).await) }
    });
    let mut connection = pin!(builder(shared).serve_connection(stream, service));
    // The server may have stopped since the connection was taken.
    phases.mark_changed();
    let mut age = pin!(after(shared.age.0.map(spread)));
    let mut grace = None;
    loop {
        tokio::select! {
            biased;
            // What goes wrong with a connection ends that connection.
            _ = &mut connection => return,
            _ = phases.changed() => match *phases.borrow_and_update() {
                Phase::Serving => (),
                Phase::Stopping | Phase::Closing => connection.as_mut().graceful_shutdown(),
                Phase::Cut => return,
            },
            () = &mut age, if grace.is_none() => {
                connection.as_mut().graceful_shutdown();
                grace = Some(Box::pin(after(shared.age.1)));
            },
            () = async { grace.as_mut().expect("it is asked for then only").await }, if grace.is_some() => return,
        }
    }
}

/// Reads the preface; false: the connection begins in another way.
async fn begins(stream: &mut TcpStream) -> io::Result<bool> {
    let mut begin = [0; PREFACE.len()];
    let mut size = 0;
    while size < PREFACE.len() {
        let more = stream.read(&mut begin[size..]).await?;
        size += more;
        if more == 0 || begin[..size] != PREFACE[..size] {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

fn spread(age: Duration) -> Duration {
    let random = (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64;
    age.mul_f64(1.0 + AGE_SPREAD * (2.0 * random - 1.0))
}

fn builder(shared: &Shared) -> http2::Builder<TokioExecutor> {
    let (interval, timeout) = shared.keepalive;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .max_concurrent_streams(MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_header_list_size(MOST_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .auto_date_header(false);
    builder
}
