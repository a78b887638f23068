//! What is counted and timed, for Python to add to its own metrics of the same names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tonic::Code;

use crate::front::{Counts, Kind, Limits, Served};

/// A stage of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a position of the log.
    Position,
    /// Waiting for a thread.
    Queue,
    /// Checks and conversion.
    Convert,
    /// The engine's stages.
    Hash,
    /// See [`Stage::Hash`].
    Probe,
    /// See [`Stage::Hash`].
    Scan,
    /// See [`Stage::Hash`].
    Rerank,
}

impl Stage {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Position, "position"),
        (Self::Queue, "queue"),
        (Self::Convert, "convert"),
        (Self::Hash, "hash"),
        (Self::Probe, "probe"),
        (Self::Scan, "scan"),
        (Self::Rerank, "rerank"),
    ];
}

/// A method that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `HasherService.Search`.
    Search,
    /// `Health.Check`.
    Check,
    /// `Health.Watch`.
    Watch,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Search, Self::Check, Self::Watch];

    /// The method of a path; none: it is not served.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }

    /// `/service/method`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Search => "/lookalike.v1.HasherService/Search",
            Self::Check => "/grpc.health.v1.Health/Check",
            Self::Watch => "/grpc.health.v1.Health/Watch",
        }
    }

    /// As `grpc_type` says.
    pub fn kind(self) -> &'static str {
        if self == Self::Watch { "server_stream" } else { "unary" }
    }

    fn served(self) -> Served {
        Served {
            path: self.path().to_owned(),
            kind: if self == Self::Search { Kind::Call } else { Kind::Probe },
            streams_requests: false,
            streams_responses: self == Self::Watch,
        }
    }
}

/// A value of a call that is traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The value.
    pub value: f64,
    /// The id of the call's trace.
    pub trace_id: u128,
    /// When it was counted.
    pub at: SystemTime,
}

/// A histogram with fixed upper bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: Vec<f64>,
    /// One more than there are bounds.
    counts: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
    /// The last of each bucket that has one.
    exemplars: Mutex<BTreeMap<usize, Exemplar>>,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// By bucket, not added up.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
    /// Buckets, with the last value of each that leads to a trace.
    pub exemplars: Vec<(usize, Exemplar)>,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds: bounds.to_vec(), counts, sum: AtomicU64::new(0), exemplars: Mutex::default() }
    }

    /// Counts one value, of a call with this trace.
    pub fn observe(&self, value: f64, trace_id: Option<u128>) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Relaxed);
        let _ =
            self.sum.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
        if let Some(trace_id) = trace_id {
            let mut exemplars = self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
            exemplars.insert(at, Exemplar { value, trace_id, at: SystemTime::now() });
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let exemplars = self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        let exemplars = exemplars.iter().map(|(at, exemplar)| (*at, *exemplar)).collect();
        let counts = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        Reading { counts, sum: f64::from_bits(self.sum.load(Relaxed)), exemplars }
    }
}

/// Everything that is counted and timed.
#[derive(Debug)]
pub struct Metrics {
    /// By `exact` and stage.
    stages: [Vec<Histogram>; 2],
    /// By method.
    handling: Vec<Histogram>,
    handled: Mutex<BTreeMap<(Method, i32), u64>>,
    /// Calls in progress, and those that were refused.
    pub counts: Counts,
    /// Rows that vectors were compared with.
    pub scanned: AtomicU64,
    /// Buckets that were looked into.
    pub probed: AtomicU64,
    /// Rows that were scored, by `exact`.
    pub reranked: [AtomicU64; 2],
    /// Panics of the engine.
    pub panics: AtomicU64,
}

impl Metrics {
    /// With what calls may take together, and the bounds of the stages' times, and of whole calls'.
    pub fn new(limits: Limits, stage_bounds: &[f64], call_bounds: &[f64]) -> Self {
        let stages = || Stage::ALL.map(|_| Histogram::new(stage_bounds)).into();
        Self {
            stages: [stages(), stages()],
            handling: Method::ALL.map(|_| Histogram::new(call_bounds)).into(),
            handled: Mutex::default(),
            counts: Counts::new(Method::ALL.map(Method::served).into(), limits),
            scanned: AtomicU64::default(),
            probed: AtomicU64::default(),
            reranked: Default::default(),
            panics: AtomicU64::default(),
        }
    }

    /// The times of a stage.
    pub fn stage(&self, stage: Stage, exact: bool) -> &Histogram {
        &self.stages[usize::from(exact)][stage as usize]
    }

    /// The times of a method.
    pub fn handling(&self, method: Method) -> &Histogram {
        &self.handling[method as usize]
    }

    /// Counts a call that has ended, with its trace.
    pub fn ended(&self, method: Method, code: Code, seconds: f64, trace_id: Option<u128>) {
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        *handled.entry((method, code as i32)).or_default() += 1;
        drop(handled);
        self.handling(method).observe(seconds, trace_id);
    }

    /// Calls that have ended, by method and the number of their code.
    pub fn handled(&self) -> BTreeMap<(Method, i32), u64> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.05, 0.1, 0.2, 1.5, 7.0] {
            histogram.observe(value, None);
        }
        let reading = histogram.read();
        assert_eq!(reading.counts, [2, 1, 2]);
        assert!((reading.sum - 8.85).abs() < 1e-9);
        assert_eq!(reading.exemplars, []);
    }

    #[test]
    fn a_bucket_keeps_its_last_value_with_a_trace() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for (value, trace_id) in [(0.2, Some(1)), (0.3, Some(2)), (0.4, None), (7.0, Some(3))] {
            histogram.observe(value, trace_id);
        }
        let kept = histogram.read().exemplars.into_iter();
        let kept: Vec<_> = kept.map(|(bucket, kept)| (bucket, kept.value, kept.trace_id)).collect();
        assert_eq!(kept, [(1, 0.3, 2), (2, 7.0, 3)]);
    }
}
