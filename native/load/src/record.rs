//! What became of the requests of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The status of a call that was answered.
pub const OK: &str = "OK";

/// The moments of a request's life.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// When it should have been sent.
    pub due: Instant,
    /// When it was.
    pub sent: Instant,
    /// When its answer or its failure was there.
    pub ended: Instant,
}

/// Counts and times of a run.
pub struct Record {
    started: Instant,
    ended: Instant,
    unsent: u64,
    statuses: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    failed: Histogram<u64>,
    late: Histogram<u64>,
    answers: Vec<Option<Bytes>>,
}

impl Record {
    /// Nothing yet, of a run that starts at a moment.
    ///
    /// # Arguments
    ///
    /// * `kept_answers` - of how many requests, from the first on, the first answer is kept.
    pub fn new(started: Instant, kept_answers: usize) -> Self {
        Self {
            started,
            ended: started,
            unsent: 0,
            statuses: BTreeMap::new(),
            latency: times(),
            service: times(),
            failed: times(),
            late: times(),
            answers: vec![None; kept_answers],
        }
    }

    /// A request was due, and was not sent: as many as may be under way already were.
    pub fn not_sent(&mut self) {
        self.unsent += 1;
    }

    /// A request has ended, with an answer or the name of what went wrong.
    pub fn ended(&mut self, request: usize, moments: Moments, outcome: Result<Bytes, String>) {
        let Moments { due, sent, ended } = moments;
        self.ended = self.ended.max(ended);
        put(&mut self.late, sent.saturating_duration_since(due));
        let status = match outcome {
            Ok(answer) => {
                put(&mut self.latency, ended.saturating_duration_since(due));
                put(&mut self.service, ended.saturating_duration_since(sent));
                if let Some(kept @ None) = self.answers.get_mut(request) {
                    *kept = Some(answer);
                }
                OK.to_owned()
            }
            Err(status) => {
                put(&mut self.failed, ended.saturating_duration_since(due));
                status
            }
        };
        *self.statuses.entry(status).or_default() += 1;
    }

    /// The answers that were kept.
    pub fn answers(&self) -> &[Option<Bytes>] {
        &self.answers
    }

    /// The number of calls that ended in a way.
    pub fn count(&self, status: &str) -> u64 {
        self.statuses.get(status).copied().unwrap_or(0)
    }

    /// The figures: times in microseconds, of answered requests but for `failed_us`.
    pub fn figures(&self) -> Value {
        let seconds = self.ended.saturating_duration_since(self.started).as_secs_f64();
        json!({
            "seconds": seconds,
            "sent": self.statuses.values().sum::<u64>(),
            "unsent": self.unsent,
            "statuses": self.statuses,
            "answered_per_second": if seconds > 0.0 { self.count(OK) as f64 / seconds } else { 0.0 },
            // From the moment at which a request was due.
            "latency_us": percentiles(&self.latency),
            // From the moment at which it was sent.
            "service_us": percentiles(&self.service),
            "failed_us": percentiles(&self.failed),
            "late_us": percentiles(&self.late),
        })
    }
}

/// Nanoseconds up to ten minutes, to three digits.
fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are in order")
}

fn put(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let micros = |nanos: u64| nanos as f64 / 1e3;
    json!({
        "mean": histogram.mean() / 1e3,
        "p50": micros(histogram.value_at_quantile(0.5)),
        "p90": micros(histogram.value_at_quantile(0.9)),
        "p95": micros(histogram.value_at_quantile(0.95)),
        "p99": micros(histogram.value_at_quantile(0.99)),
        "p99.9": micros(histogram.value_at_quantile(0.999)),
        "max": micros(histogram.max()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(due: Instant, sent_ms: u64, ended_ms: u64) -> Moments {
        let after = |ms| due + Duration::from_millis(ms);
        Moments { due, sent: after(sent_ms), ended: after(ended_ms) }
    }

    fn near(value: &Value, expected: f64) {
        let found = value.as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 0.002, "{found} is not {expected}");
    }

    #[test]
    fn percentiles_are_those_of_the_answered() {
        let start = Instant::now();
        let mut record = Record::new(start, 0);
        for ms in 1..=1000 {
            record.ended(0, moments(start, 0, ms), Ok(Bytes::new()));
        }
        record.ended(0, moments(start, 0, 5000), Err("UNAVAILABLE".into()));
        let figures = record.figures();
        near(&figures["latency_us"]["p50"], 500e3);
        near(&figures["latency_us"]["p99"], 990e3);
        near(&figures["latency_us"]["p99.9"], 999e3);
        near(&figures["latency_us"]["max"], 1000e3);
        near(&figures["failed_us"]["max"], 5000e3);
        near(&figures["seconds"], 5.0);
        near(&figures["answered_per_second"], 200.0);
        assert_eq!(figures["statuses"], json!({"OK": 1000, "UNAVAILABLE": 1}));
        assert_eq!(figures["sent"], 1001);
    }

    #[test]
    fn latency_counts_from_the_moment_a_request_was_due() {
        let mut record = Record::new(Instant::now(), 0);
        record.ended(0, moments(Instant::now(), 80, 100), Ok(Bytes::new()));
        let figures = record.figures();
        near(&figures["latency_us"]["max"], 100e3);
        near(&figures["service_us"]["max"], 20e3);
        near(&figures["late_us"]["max"], 80e3);
    }

    #[test]
    fn the_first_answer_of_each_request_is_kept() {
        let start = Instant::now();
        let mut record = Record::new(start, 2);
        for (request, answer) in [(1, "first"), (1, "second"), (7, "beyond")] {
            record.ended(request, moments(start, 0, 1), Ok(Bytes::from(answer)));
        }
        record.ended(0, moments(start, 0, 1), Err("INTERNAL".into()));
        assert_eq!(record.answers(), [None, Some(Bytes::from("first"))]);
    }

    #[test]
    fn a_run_without_answers_has_figures() {
        let mut record = Record::new(Instant::now(), 0);
        record.not_sent();
        let figures = record.figures();
        assert_eq!(figures["unsent"], 1);
        assert_eq!(figures["latency_us"], Value::Null);
        assert_eq!(figures["answered_per_second"], 0.0);
    }
}
