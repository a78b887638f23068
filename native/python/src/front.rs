//! `NativeFront`: a gRPC server whose calls are answered in Python.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use lookalike_serve::front::{
    Arrival, Call, Cause, Counts, Ending, Front, Kind, Limits, Method, Note, Options, Served,
};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bell::Bell;
use crate::metadata::{Value, pairs_of, trailers_of};
use crate::os_error_of;

/// Number of a call, what it is about, and a message.
type PyNote<'py> = (u64, &'static str, Bound<'py, PyBytes>);

/// A call in progress.
#[pyclass(frozen, module = "lookalike._native")]
pub struct NativeCall(Call);

#[pymethods]
impl NativeCall {
    #[getter]
    fn number(&self) -> u64 {
        self.0.about().number
    }

    #[getter]
    fn method(&self) -> usize {
        self.0.about().method
    }

    #[getter]
    fn request_id(&self) -> &str {
        self.0.about().request_id.to_str().unwrap_or_default()
    }

    fn request<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.about().request)
    }

    fn headers<'py>(&self, py: Python<'py>) -> Vec<(&str, Value<'py>)> {
        pairs_of(py, &self.0.about().headers)
    }

    fn remaining(&self) -> Option<f64> {
        let (deadline, now) = (self.0.about().deadline?, Instant::now());
        let late = now.saturating_duration_since(deadline).as_secs_f64();
        Some(deadline.saturating_duration_since(now).as_secs_f64() - late)
    }

    fn waited(&self) -> f64 {
        self.0.about().arrived.elapsed().as_secs_f64()
    }

    fn peer(&self) -> String {
        let peer = self.0.about().peer;
        let (host, port) = (peer.ip().to_canonical(), peer.port());
        let version = if host.is_ipv4() { "ipv4" } else { "ipv6" };
        format!("{version}:{}", SocketAddr::new(host, port))
    }

    fn receive(&self) {
        self.0.receive();
    }

    fn send(&self, message: &[u8]) -> PyResult<()> {
        let problem = "there is no stream of answers, or its last message has not been sent";
        self.0.send(message).then_some(()).ok_or_else(|| PyRuntimeError::new_err(problem))
    }

    fn answer(&self, message: &[u8]) {
        self.0.answer(message);
    }

    fn end(&self, code: i32, message: &str, trailers: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<()> {
        self.0.end(Ending::status(code.into(), message, trailers_of(trailers)?));
        Ok(())
    }
}

/// The server.
#[pyclass(frozen, module = "lookalike._native")]
pub struct NativeFront {
    front: Front,
    arrivals: Arc<Bell<Arrival>>,
}

