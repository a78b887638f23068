//! What one search asks for.

use crate::error::{Result, invalid};
use crate::filter::Filter;

/// What rows are estimated from before the best are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimate {
    /// The query's rotated coordinates against the signs of a row's (RaBitQ: Gao & Long, SIGMOD 2024).
    #[default]
    Asymmetric,
    /// The signs of both: their Hamming distance.
    Hamming,
}

impl Estimate {
    const ALL: [Self; 2] = [Self::Asymmetric, Self::Hamming];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asymmetric => "asymmetric",
            Self::Hamming => "hamming",
        }
    }

    /// The estimate of this [`Estimate::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|estimate| estimate.name() == name)
    }
}

/// What one search asks for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Results per query, at least 1.
    pub k: usize,
    /// Buckets to visit; `None`: until the automatic number of rows is reached.
    pub probes: Option<usize>,
    /// Candidates whose score is computed; `None`: automatic.
    pub rerank: Option<usize>,
    /// Whether to return the best item of each of the k best products.
    pub group: bool,
    /// Whether to score every stored vector instead of hashing.
    pub exact: bool,
    /// How much work to do where `probes` or `rerank` do not say, 0 to 1; `None`: 0.5.
    pub effort: Option<f32>,
    /// Which items may be found; `None`: all.
    pub filter: Option<Filter>,
    /// What rows are estimated from before the best are scored.
    pub estimate: Estimate,
}

impl SearchOptions {
    /// Checks the ranges.
    pub fn check(&self) -> Result<()> {
        if self.k == 0 {
            return invalid("k must be at least 1, not 0");
        }
        if self.probes == Some(0) {
            return invalid("probes must be at least 1, not 0");
        }
        if self.effort.is_some_and(|effort| !(0.0..=1.0).contains(&effort)) {
            return invalid(format!("effort must be 0 to 1, not {}", self.effort.unwrap_or_default()));
        }
        match self.rerank {
            Some(depth) if depth < self.k => {
                invalid(format!("rerank must be at least k ({}), not {depth}", self.k))
            }
            _ => Ok(()),
        }
    }
}
