//! The hasher's search port: `HasherService.Search` and `grpc.health.v1`, answered next to the engine.
//!
//! One call runs through these modules, in this order:
//!
//! | step | module |
//! |---|---|
//! | request id, limits, what is counted and traced | [`call`], [`metrics`], [`sampling`] |
//! | the message | [`wire`] |
//! | is it meant for this shard, which generation | [`checks`], [`registry`] |
//! | its options and filters | [`checks`], [`filters`] |
//! | a thread | [`pool`] |
//! | the search, with vectors as they were written | [`search`], [`exact`], [`vectors`] |
//! | its answer, or why there is none | [`hits`], [`failure`] |

pub mod call;
pub mod checks;
pub mod events;
mod exact;
pub mod filters;
pub mod health;
pub mod hits;
pub mod metrics;
pub mod pool;
pub mod registry;
pub mod sampling;
pub mod search;
pub mod service;
pub mod text;
pub mod vectors;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;

use health::Health;
use metrics::Metrics;
use pool::Pool;
use registry::{Identity, Registry};
use sampling::Sampling;
use service::{Server, Shared};

use crate::front::{Kind, Limits};

/// Streams that a client may open on a connection; more wait there. The limit of calls refuses earlier, with a reason.
const MOST_STREAMS: u32 = 10_000;
/// Cancelled calls of a connection that may wait to be noticed; a burst of hedged calls cancels many.
const MOST_RESETS: usize = 2_000;
const MOST_PROBES: usize = 1_000;
/// Between the end of the grace and that of calls which do not end.
const BACKSTOP: Duration = Duration::from_secs(1);
/// After the last answer connections are given this long to carry it: a peer that hangs confirms nothing.
const LINGER: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// How a port serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the shard is.
    pub identity: Identity,
    /// Why it cannot answer until it is loaded.
    pub unloaded: String,
    /// Ordinary searches at once.
    pub search_threads: usize,
    /// Searches of each kind that wait for a thread.
    pub most_waiting: usize,
    /// Searches in progress beyond it are refused.
    pub most_calls: usize,
    /// Limit of the size of their requests together.
    pub most_request_bytes: u64,
    /// Limit of one message in either direction.
    pub most_message_bytes: usize,
    /// The longest wait for a position of the log.
    pub position_wait: Duration,
    /// Time after which a silent peer is asked whether it is still there, and that it has to answer.
    pub keepalive: (Duration, Duration),
    /// After this time clients are asked to connect again.
    pub connection_age: Option<Duration>,
    /// Upper bounds of the histograms of stages and of calls, in seconds.
    pub bounds: (Vec<f64>, Vec<f64>),
    /// Which calls are traced.
    pub sampling: Sampling,
}

/// A port that serves from its first [`Port::bind`] to [`Port::stop`].
pub struct Port {
    shared: Arc<Shared>,
    options: Options,
    runtime: Mutex<Option<Runtime>>,
    listeners: Mutex<Vec<JoinHandle<()>>>,
}

impl Port {
    /// Starts its threads.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn new(options: Options) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.search_threads.div_ceil(4).max(1))
            .thread_name("search-port")
            .enable_all()
            .build()?;
        let most = [options.most_calls, 0, MOST_PROBES];
        let limits = Limits { most, request_bytes: options.most_request_bytes };
        let shared = Arc::new(Shared {
            registry: Registry::new(options.identity.clone(), &options.unloaded),
            health: Health::default(),
            metrics: Arc::new(Metrics::new(limits, &options.bounds.0, &options.bounds.1)),
            events: Arc::default(),
            sampling: options.sampling,
            most_message_bytes: options.most_message_bytes,
            position_wait: options.position_wait,
            searches: Pool::start("search", options.search_threads, options.most_waiting)?,
            long_searches: Pool::start("search-long", 1, options.most_waiting)?,
            stopping: watch::Sender::new(false),
            cut: watch::Sender::new(false),
        });
        Ok(Self { shared, options, runtime: Mutex::new(Some(runtime)), listeners: Mutex::default() })
    }

    /// What its calls share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What answers its calls, whichever way they come.
    pub fn server(&self) -> Server {
        Server(Arc::clone(&self.shared))
    }

    /// Serves on an address, too, and returns its port.
    ///
    /// # Errors
    ///
    /// It cannot be bound, or the port has stopped.
    pub fn bind(&self, address: SocketAddr) -> io::Result<u16> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or_else(|| io::Error::other("the port has stopped"))?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let _context = runtime.enter();
        let incoming =
            TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        let (interval, timeout) = self.options.keepalive;
        let mut server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(interval))
            .http2_keepalive_timeout(Some(timeout))
            .http2_max_pending_accept_reset_streams(Some(MOST_RESETS))
            .max_concurrent_streams(MOST_STREAMS);
        if let Some(age) = self.options.connection_age {
            server = server.max_connection_age(age);
        }
        let mut stopping = self.shared.stopping.subscribe();
        let service = self.server();
        let listener = runtime.spawn(async move {
            let stop = async move {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            // What goes wrong with a connection ends that connection.
            let _ = server.serve_with_incoming_shutdown(service, incoming, stop).await;
        });
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        Ok(port)
    }

    /// Takes no more connections, gives running calls `grace` to end, ends them, and frees the port.
    pub fn stop(&self, grace: Duration) {
        let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.stopping.send_replace(true);
        runtime.block_on(async {
            let mut ends = Box::pin(async {
                for listener in listeners {
                    let _ = listener.await;
                }
            });
            let answered = async {
                while self.shared.metrics.counts.in_progress(Kind::Call) > 0 {
                    tokio::time::sleep(POLL).await;
                }
                tokio::time::sleep(LINGER).await;
            };
            let over = async {
                tokio::select! {
                    () = &mut ends => (),
                    () = answered => (),
                }
            };
            if tokio::time::timeout(grace, over).await.is_err() {
                self.shared.cut.send_replace(true);
                let _ = tokio::time::timeout(BACKSTOP, ends).await;
            }
        });
        runtime.shutdown_timeout(BACKSTOP);
        self.shared.searches.close();
        self.shared.long_searches.close();
        self.shared.events.close();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
