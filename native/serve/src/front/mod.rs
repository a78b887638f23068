//! The transport of a gRPC server: HTTP/2, framing, limits, deadlines and refusals. What a call asks for is decided by
//! whom it is handed to.
//!
//! | step | module |
//! |---|---|
//! | the connection, its age and its end | [`connection`] |
//! | what has not been sent on it | [`client`] |
//! | is there room, the message, the deadline | [`service`] |
//! | what comes after a refusal | [`draining`] |
//! | the call in progress | [`call`] |
//! | how it ends | [`ending`] |
//! | what is counted | [`counts`] |

pub mod binary;
pub mod call;
mod client;
mod connection;
pub mod counts;
mod draining;
pub mod ending;
mod service;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use call::{About, Call};
pub use counts::{Cause, Counts, Kind, Limits, Method, Served};
pub use ending::Ending;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;
/// After connections were cut they are given this long to be gone.
const BACKSTOP: Duration = Duration::from_secs(1);

/// How a server serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it serves.
    pub methods: Vec<Served>,
    /// What calls may take together.
    pub limits: Limits,
    /// Limit of one message of a request.
    pub most_message_bytes: usize,
    /// Time after which a silent peer is asked whether it is still there, and that it has to answer.
    pub keepalive: (Duration, Duration),
    /// After the first clients are asked to connect again, after the second more they are cut off.
    pub age: (Option<Duration>, Option<Duration>),
    /// The longest silence while a request is on its way.
    pub idle: Duration,
}

/// What whom calls are handed to is to know.
pub enum Arrival {
    /// A new call.
    Call(Call),
    /// Something about a call, by its number.
    Note(u64, Note),
}

/// Something about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The message that was asked for.
    Message(Bytes),
    /// There are no more messages.
    End,
    /// There is room for another message.
    Sent,
    /// Nobody waits any more.
    Cancelled,
}

/// Is called on the thread that calls arrive on, and must not wait.
pub type OnArrival = Arc<dyn Fn(Arrival) + Send + Sync>;

/// What a server is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No new calls; those that have come go on, and those that are on their way may come.
    Stopping,
    /// What is still on its way comes too late.
    Closing,
    Cut,
}

struct Shared {
    counts: Counts,
    on_arrival: OnArrival,
    next: AtomicU64,
    most_message_bytes: usize,
    keepalive: (Duration, Duration),
    age: (Option<Duration>, Option<Duration>),
    idle: Duration,
    phase: watch::Sender<Phase>,
    /// Connections and listeners that there are.
    open: watch::Sender<usize>,
}

impl Shared {
    fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, phase.max(*now)) < phase);
    }

    fn is_stopping(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }
}

/// A server from [`Front::bind`] to [`Front::close`].
pub struct Front {
    shared: Arc<Shared>,
    io: Handle,
    /// Those that are bound and not served yet.
    bound: Mutex<Vec<TcpListener>>,
}

impl Front {
    /// One that serves nothing yet.
    ///
    /// # Errors
    ///
    /// The operating system refuses the thread.
    pub fn new(options: Options, on_arrival: OnArrival) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            counts: Counts::new(options.methods, options.limits),
            on_arrival,
            next: AtomicU64::default(),
            most_message_bytes: options.most_message_bytes,
            keepalive: options.keepalive,
            age: options.age,
            idle: options.idle,
            phase: watch::Sender::new(Phase::Serving),
            open: watch::Sender::new(0),
        });
        Ok(Self { shared, io: crate::io::handle()?, bound: Mutex::default() })
    }

    /// What is counted.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Binds an address, too, and returns its port; connections wait until [`Front::start`].
    ///
    /// # Errors
    ///
    /// It cannot be bound.
    pub fn bind(&self, address: SocketAddr) -> io::Result<u16> {
        let _inside = self.io.enter();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        Ok(port)
    }

    /// Takes the connections to what is bound.
    pub fn start(&self) {
        for listener in std::mem::take(&mut *self.bound.lock().unwrap_or_else(PoisonError::into_inner)) {
            connection::listen(&self.io, &self.shared, listener);
        }
    }

    /// Takes no more connections and no more calls, and asks clients to go elsewhere; calls go on.
    pub fn begin_stop(&self) {
        self.shared.enter(Phase::Stopping);
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Refuses calls that have not come whole, waits until the connections have ended, at most so long, and cuts those
    /// that are left.
    pub fn close(&self, linger: Duration) {
        self.begin_stop();
        self.shared.enter(Phase::Closing);
        let mut open = self.shared.open.subscribe();
        self.io.block_on(async {
            if tokio::time::timeout(linger, open.wait_for(|open| *open == 0)).await.is_err() {
                self.shared.enter(Phase::Cut);
                let _ = tokio::time::timeout(BACKSTOP, open.wait_for(|open| *open == 0)).await;
            }
        });
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.enter(Phase::Cut);
    }
}
