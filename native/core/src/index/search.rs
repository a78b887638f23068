//! What a search answers; the queries go one by one, or many together.

use rayon::prelude::*;

use super::batch;
use super::clock::StageSeconds;
use super::options::SearchOptions;
use super::query::{Search, with_worker};
use super::rerank::Answer;
use super::state::State;
use crate::error::Result;
use crate::input::NO_ID;
use crate::threads;

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
