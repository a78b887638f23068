//! One call from its start to its end: its request id, its status, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue};
use tonic::Code;

use super::events::{Event, Events, Trace};
use super::health::Ended;
use super::metrics::{Method, Metrics};
use super::sampling::{Origin, Sampling};
use crate::caller::{code_of_cancelled, is_retry, random, request_id, timeout};
use crate::failure::Failure;
use crate::front::{Cause, Kind, Method as Counted};
use crate::wire::trailers;

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
    has_entered: bool,
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
            metrics.counts.methods[method as usize].retried.fetch_add(1, Relaxed);
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
            has_entered: false,
            bytes: 0,
            events: Arc::clone(events),
            trace,
        }
    }

    /// Its method, as calls of it are counted.
    fn counted(&self) -> &Counted {
        &self.metrics.counts.methods[self.method as usize]
    }

    /// Counts it among those in progress.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn enter(&mut self) -> Result<(), Failure> {
        self.has_entered = self.metrics.counts.enter(self.counted());
        if self.has_entered { Ok(()) } else { Err(self.refused(Cause::TooMany)) }
    }

    /// Counts bytes of its request that have arrived.
    ///
    /// # Errors
    ///
    /// Those in progress are too large together.
    pub fn take_bytes(&mut self, size: usize) -> Result<(), Failure> {
        if self.counted().served.kind == Kind::Probe {
            return Ok(());
        }
        self.bytes += size as u64;
        if self.metrics.counts.take_bytes(size as u64) { Ok(()) } else { Err(self.refused(Cause::TooLarge)) }
    }

    fn refused(&self, cause: Cause) -> Failure {
        let served = &self.counted().served;
        self.metrics.counts.count_refusal(served.kind, cause);
        served.refusal(cause)
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
        if self.has_entered {
            self.metrics.counts.leave(self.counted(), self.bytes);
        } else {
            self.metrics.counts.give_bytes(self.bytes);
        }
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
    use crate::front::Limits;

    #[test]
    fn who_watches_health_leaves_room_to_ask_for_it() {
        let limits = Limits { most: [1, 0, 20], request_bytes: 0 };
        let (metrics, events) = (Arc::new(Metrics::new(limits, &[], &[])), Arc::default());
        let enter = |method| {
            let mut call = Call::begin(&metrics, &events, Sampling::new(None), method, &HeaderMap::new());
            call.enter().map(|()| call)
        };
        let watched: Vec<_> = (0..18).map(|_| enter(Method::Watch).ok().unwrap()).collect();
        let refused = enter(Method::Watch).err().unwrap();
        assert_eq!(refused.message, "the server has too many watchers of its health");
        let checks: Vec<_> = [Method::Check; 2].map(|method| enter(method).ok().unwrap()).into();
        assert!(enter(Method::Check).is_err() && enter(Method::Search).is_ok());
        drop((watched, checks));
        assert_eq!(metrics.counts.in_progress(Kind::Probe), 0);
    }
}
