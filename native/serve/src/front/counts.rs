//! What is counted: calls in progress, the size of their requests, refusals, and ends that nobody else sees.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::Code;

use super::ending::Ending;
use crate::failure::Failure;

const CODES: usize = 17;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What counts together against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request and one answer.
    Call,
    /// A stream in either direction.
    Stream,
    /// Health and reflection.
    Probe,
}

impl Kind {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 3] =
        [(Self::Call, "call"), (Self::Stream, "stream"), (Self::Probe, "probe")];
}

/// Why a call was refused before it was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There are too many of its kind.
    TooMany,
    /// The requests in progress are too large together.
    TooLarge,
    /// The server is about to stop.
    Stopping,
    /// There are too many of its method.
    Limited,
    /// Its client does not read the answers to others.
    Unread,
}

impl Cause {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 5] = [
        (Self::TooMany, "too_many"),
        (Self::TooLarge, "too_large"),
        (Self::Stopping, "stopping"),
        (Self::Limited, "limited"),
        (Self::Unread, "unread"),
    ];
}

/// A method that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// `/package.Service/Method`.
    pub path: String,
    /// What it counts as.
    pub kind: Kind,
    /// Whether its requests are a stream.
    pub streams_requests: bool,
    /// Whether its answers are.
    pub streams_responses: bool,
}

impl Served {
    /// Whether it is a probe that lasts, such as `Health.Watch`.
    pub(super) fn is_watch(&self) -> bool {
        self.kind == Kind::Probe && self.streams_responses
    }

    /// What a refused call ends with.
    pub(crate) fn refusal(&self, cause: Cause) -> Failure {
        let too_many = match self.kind {
            Kind::Call => "the server has too many calls in progress",
            Kind::Stream => "the server has too many streams open",
            Kind::Probe if self.is_watch() => "the server has too many watchers of its health",
            Kind::Probe => "the server has too many health checks in progress",
        };
        let message = match cause {
            Cause::TooMany | Cause::Limited => too_many,
            Cause::TooLarge => "the requests in progress are too large together",
            Cause::Unread => "the client does not read the answers that it has got",
            Cause::Stopping => return Failure::shutting_down(),
        };
        Failure::overloaded(message, RETRY_AFTER)
    }
}

/// A method with what is counted of it.
#[derive(Debug)]
pub struct Method {
    /// What is served.
    pub served: Served,
    /// Its place among the methods.
    pub number: usize,
    /// By cause; many are needed under overload, so these are ready.
    refusals: [Ending; Cause::ALL.len()],
    limit: Mutex<Option<Arc<Limit>>>,
    running: AtomicUsize,
    /// Calls that a client sent again.
    pub retried: AtomicU64,
    /// Calls that were beyond its limit.
    pub limited: AtomicU64,
    ended: [AtomicU64; CODES],
}

/// Calls of one method that there may be, and how more of them end.
#[derive(Debug)]
struct Limit {
    most: usize,
    refusal: Ending,
}

impl Method {
    /// Refuses its calls while so many of them are in progress; none: no more than of any other.
    pub fn set_limit(&self, most: Option<usize>, message: &str, retry_after: Duration) {
        let refusal = || Ending::from(&Failure::overloaded(message, retry_after));
        let limit = most.map(|most| Arc::new(Limit { most, refusal: refusal() }));
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// How a call ends that is refused.
    pub(super) fn refusal(&self, cause: Cause) -> Ending {
        self.refusals[cause as usize].clone()
    }

    /// How a call ends that is beyond the limit, which is counted; none: it is not.
    pub(super) fn beyond_limit(&self) -> Option<Ending> {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (self.running.load(Relaxed) >= limit.most).then(|| {
            self.limited.fetch_add(1, Relaxed);
            limit.refusal.clone()
        })
    }

    /// Counts a call that has ended before it was handed over.
    pub(super) fn count_end(&self, code: Code) {
        self.ended[code as usize].fetch_add(1, Relaxed);
    }

    /// Calls that ended before they were handed over, by the number of their code.
    pub fn ended(&self) -> impl Iterator<Item = (usize, u64)> {
        self.ended.iter().map(|count| count.load(Relaxed)).enumerate().filter(|(_, count)| *count > 0)
    }
}

/// What calls may take together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls in progress, by kind.
    pub most: [usize; Kind::ALL.len()],
    /// Size of the requests of calls, those that are on their way included.
    pub request_bytes: u64,
}

