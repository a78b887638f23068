//! One query: code, buckets in order, Hamming scan, exact cosine of the best.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::policy::{rerank_depth, scan_budget};
use super::state::State;
use crate::codes::EncodeScratch;
use crate::dot::dot;
use crate::error::{Result, invalid};
use crate::hamming;
use crate::input::NO_ID;
use crate::partition::Partition;
use crate::probe::ProbeSequence;
use crate::rank::{Hit, keep_best_of_each_product, keep_top};
use crate::threads;

/// What one search asks for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Results per query, at least 1.
    pub k: usize,
    /// Buckets to visit in each table; `None`: until the automatic number of codes is reached.
    pub probes: Option<usize>,
    /// Candidates whose exact cosine is computed; `None`: automatic.
    pub rerank: Option<usize>,
    /// Whether to return the best item of each of the k best products.
    pub group: bool,
    /// Whether to compare with every stored vector instead of hashing.
    pub exact: bool,
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
    /// Coding the query.
    pub hash: f64,
    /// Collecting the rows of the buckets.
    pub probe: f64,
    /// Hamming distances and the choice of candidates.
    pub scan: f64,
    /// Exact cosines and the final order.
    pub rerank: f64,
}

impl StageSeconds {
    fn plus(self, other: Self) -> Self {
        Self {
            hash: self.hash + other.hash,
            probe: self.probe + other.probe,
            scan: self.scan + other.scan,
            rerank: self.rerank + other.rerank,
        }
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
    /// Distinct items each query was compared with.
    pub codes_scanned: Vec<u64>,
    /// Time per stage over all queries.
    pub seconds: StageSeconds,
}

struct Answer {
    hits: Vec<Hit>,
    scanned: u64,
    seconds: StageSeconds,
}

/// Buffers of one worker.
#[derive(Default)]
struct Scratch {
    encode: EncodeScratch,
    code: Vec<u64>,
    margins: Vec<f32>,
    sequences: Vec<ProbeSequence>,
    seen: Vec<u64>,
    rows: Vec<u32>,
    codes: Vec<u64>,
    distances: Vec<u32>,
    /// (distance, id, row).
    ranked: Vec<(u32, u64, u32)>,
    products: HashSet<u64>,
}

/// Answers unit-length `queries` from one snapshot.
pub fn search(
    state: &State,
    queries: &[f32],
    options: &SearchOptions,
    threads: usize,
) -> Result<SearchOutput> {
    let dim = state.codebook.encoder.mean().len();
    let one = |scratch: &mut Scratch, query: &[f32]| answer(state, query, options, scratch);
    let answers: Vec<Answer> = if threads == 1 || queries.len() <= dim {
        let mut scratch = Scratch::default();
        queries.chunks_exact(dim).map(|query| one(&mut scratch, query)).collect()
    } else {
        threads::pool(threads)?
            .install(|| queries.par_chunks_exact(dim).map_init(Scratch::default, one).collect())
    };
    let mut out = SearchOutput::default();
    for answer in answers {
        let padding = options.k - answer.hits.len();
        out.ids.extend(answer.hits.iter().map(|hit| hit.id));
        out.ids.extend(std::iter::repeat_n(NO_ID, padding));
        out.products.extend(answer.hits.iter().map(|hit| hit.product));
        out.products.extend(std::iter::repeat_n(NO_ID, padding));
        out.scores.extend(answer.hits.iter().map(|hit| hit.score));
        out.scores.extend(std::iter::repeat_n(f32::NEG_INFINITY, padding));
        out.codes_scanned.push(answer.scanned);
        out.seconds = out.seconds.plus(answer.seconds);
    }
    Ok(out)
}

fn answer(state: &State, query: &[f32], options: &SearchOptions, scratch: &mut Scratch) -> Answer {
    let mut seconds = StageSeconds::default();
    let mut clock = Clock::start();
    if options.exact {
        let mut hits: Vec<Hit> = state.live_rows().map(|row| hit(state, query, row)).collect();
        let scanned = hits.len() as u64;
        finish(&mut hits, options);
        seconds.rerank = clock.lap();
        return Answer { hits, scanned, seconds };
    }
    scratch.code.resize(state.codebook.encoder.words(), 0);
    state.codebook.encoder.encode(query, &mut scratch.encode, &mut scratch.code);
    seconds.hash = clock.lap();
    collect(state, query, options, scratch);
    seconds.probe = clock.lap();
    scan(state, scratch);
    seconds.scan = clock.lap();
    let hits = rerank(state, query, options, scratch);
    seconds.rerank = clock.lap();
    Answer { hits, scanned: scratch.rows.len() as u64, seconds }
}

/// Fills `scratch.rows` with the rows to scan: every one if that is cheaper, else by buckets.
fn collect(state: &State, query: &[f32], options: &SearchOptions, scratch: &mut Scratch) {
    scratch.rows.clear();
    let budget = match options.probes {
        Some(_) => usize::MAX,
        None => scan_budget(state.live(), options.k),
    };
    match &state.codebook.partition {
        Some(partition) if options.probes.is_some() || 2 * budget < state.live() => {
            visit_buckets(state, partition, query, options, budget, scratch);
        }
        _ => scratch.rows.extend(state.live_rows()),
    }
}

/// Visits buckets of all tables in one common order of score, each table up to `options.probes`,
/// until `budget` distinct rows (and, if grouped, k distinct products) are found.
fn visit_buckets(
    state: &State,
    partition: &Partition,
    query: &[f32],
    options: &SearchOptions,
    budget: usize,
    scratch: &mut Scratch,
) {
    let Scratch { margins, sequences, seen, rows, products, .. } = scratch;
    let Some(buckets) = &state.buckets else { return };
    partition.start(query, margins, sequences);
    seen.resize(state.rows.len().div_ceil(64), 0);
    products.clear();
    let mut left = vec![options.probes.unwrap_or(usize::MAX); partition.tables()];
    while rows.len() < budget || (options.group && products.len() < options.k) {
        if rows.len() >= budget.saturating_mul(8) {
            // A few products own all the near buckets: looking at everything is cheaper than probing on.
            rows.clear();
            rows.extend(state.live_rows());
            break;
        }
        let open = sequences.iter().enumerate().filter(|(table, _)| left[*table] > 0);
        let next = open
            .filter_map(|(table, sequence)| sequence.peek().map(|probe| (table, probe)))
            .min_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let Some((table, probe)) = next else { break };
        buckets.rows_of(table, probe.bucket, |row| {
            let (word, bit) = (row as usize / 64, 1u64 << (row % 64));
            // A bucket full of near duplicates must not cost more than the budget.
            let wanted = rows.len() < budget || options.group;
            if wanted && seen[word] & bit == 0 && !state.dead.contains(row) {
                seen[word] |= bit;
                rows.push(row);
                if options.group && options.probes.is_none() {
                    products.insert(state.rows.product(row));
                }
            }
        });
        left[table] -= 1;
        sequences[table].advance();
    }
    rows.iter().for_each(|row| seen[*row as usize / 64] = 0);
}

/// Computes the distance of every row of `scratch.rows`, into `scratch.ranked`.
fn scan(state: &State, scratch: &mut Scratch) {
    let Scratch { code, rows, codes, distances, ranked, .. } = scratch;
    codes.clear();
    rows.iter().for_each(|row| codes.extend_from_slice(state.rows.code(*row)));
    distances.clear();
    distances.resize(rows.len(), 0);
    hamming::distances(code, codes, distances);
    ranked.clear();
    let columns = distances.iter().zip(rows.iter());
    ranked.extend(columns.map(|(distance, row)| (*distance, state.rows.id(*row), *row)));
}

/// Exact cosines of the nearest codes, and the final order.
///
/// Grouped searches go on to further candidates until k products are found.
fn rerank(state: &State, query: &[f32], options: &SearchOptions, scratch: &mut Scratch) -> Vec<Hit> {
    let depth = options.rerank.unwrap_or_else(|| rerank_depth(options.k));
    let ranked = &mut scratch.ranked;
    let mut hits: Vec<Hit> = Vec::with_capacity(depth.min(ranked.len()));
    let mut done = 0;
    while done < ranked.len() {
        let end = (done + depth).min(ranked.len());
        if end < ranked.len() {
            ranked[done..].select_nth_unstable(end - done - 1);
        }
        hits.extend(ranked[done..end].iter().map(|(_, _, row)| hit(state, query, *row)));
        done = end;
        finish(&mut hits, options);
        if !options.group || hits.len() == options.k {
            break;
        }
    }
    hits
}

fn hit(state: &State, query: &[f32], row: u32) -> Hit {
    Hit {
        score: dot(query, state.rows.vector(row)),
        id: state.rows.id(row),
        product: state.rows.product(row),
    }
}

fn finish(hits: &mut Vec<Hit>, options: &SearchOptions) {
    if options.group {
        keep_best_of_each_product(hits);
    }
    keep_top(hits, options.k);
}

/// Times consecutive stages.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed: Duration = now - self.0;
        self.0 = now;
        elapsed.as_secs_f64()
    }
}
