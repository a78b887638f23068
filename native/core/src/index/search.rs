//! What a search asks for and what it answers; the queries go one by one, or many together.

use rayon::prelude::*;

use super::batch;
use super::query::{Search, with_worker};
use super::state::State;
use crate::error::{Result, invalid};
use crate::filter::Filter;
use crate::input::NO_ID;
use crate::rank::Hit;
use crate::threads;

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
    pub(super) fn add(&mut self, other: Self) {
        self.hash += other.hash;
        self.probe += other.probe;
        self.scan += other.scan;
        self.rerank += other.rerank;
    }
}

/// Results in rows of `k`, padded with [`NO_ID`] and negative infinity.
#[derive(Clone, Debug, Default)]
pub struct SearchOutput {
    /// Item ids, laid out (query, k).
    pub ids: Vec<u64>,
    /// Products of the items, laid out (query, k).
    pub products: Vec<u64>,
    /// Cosines, laid out (query, k).
    pub scores: Vec<f32>,
    /// Rows each query was compared with.
    pub codes_scanned: Vec<u64>,
    /// Time per stage over all queries.
    pub seconds: StageSeconds,
}

/// What was found for one query.
#[derive(Debug, Default)]
pub struct Answer {
    /// The best, in order.
    pub hits: Vec<Hit>,
    /// Rows it was compared with.
    pub scanned: u64,
}

/// Answers unit-length `queries` from one snapshot, on `threads` threads (0: all cores).
pub fn search(
    state: &State,
    queries: &[f32],
    options: &SearchOptions,
    threads: usize,
) -> Result<SearchOutput> {
    if threads == 1 || queries.len() <= state.layout().dim {
        let search = Search::new(state, options);
        let parts = queries.chunks(batch::MOST * search.dim());
        return Ok(SearchOutput::of(parts.map(|queries| several(&search, queries)).collect(), options.k));
    }
    Ok(threads::pool(threads)?.install(|| search_here(state, queries, options)))
}

/// The same on the threads of the pool it is called from.
pub fn search_here(state: &State, queries: &[f32], options: &SearchOptions) -> SearchOutput {
    let search = Search::new(state, options);
    let share = (queries.len() / search.dim()).div_ceil(rayon::current_num_threads()).max(1);
    let parts = queries.par_chunks(share.min(batch::MOST) * search.dim());
    SearchOutput::of(parts.map(|queries| several(&search, queries)).collect(), options.k)
}

fn several(search: &Search, queries: &[f32]) -> (Vec<Answer>, StageSeconds) {
    with_worker(|worker| batch::answer(search, queries, worker))
}

impl SearchOutput {
    fn of(parts: Vec<(Vec<Answer>, StageSeconds)>, k: usize) -> Self {
        let mut out = Self::default();
        for (answers, seconds) in parts {
            out.seconds.add(seconds);
            answers.into_iter().for_each(|answer| out.push(answer, k));
        }
        out
    }

    fn push(&mut self, answer: Answer, k: usize) {
        let padding = k - answer.hits.len();
        self.ids.extend(answer.hits.iter().map(|hit| hit.id));
        self.ids.extend(std::iter::repeat_n(NO_ID, padding));
        self.products.extend(answer.hits.iter().map(|hit| hit.product));
        self.products.extend(std::iter::repeat_n(NO_ID, padding));
        self.scores.extend(answer.hits.iter().map(|hit| hit.score));
        self.scores.extend(std::iter::repeat_n(f32::NEG_INFINITY, padding));
        self.codes_scanned.push(answer.scanned);
    }
}
