//! How long the stages of a search take.

use std::time::Instant;

/// Time spent in each stage, summed over the queries, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageSeconds {
    /// Rotating the query and filling its table.
    pub hash: f64,
    /// Ordering the buckets.
    pub probe: f64,
    /// Estimating rows and choosing candidates.
    pub scan: f64,
    /// Scores of the candidates and the final order.
    pub rerank: f64,
}

impl StageSeconds {
    /// Adds those of other queries.
    pub fn add(&mut self, other: Self) {
        self.hash += other.hash;
        self.probe += other.probe;
        self.scan += other.scan;
        self.rerank += other.rerank;
    }
}

/// Times consecutive stages.
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts the first stage.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Ends a stage; its seconds.
    pub(super) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed = now - self.0;
        self.0 = now;
        elapsed.as_secs_f64()
    }
}