/// What is counted of one server.
#[derive(Debug)]
pub struct Counts {
    /// In the order in which they were given.
    pub methods: Vec<Method>,
    by_path: HashMap<String, usize>,
    limits: Limits,
    running: [AtomicUsize; Kind::ALL.len()],
    request_bytes: AtomicU64,
    refused: [[AtomicU64; Cause::ALL.len()]; Kind::ALL.len()],
}

impl Counts {
    pub(crate) fn new(methods: Vec<Served>, limits: Limits) -> Self {
        let by_path = methods.iter().enumerate().map(|(number, method)| (method.path.clone(), number));
        Self {
            by_path: by_path.collect(),
            methods: methods.into_iter().enumerate().map(of_method).collect(),
            limits,
            running: Default::default(),
            request_bytes: AtomicU64::default(),
            refused: Default::default(),
        }
    }

    /// The method of a path; none: it is not served.
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).map(|number| &self.methods[*number])
    }

    /// Calls of a kind that are in progress.
    pub fn in_progress(&self, kind: Kind) -> usize {
        self.running[kind as usize].load(Relaxed)
    }

    /// Size of the requests of calls in progress and on their way, streams and probes apart.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Relaxed)
    }

    /// Calls of a kind that were refused for a cause.
    pub fn refused(&self, kind: Kind, cause: Cause) -> u64 {
        self.refused[kind as usize][cause as usize].load(Relaxed)
    }

    pub(crate) fn count_refusal(&self, kind: Kind, cause: Cause) {
        self.refused[kind as usize][cause as usize].fetch_add(1, Relaxed);
    }

    /// Calls of its kind among which there is room for one more of a method: those that watch leave a tenth to those
    /// that ask once.
    fn most(&self, served: &Served) -> usize {
        let most = self.limits.most[served.kind as usize];
        if served.is_watch() { most - most / 10 } else { most }
    }

    /// Whether there is no room for one more of a method.
    pub(super) fn is_full(&self, served: &Served) -> Option<Cause> {
        let kind = served.kind;
        if self.in_progress(kind) >= self.most(served) {
            return Some(Cause::TooMany);
        }
        let too_large = kind == Kind::Call && self.request_bytes() >= self.limits.request_bytes;
        too_large.then_some(Cause::TooLarge)
    }

    /// Counts a call in progress, until [`Self::leave`]; false: there are too many.
    pub(crate) fn enter(&self, method: &Method) -> bool {
        let kind = method.served.kind as usize;
        if self.running[kind].fetch_add(1, Relaxed) >= self.most(&method.served) {
            self.running[kind].fetch_sub(1, Relaxed);
            return false;
        }
        method.running.fetch_add(1, Relaxed);
        true
    }

    pub(crate) fn leave(&self, method: &Method, request_bytes: u64) {
        self.running[method.served.kind as usize].fetch_sub(1, Relaxed);
        method.running.fetch_sub(1, Relaxed);
        self.give_bytes(request_bytes);
    }

    /// Counts bytes of a request, until [`Self::give_bytes`]; false: with them there are too many.
    pub(crate) fn take_bytes(&self, bytes: u64) -> bool {
        self.request_bytes.fetch_add(bytes, Relaxed) + bytes <= self.limits.request_bytes
    }

    pub(crate) fn give_bytes(&self, bytes: u64) {
        self.request_bytes.fetch_sub(bytes, Relaxed);
    }
}

fn of_method((number, served): (usize, Served)) -> Method {
    Method {
        refusals: Cause::ALL.map(|(cause, _)| Ending::from(&served.refusal(cause))),
        served,
        number,
        limit: Mutex::default(),
        running: AtomicUsize::default(),
        retried: AtomicU64::default(),
        limited: AtomicU64::default(),
        ended: Default::default(),
    }
}