#[pymethods]
impl NativeFront {
    #[new]
    #[pyo3(signature = (
        methods, *, max_calls, max_streams, max_probes, max_request_bytes, max_message_bytes, keepalive_seconds,
        keepalive_timeout_seconds, max_connection_age_seconds, max_connection_age_grace_seconds, idle_seconds
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        methods: Vec<(String, String, bool, bool)>,
        max_calls: usize,
        max_streams: usize,
        max_probes: usize,
        max_request_bytes: u64,
        max_message_bytes: usize,
        keepalive_seconds: f64,
        keepalive_timeout_seconds: f64,
        max_connection_age_seconds: f64,
        max_connection_age_grace_seconds: f64,
        idle_seconds: f64,
    ) -> PyResult<Self> {
        let unless_zero = |value: f64| Ok::<_, PyErr>(Some(seconds(value)?).filter(|time| !time.is_zero()));
        let options = Options {
            methods: methods.into_iter().map(served).collect::<PyResult<_>>()?,
            limits: Limits { most: [max_calls, max_streams, max_probes], request_bytes: max_request_bytes },
            most_message_bytes: max_message_bytes,
            keepalive: (seconds(keepalive_seconds)?, seconds(keepalive_timeout_seconds)?),
            age: (unless_zero(max_connection_age_seconds)?, unless_zero(max_connection_age_grace_seconds)?),
            idle: seconds(idle_seconds)?,
        };
        let arrivals = Arc::new(Bell::new()?);
        let added = Arc::clone(&arrivals);
        let front = Front::new(options, Arc::new(move |arrival| added.add(arrival)))
            .map_err(|error| os_error_of(&error, None))?;
        Ok(Self { front, arrivals })
    }

    fn bind(&self, address: &str, port: u16) -> PyResult<u16> {
        let host: IpAddr =
            address.parse().map_err(|_| PyValueError::new_err("the address is not numeric"))?;
        self.front.bind(SocketAddr::new(host, port)).map_err(|error| os_error_of(&error, None))
    }

    fn start(&self) {
        self.front.start();
    }

    fn fileno(&self) -> i32 {
        self.arrivals.fileno()
    }

    /// New calls, and what is to be known of others.
    fn arrived<'py>(&self, py: Python<'py>) -> (Vec<NativeCall>, Vec<PyNote<'py>>) {
        let (mut calls, mut notes) = (vec![], vec![]);
        for arrival in self.arrivals.take() {
            let (number, note) = match arrival {
                Arrival::Call(call) => {
                    calls.push(NativeCall(call));
                    continue;
                }
                Arrival::Note(number, note) => (number, note),
            };
            if note == Note::Cancelled
                && let Some(place) = calls.iter().rposition(|call: &NativeCall| call.number() == number)
            {
                // A task that is cancelled before it has begun would count nothing.
                calls.remove(place).0.unseen();
                continue;
            }
            let (what, message) = match &note {
                Note::Message(message) => ("message", &message[..]),
                Note::End => ("end", &[][..]),
                Note::Sent => ("sent", &[][..]),
                Note::Cancelled => ("cancelled", &[][..]),
            };
            notes.push((number, what, PyBytes::new(py, message)));
        }
        (calls, notes)
    }

    fn limit(
        &self,
        method: &str,
        most: Option<usize>,
        message: &str,
        retry_after_seconds: f64,
    ) -> PyResult<()> {
        let retry_after = seconds(retry_after_seconds)?;
        self.method(method)?.set_limit(most, message, retry_after);
        Ok(())
    }

    fn limited(&self, method: &str) -> PyResult<u64> {
        Ok(self.method(method)?.limited.load(Relaxed))
    }

    fn in_progress(&self, kind: &str) -> PyResult<usize> {
        Ok(self.front.counts().in_progress(kind_of(kind)?))
    }

    fn request_bytes(&self) -> u64 {
        self.front.counts().request_bytes()
    }

    fn refused(&self) -> Vec<(&'static str, &'static str, u64)> {
        refused(self.front.counts())
    }

    fn ended(&self) -> Vec<(usize, usize, u64)> {
        let methods = self.front.counts().methods.iter();
        methods.flat_map(|one| one.ended().map(|(code, count)| (one.number, code, count))).collect()
    }

    fn retried(&self) -> Vec<(usize, u64)> {
        let methods = self.front.counts().methods.iter();
        methods.map(|one| (one.number, one.retried.load(Relaxed))).collect()
    }

    fn begin_stop(&self) {
        self.front.begin_stop();
    }

    fn close(&self, py: Python<'_>, linger_seconds: f64) -> PyResult<()> {
        let linger = seconds(linger_seconds)?;
        py.detach(|| self.front.close(linger));
        Ok(())
    }
}

impl NativeFront {
    fn method(&self, path: &str) -> PyResult<&Method> {
        self.front.counts().method(path).ok_or_else(|| PyKeyError::new_err("the method is not served"))
    }
}

/// Kind and cause, and how many calls were refused so.
pub fn refused(counts: &Counts) -> Vec<(&'static str, &'static str, u64)> {
    let all = Kind::ALL.iter().flat_map(|kind| Cause::ALL.iter().map(move |cause| (kind, cause)));
    all.map(|(kind, cause)| (kind.1, cause.1, counts.refused(kind.0, cause.0))).collect()
}

impl Drop for NativeFront {
    fn drop(&mut self) {
        // What waits there holds what calls are counted with, which holds what waits there.
        drop(self.arrivals.take());
    }
}

fn served(
    (path, kind, streams_requests, streams_responses): (String, String, bool, bool),
) -> PyResult<Served> {
    Ok(Served { path, kind: kind_of(&kind)?, streams_requests, streams_responses })
}

fn kind_of(name: &str) -> PyResult<Kind> {
    let found = Kind::ALL.iter().find(|(_, known)| *known == name);
    found.map(|(kind, _)| *kind).ok_or_else(|| PyValueError::new_err(format!("there is no kind {name:?}")))
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
