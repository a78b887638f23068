//! What a search answers; the queries go one by one, or many together.

use std::sync::Arc;

use rayon::prelude::*;

use super::batch;
use super::clock::StageSeconds;
use super::options::SearchOptions;
use super::query::{Search, with_worker};
use super::rerank::Answer;
use super::state::State;
use crate::error::{Error, Result};
use crate::input::NO_ID;
use crate::threads::{self, Stop};

/// Most results of one call, padding included, where ties make its rows longer than `k`.
const MOST_RESULTS: usize = 1 << 24;
/// In place of the ordinal of a result that pads a row: an index has fewer of them.
const NO_ORDINAL: u32 = u32::MAX;

/// Results in rows of equal width, padded with [`NO_ID`] and negative infinity.
#[derive(Clone, Debug, Default)]
pub struct SearchOutput {
    /// Places in a row: `k`, or with ties as many as the longest has, if those are more.
    pub width: usize,
    /// Item ids, laid out (query, width).
    pub ids: Vec<u64>,
    /// Products of the items, laid out (query, width).
    pub products: Vec<u64>,
    /// Cosines, laid out (query, width).
    pub scores: Vec<f32>,
    /// Rows each query was compared with.
    pub codes_scanned: Vec<u64>,
    /// Buckets that were looked into for each query; none where every row that may be found is scored.
    pub buckets_probed: Vec<u64>,
    /// Rows whose kept vectors each query was compared with.
    pub candidates_reranked: Vec<u64>,
    /// Time per stage over all queries.
    pub seconds: StageSeconds,
    /// Ordinals of the items, laid out (query, width), where their documents are asked for.
    ordinals: Vec<u32>,
    /// What was searched, in that case.
    snapshot: Option<Arc<State>>,
}

/// Answers unit-length `queries` from one snapshot, on `threads` threads (0: all cores); soon after `stop` is set with
/// less than there is.
pub fn search(
    state: &State,
    queries: &[f32],
    options: &SearchOptions,
    threads: usize,
    stop: &Stop,
) -> Result<SearchOutput> {
    let search = Search::new(state, options).until(stop);
    if threads == 1 || queries.len() <= search.dim() {
        let parts = queries.chunks(batch::MOST * search.dim());
        return SearchOutput::of(parts.map(|queries| several(&search, queries)).collect(), options.k);
    }
    threads::pool(threads)?.install(|| in_parallel(&search, queries))
}

/// The same on the threads of the pool it is called from.
pub fn search_here(state: &State, queries: &[f32], options: &SearchOptions) -> Result<SearchOutput> {
    in_parallel(&Search::new(state, options), queries)
}

fn in_parallel(search: &Search, queries: &[f32]) -> Result<SearchOutput> {
    let share = (queries.len() / search.dim()).div_ceil(rayon::current_num_threads()).max(1);
    let parts = queries.par_chunks(share.min(batch::MOST) * search.dim());
    SearchOutput::of(parts.map(|queries| several(search, queries)).collect(), search.options.k)
}

fn several(search: &Search, queries: &[f32]) -> (Vec<Answer>, StageSeconds) {
    with_worker(|worker| batch::answer(search, queries, worker))
}

impl SearchOutput {
    /// The document of result number `at` of all, as it was when the score was computed; empty where the item has none,
    /// where nothing was found, and where documents were not asked for.
    ///
    /// It lies in the snapshot that was searched, which the output keeps: drop it soon.
    pub fn document(&self, at: usize) -> &[u8] {
        match (&self.snapshot, self.ordinals.get(at)) {
            (Some(snapshot), Some(ordinal)) => snapshot.documents.get(*ordinal),
            _ => &[],
        }
    }

    /// Keeps the snapshot that was searched, if the documents are in demand.
    pub(super) fn with(self, snapshot: Arc<State>, options: &SearchOptions) -> Self {
        Self { snapshot: options.documents.then_some(snapshot), ..self }
    }

    fn of(parts: Vec<(Vec<Answer>, StageSeconds)>, k: usize) -> Result<Self> {
        let answers = || parts.iter().flat_map(|(answers, _)| answers);
        let (count, longest) = (answers().count(), answers().map(|answer| answer.hits.len()).max());
        let width = longest.map_or(k, |longest| longest.max(k));
        if width > k && width.saturating_mul(count) > MOST_RESULTS {
            return Err(Error::TooManyTies { width, queries: count, most: MOST_RESULTS });
        }
        let mut out = Self { width, ..Self::default() };
        for (answers, seconds) in parts {
            out.seconds.add(seconds);
            answers.into_iter().for_each(|answer| out.push(answer));
        }
        Ok(out)
    }

    fn push(&mut self, answer: Answer) {
        let padding = self.width - answer.hits.len();
        self.ids.extend(answer.hits.iter().map(|hit| hit.id));
        self.ids.extend(std::iter::repeat_n(NO_ID, padding));
        self.products.extend(answer.hits.iter().map(|hit| hit.product));
        self.products.extend(std::iter::repeat_n(NO_ID, padding));
        self.scores.extend(answer.hits.iter().map(|hit| hit.score));
        self.scores.extend(std::iter::repeat_n(f32::NEG_INFINITY, padding));
        if !answer.ordinals.is_empty() {
            self.ordinals.extend(answer.ordinals);
            self.ordinals.resize(self.ids.len(), NO_ORDINAL);
        }
        self.codes_scanned.push(answer.scanned);
        self.buckets_probed.push(answer.probed);
        self.candidates_reranked.push(answer.reranked);
    }
}
