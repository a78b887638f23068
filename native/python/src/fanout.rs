//! `NativeFanout`: the gateway's searches on the thread of all calls.
//!
//! Nothing there needs the GIL: what comes of a search waits until the event loop takes it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lookalike_serve::fanout::{
    Calibration, Failure, Fanout, Found, Kind, Layout, Matching, Running, Search, Wanted, headers_of, merge,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::bell::Bell;

type Pairs = Vec<(String, String)>;
/// `(kind, encoded google.rpc.Status)`.
type FailureTuple<'py> = (&'static str, Bound<'py, PyBytes>);
/// `(slope, threshold, weight of the density, mean density, lowest probability)`.
type MatchingTuple = (f64, f64, f64, f64, f32);
/// `(encoded hits, hits, best score, probability of the best, codes scanned)`.
type ResultTuple<'py> = (Bound<'py, PyBytes>, usize, Option<f32>, Option<f32>, u64);
/// `(number, results of the vectors, shards that answered, failures, caller's mistake, codes in all, seconds of the
/// stages, seconds of the shards, seconds of merging)`.
type FoundTuple<'py> = (
    u64,
    Vec<ResultTuple<'py>>,
    Vec<usize>,
    Vec<(usize, FailureTuple<'py>)>,
    Option<FailureTuple<'py>>,
    u64,
    (f64, f64, f64, f64),
    Vec<(usize, f64)>,
    f64,
);

/// What has come.
enum Arrival {
    Found(u64, Box<Found>),
    Silence(usize, bool),
}

/// A search in progress.
#[pyclass(frozen, module = "lookalike._native")]
pub struct NativeSearch {
    #[pyo3(get)]
    number: u64,
    running: Running,
}

#[pymethods]
impl NativeSearch {
    fn cancel(&self) {
        self.running.cancel();
    }
}

/// The fan-out.
#[pyclass(frozen, module = "lookalike._native")]
pub struct NativeFanout {
    fanout: Fanout,
    arrivals: Arc<Bell<Arrival>>,
    next: AtomicU64,
}

#[pymethods]
impl NativeFanout {
    #[new]
    #[pyo3(signature = (shards, *, installation_id, layout_epoch, max_message_bytes))]
    fn new(
        shards: Vec<Vec<String>>,
        installation_id: String,
        layout_epoch: u64,
        max_message_bytes: usize,
    ) -> PyResult<Self> {
        let arrivals = Arc::new(Bell::new()?);
        let layout = Layout { shards, installation_id, layout_epoch, max_message_bytes };
        let noted = Arc::clone(&arrivals);
        let fanout = Fanout::new(
            &layout,
            &(Arc::new(move |shard, is_silent| noted.add(Arrival::Silence(shard, is_silent))) as _),
        );
        let fanout = fanout.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => PyValueError::new_err(error.to_string()),
            _ => PyOSError::new_err(error.to_string()),
        })?;
        Ok(Self { fanout, arrivals, next: AtomicU64::new(0) })
    }

    fn fileno(&self) -> i32 {
        self.arrivals.fileno()
    }

    #[pyo3(signature = (
        request, *, vectors, k, group_by_product, min_score, matching, needed, timeout_seconds, enough, headers,
        shard_headers, aside,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn search(
        &self,
        request: &[u8],
        vectors: usize,
        k: usize,
        group_by_product: bool,
        min_score: f32,
        matching: Option<MatchingTuple>,
        needed: HashMap<usize, Vec<u8>>,
        timeout_seconds: f64,
        enough: f64,
        headers: Pairs,
        shard_headers: HashMap<usize, Pairs>,
        aside: bool,
    ) -> PyResult<NativeSearch> {
        let timeout =
            Duration::try_from_secs_f64(timeout_seconds).map_err(|e| PyValueError::new_err(e.to_string()))?;
        let search = Search {
            request: request.to_vec().into(),
            vectors,
            wanted: Wanted { k, group_by_product, min_score, matching: matching.map(matching_of) },
            needed: needed.into_iter().map(|(shard, rest)| (shard, rest.into())).collect(),
            timeout,
            enough,
            headers: headers_of(headers),
            shard_headers: shard_headers.into_iter().map(|(shard, own)| (shard, headers_of(own))).collect(),
            is_aside: aside,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let arrivals = Arc::clone(&self.arrivals);
        let running =
            self.fanout.search(search, move |found| arrivals.add(Arrival::Found(number, Box::new(found))));
        Ok(NativeSearch { number, running })
    }

    /// What has come since the last call.
    fn arrived<'py>(&self, py: Python<'py>) -> (Vec<FoundTuple<'py>>, Vec<(usize, bool)>) {
        let (mut found, mut silences) = (vec![], vec![]);
        for arrival in self.arrivals.take() {
            match arrival {
                Arrival::Found(number, one) => found.push(found_tuple(py, number, *one)),
                Arrival::Silence(shard, is_silent) => silences.push((shard, is_silent)),
            }
        }
        (found, silences)
    }
}

fn found_tuple(py: Python<'_>, number: u64, found: Found) -> FoundTuple<'_> {
    let results = found.results.into_iter().map(|(merged, scanned)| {
        let hits = PyBytes::new(py, &merged.hits);
        (hits, merged.count, merged.best_score, merged.best_match, scanned)
    });
    let failures = found.failures.iter().map(|(shard, failure)| (*shard, failure_tuple(py, failure)));
    let timing = found.timing;
    (
        number,
        results.collect(),
        found.answered,
        failures.collect(),
        found.mistake.as_ref().map(|mistake| failure_tuple(py, mistake)),
        found.codes_total,
        (timing.hash_seconds, timing.probe_seconds, timing.scan_seconds, timing.rerank_seconds),
        found.took.into_iter().map(|(shard, took)| (shard, took.as_secs_f64())).collect(),
        found.merging.as_secs_f64(),
    )
}

fn failure_tuple<'py>(py: Python<'py>, failure: &Failure) -> FailureTuple<'py> {
    let kind = match failure.kind {
        Kind::Late => "late",
        Kind::Silent => "silent",
        Kind::Unreachable => "unreachable",
        Kind::RequestTooLarge => "request_too_large",
        Kind::AnswerTooLarge => "answer_too_large",
        Kind::Overloaded => "overloaded",
        Kind::Described => "described",
        Kind::Failed => "failed",
    };
    (kind, PyBytes::new(py, &failure.details))
}

fn matching_of((slope, threshold, density_weight, density, min_probability): MatchingTuple) -> Matching {
    Matching { calibration: Calibration { slope, threshold, density_weight, density }, min_probability }
}

/// The best of encoded hits, as a fan-out has them.
#[pyfunction]
#[pyo3(signature = (hits, *, k, group_by_product, min_score, matching=None))]
pub fn merge_hits<'py>(
    py: Python<'py>,
    hits: Vec<PyBackedBytes>,
    k: usize,
    group_by_product: bool,
    min_score: f32,
    matching: Option<MatchingTuple>,
) -> PyResult<Bound<'py, PyBytes>> {
    let wanted = Wanted { k, group_by_product, min_score, matching: matching.map(matching_of) };
    let hits = hits.iter().map(|hit| hit.to_vec().into());
    let merged = merge(hits, wanted).map_err(|error| PyValueError::new_err(format!("no hit: {error}")))?;
    Ok(PyBytes::new(py, &merged.hits))
}
