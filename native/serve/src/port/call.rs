//! One call from its start to its end: its request id, its status, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue};
use tonic::Code;

use super::events::{Event, Events, Trace};
use super::health::Ended;
use super::metrics::{Method, Metrics, Refusal};
use super::sampling::{Origin, Sampling};
use crate::caller::{code_of_cancelled, is_retry, random, request_id, timeout};
use crate::failure::Failure;
use crate::wire::trailers;

const MAX_PROBES: i64 = 1_000;
/// Who watches health leaves room to ask for it.
const MAX_WATCHED: i64 = MAX_PROBES - MAX_PROBES / 10;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What calls may take together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls beyond it are refused, but for health.
    pub calls: usize,
    /// Of the requests in progress.
    pub bytes: u64,
}

/// A call; it is counted until it is dropped.
pub struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    start: Instant,
    /// When its caller gives up.
    deadline: Option<Instant>,
    /// Sent back, and written to the log.
    pub request_id: HeaderValue,
    code: Option<Code>,
    counted: bool,
    bytes: u64,
    events: Arc<Events>,
    /// Of a call that is traced.
    pub trace: Option<Box<Trace>>,
}

impl Call {
    /// Begins one.
    pub fn begin(
        metrics: &Arc<Metrics>,
        events: &Arc<Events>,
        sampling: Sampling,
        method: Method,
        headers: &HeaderMap,
    ) -> Self {
        let start = Instant::now();
        if is_retry(headers) {
            metrics.retried[method as usize].fetch_add(1, Relaxed);
        }
        let request_id = request_id(headers);
        let origin = (method == Method::Search).then(|| sampling.origin(headers, random)).flatten();
        let trace = origin.map(|origin| begun(origin, method, &request_id));
        let deadline = timeout(headers).and_then(|timeout| start.checked_add(timeout));
        Self {
            metrics: Arc::clone(metrics),
            method,
            start,
            deadline,
            request_id,
            code: None,
            counted: false,
            bytes: 0,
            events: Arc::clone(events),
            trace,
        }
    }

    fn is_probe(&self) -> bool {
        self.method != Method::Search
    }

    /// Counts it among those in progress.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn enter(&mut self, limits: Limits) -> Result<(), Failure> {
        let (probe, metrics) = (self.is_probe(), &self.metrics);
        let (most, what) = match self.method {
            Method::Search => (limits.calls as i64, "calls in progress"),
            Method::Check => (MAX_PROBES, "health checks in progress"),
            Method::Watch => (MAX_WATCHED, "watchers of its health"),
        };
        let running = metrics.running[usize::from(probe)].fetch_add(1, Relaxed);
        self.counted = true;
        if running >= most {
            metrics.refused(probe, Refusal::TooMany).fetch_add(1, Relaxed);
            return Err(Failure::overloaded(&format!("the server has too many {what}"), RETRY_AFTER));
        }
        Ok(())
    }

    /// Counts bytes of its request that have arrived.
    ///
    /// # Errors
    ///
    /// Those in progress are too large together.
    pub fn take_bytes(&mut self, size: usize, limits: Limits) -> Result<(), Failure> {
        if self.is_probe() {
            return Ok(());
        }
        let size = size as u64;
        self.bytes += size;
        let before = self.metrics.bytes.fetch_add(size, Relaxed);
        if before + size > limits.bytes {
            self.metrics.refused(false, Refusal::TooLarge).fetch_add(1, Relaxed);
            return Err(Failure::overloaded("the server has too many calls in progress", RETRY_AFTER));
        }
        Ok(())
    }

    /// The time that is left to answer.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Its request id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The id of its trace, if it is traced.
    pub fn trace_id(&self) -> Option<u128> {
        self.trace.as_ref().map(|trace| trace.origin.trace_id)
    }

    /// The time since it began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Ends it.
    pub fn end(mut self, code: Code) {
        self.code = Some(code);
    }

    /// Ends it with a failure.
    pub fn fail(mut self, failure: Failure) {
        if let Some(trace) = &mut self.trace {
            trace.failure = Some((failure.reason, failure.message));
        }
        self.end(failure.code);
    }
}

impl Ended for Call {
    fn ended(self, into: &mut HeaderMap) {
        *into = trailers(&self.request_id);
        self.end(Code::Ok);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.counted {
            self.metrics.running[usize::from(self.is_probe())].fetch_sub(1, Relaxed);
        }
        self.metrics.bytes.fetch_sub(self.bytes, Relaxed);
        let (code, took) = (self.code.unwrap_or(code_of_cancelled(self.deadline)), self.start.elapsed());
        self.metrics.ended(self.method, code, took.as_secs_f64(), self.trace_id());
        if let Some(mut trace) = self.trace.take() {
            (trace.code, trace.took) = (code, took);
            self.events.add(Event::Trace(trace));
        }
    }
}

/// The beginning of a traced call's trace.
fn begun(origin: Origin, method: Method, request_id: &HeaderValue) -> Box<Trace> {
    Box::new(Trace {
        method: method.path(),
        origin,
        request_id: request_id.to_str().unwrap_or_default().to_owned(),
        begun: SystemTime::now(),
        took: Duration::ZERO,
        stages: (Duration::ZERO, vec![]),
        scanned: None,
        code: Code::Unknown,
        failure: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_health_leaves_room_to_ask_for_it() {
        let (metrics, events) = (Arc::new(Metrics::new(&[], &[])), Arc::default());
        let enter = |method| {
            let mut call = Call::begin(&metrics, &events, Sampling::new(None), method, &HeaderMap::new());
            call.enter(Limits { calls: 0, bytes: 0 }).map(|()| call)
        };
        let (mut watched, mut checks) = (vec![], vec![]);
        let refused = loop {
            match enter(Method::Watch) {
                Ok(call) => watched.push(call),
                Err(failure) => break failure,
            }
        };
        assert_eq!(
            (watched.len(), refused.message.as_str()),
            (900, "the server has too many watchers of its health")
        );
        while let Ok(call) = enter(Method::Check) {
            checks.push(call);
        }
        assert_eq!(checks.len(), 100);
    }
}
