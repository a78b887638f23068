//! The search port: what Python publishes, and what it reads of the work.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, UNIX_EPOCH};

use lookalike_core::threads::Stop;
use lookalike_serve::front::Kind;
use lookalike_serve::port::events::{Defect, Event, Trace};
use lookalike_serve::port::metrics::{Exemplar, Histogram, Method, Reading, Stage};
use lookalike_serve::port::registry::{Identity, Published};
use lookalike_serve::port::sampling::Sampling;
use lookalike_serve::port::vectors::{Rows, Vectors};
use lookalike_serve::port::{Options, Port};
use numpy::PyReadonlyArray2;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::front::refused;
use crate::{NativeIndex, os_error_of};

/// `(installation id, shard, shards, layout epoch)`.
type PyIdentity = (String, u32, u32, u64);
/// Row numbers, item ids, products, and a matrix of vectors.
type PyRows<'py> = (Vec<u64>, Vec<String>, Vec<u64>, PyReadonlyArray2<'py, f32>);

/// Method, request id and problem of each defect; and calls that are traced.
type PyEvents = (Vec<(&'static str, String, String)>, Vec<PyTrace>);

/// Counts, sum, and bucket, trace id, value and time of each exemplar.
type PyHistogram = (Vec<u64>, f64, Vec<(usize, u128, f64, f64)>);

/// See `lookalike_serve::port::events::Trace`.
#[derive(IntoPyObject)]
struct PyTrace {
    method: &'static str,
    trace_id: u128,
    traceparent: Option<String>,
    tracestate: Option<String>,
    request_id: String,
    begun_ns: u64,
    took_seconds: f64,
    stages_after_seconds: f64,
    stages: Vec<(&'static str, f64)>,
    codes_scanned: Option<u64>,
    code: i32,
    failure: Option<(&'static str, String)>,
}

impl From<Trace> for PyTrace {
    fn from(trace: Trace) -> Self {
        let begun = trace.begun.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (traceparent, tracestate) = trace.origin.parent.unzip();
        Self {
            method: trace.method,
            trace_id: trace.origin.trace_id,
            traceparent,
            tracestate: tracestate.flatten(),
            request_id: trace.request_id,
            begun_ns: begun.as_nanos() as u64,
            took_seconds: trace.took.as_secs_f64(),
            stages_after_seconds: trace.stages.0.as_secs_f64(),
            stages: trace.stages.1,
            codes_scanned: trace.scanned,
            code: trace.code as i32,
            failure: trace.failure,
        }
    }
}

fn identity((installation_id, shard, shard_count, layout_epoch): PyIdentity) -> Identity {
    Identity { installation_id, shard, shard_count, layout_epoch }
}

/// A callable that returns the vectors of row numbers, in parts.
struct PyVectors(Py<PyAny>);

impl Vectors for PyVectors {
    fn read(&self, numbers: &[u64], stop: &Stop, take: &mut (dyn FnMut(Rows) + Send)) -> Result<(), String> {
        Python::attach(|py| {
            for part in self.0.bind(py).call1((numbers.to_vec(),))?.try_iter()? {
                if stop.is_set() {
                    break;
                }
                let (numbers, item_ids, products, vectors) = part?.extract::<PyRows>()?;
                let rows = Rows { numbers, item_ids, products, vectors: vectors.as_slice()?.to_vec() };
                // To score them needs no interpreter.
                py.detach(|| take(rows));
            }
            Ok(())
        })
        .map_err(|error: PyErr| error.to_string())
    }
}

/// Answers searches and health checks on a port of its own, without the GIL.
#[pyclass(frozen, module = "lookalike._native")]
pub struct SearchPort(Port);

#[pymethods]
impl SearchPort {
    #[new]
    #[pyo3(signature = (
        *, identity, unloaded, search_threads, max_waiting, max_calls, max_request_bytes, max_message_bytes,
        position_wait_seconds, keepalive_seconds, keepalive_timeout_seconds, max_connection_age_seconds,
        stage_bounds, call_bounds, trace_sample_ratio
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        identity: PyIdentity,
        unloaded: String,
        search_threads: usize,
        max_waiting: usize,
        max_calls: usize,
        max_request_bytes: u64,
        max_message_bytes: usize,
        position_wait_seconds: f64,
        keepalive_seconds: f64,
        keepalive_timeout_seconds: f64,
        max_connection_age_seconds: f64,
        stage_bounds: Vec<f64>,
        call_bounds: Vec<f64>,
        trace_sample_ratio: Option<f64>,
    ) -> PyResult<Self> {
        let age = seconds(max_connection_age_seconds)?;
        let options = Options {
            identity: self::identity(identity),
            unloaded,
            search_threads,
            most_waiting: max_waiting,
            most_calls: max_calls,
            most_request_bytes: max_request_bytes,
            most_message_bytes: max_message_bytes,
            position_wait: seconds(position_wait_seconds)?,
            keepalive: (seconds(keepalive_seconds)?, seconds(keepalive_timeout_seconds)?),
            connection_age: (!age.is_zero()).then_some(age),
            bounds: (stage_bounds, call_bounds),
            sampling: Sampling::new(trace_sample_ratio),
        };
        Port::new(options).map(Self).map_err(|error| PyOSError::new_err(error.to_string()))
    }

    fn bind(&self, py: Python<'_>, address: &str, port: u16) -> PyResult<u16> {
        let host: IpAddr =
            address.parse().map_err(|_| PyValueError::new_err("the address is not numeric"))?;
        py.detach(|| self.0.bind(SocketAddr::new(host, port))).map_err(|error| os_error_of(&error, None))
    }

    #[pyo3(signature = (generation, index, *, model_version, positions, vectors))]
    fn publish(
        &self,
        generation: String,
        index: &NativeIndex,
        model_version: String,
        positions: BTreeMap<u32, u64>,
        vectors: Option<Py<PyAny>>,
    ) {
        let index = index.shared();
        let vectors = vectors.map(|callable| std::sync::Arc::new(PyVectors(callable)) as _);
        let published = Published { index, model_version, positions, vectors };
        self.0.shared().registry.publish(generation, published);
    }

    fn advance(&self, generation: &str, positions: BTreeMap<u32, u64>) {
        self.0.shared().registry.advance(generation, positions);
    }

    fn withdraw(&self, generation: &str) {
        self.0.shared().registry.withdraw(generation);
    }

    fn set_identity(&self, identity: PyIdentity) {
        self.0.shared().registry.set_identity(self::identity(identity));
    }

    fn set_loaded(&self) {
        self.0.shared().registry.loaded();
    }

    fn set_serving(&self, service: &str, serving: bool) {
        self.0.shared().health.set(service, serving);
    }

    fn stop(&self, py: Python<'_>, grace_seconds: f64) -> PyResult<()> {
        let grace = seconds(grace_seconds)?;
        py.detach(|| self.0.stop(grace));
        Ok(())
    }

    /// What there is to log and to trace; None: there will be nothing any more.
    fn events(&self, py: Python<'_>, patience_seconds: f64) -> PyResult<Option<PyEvents>> {
        let patience = seconds(patience_seconds)?;
        let events = py.detach(|| self.0.shared().events.take(patience));
        let sorted = |events: Vec<Event>| {
            let (mut defects, mut traces) = (vec![], vec![]);
            for event in events {
                match event {
                    Event::Defect(Defect { method, request_id, problem }) => {
                        defects.push((method, request_id, problem));
                    }
                    Event::Trace(trace) => traces.push(PyTrace::from(*trace)),
                }
            }
            (defects, traces)
        };
        Ok(events.map(sorted))
    }

    /// What was counted so far; see the stub.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (shared, out) = (self.0.shared(), PyDict::new(py));
        let metrics = &shared.metrics;
        let stages = Stage::ALL.into_iter().flat_map(|(stage, name)| {
            [false, true].map(|exact| (name, exact, histogram(metrics.stage(stage, exact))))
        });
        out.set_item("stages", stages.collect::<Vec<_>>())?;
        let handling =
            Method::ALL.map(|method| (method.kind(), method.path(), histogram(metrics.handling(method))));
        out.set_item("handling", handling.to_vec())?;
        let handled = metrics.handled().into_iter();
        let handled = handled.map(|((method, code), count)| (method.kind(), method.path(), code, count));
        out.set_item("handled", handled.collect::<Vec<_>>())?;
        let methods = metrics.counts.methods.iter();
        let retried = methods.map(|method| (&*method.served.path, method.retried.load(Relaxed)));
        out.set_item("retried", retried.collect::<Vec<_>>())?;
        out.set_item("codes_scanned", metrics.scanned.load(Relaxed))?;
        out.set_item("buckets_probed", metrics.probed.load(Relaxed))?;
        out.set_item(
            "reranked",
            [false, true].map(|exact| metrics.reranked[usize::from(exact)].load(Relaxed)),
        )?;
        out.set_item("running", [Kind::Call, Kind::Probe].map(|kind| metrics.counts.in_progress(kind)))?;
        out.set_item("request_bytes", metrics.counts.request_bytes())?;
        out.set_item("refused", refused(&metrics.counts))?;
        let waiting = [&shared.searches, &shared.long_searches].map(|pool| pool.waiting());
        out.set_item("waiting", waiting)?;
        out.set_item("panics", metrics.panics.load(Relaxed))?;
        out.set_item("events_dropped", shared.events.dropped())?;
        Ok(out)
    }
}

fn histogram(read: &Histogram) -> PyHistogram {
    let Reading { counts, sum, exemplars } = read.read();
    let seen = |(bucket, seen): (usize, Exemplar)| {
        let at = seen.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        (bucket, seen.trace_id, seen.value, at.as_secs_f64())
    };
    (counts, sum, exemplars.into_iter().map(seen).collect())
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|error| PyValueError::new_err(format!("{value} seconds: {error}")))
}
