//! One search: what the index finds, in the order of the contract.

use std::collections::HashSet;

use bytes::Bytes;
use lookalike_core::index::StageSeconds;
use lookalike_core::input::NO_ID;
use lookalike_core::threads::Stop;
use lookalike_core::{Error, SearchOutput};

use super::checks::Query;
use super::exact;
use super::hits::{Hit, Hits, Place, encoded, item_id};
use super::registry::Generation;

/// What a search took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Time of the engine's stages, reading and scoring vectors as they were written included.
    pub seconds: StageSeconds,
    /// Rows that vectors were compared with.
    pub scanned: u64,
    /// Buckets that were looked into.
    pub probed: u64,
    /// Rows that were scored.
    pub reranked: u64,
}

/// Why a search has no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It was stopped: nobody waits for it.
    Stopped,
    /// It would have this many bytes.
    TooLarge(usize),
    /// Equal scores make more results than the engine returns at once.
    TooManyTies {
        /// Of one vector.
        results: usize,
        /// Of all vectors at most.
        most: usize,
    },
    /// A defect.
    Failed(String),
}

impl From<Error> for NoAnswer {
    fn from(error: Error) -> Self {
        match error {
            Error::TooManyTies { width, most, .. } => Self::TooManyTies { results: width, most },
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Searches, and returns the encoded `HasherServiceSearchResponse` of at most `most` bytes.
///
/// # Errors
///
/// It was stopped, is too large, or something is wrong with the engine or the rows.
pub fn answer(
    generation: &Generation,
    query: &mut Query,
    stop: &Stop,
    most: usize,
) -> Result<(Bytes, Work), NoAnswer> {
    // Before the snapshot is taken: what is found rests on this position or a later one.
    let position = generation.position();
    let total = generation.index.snapshot().live as u64;
    let mut work = Work::default();
    let answer = match &generation.vectors {
        Some(vectors) if query.options.exact => {
            let found = exact::search(generation, &**vectors, query, stop, most, &mut work)?;
            let hits: Vec<Hits> = found.iter().map(exact::Found::hits).collect();
            encoded(&hits, total, position, work.seconds, most)
        }
        _ => {
            let found = indexed(generation, query, stop, &mut work)?;
            encoded(&hits(&found, query), total, position, work.seconds, most)
        }
    };
    Ok((answer.map_err(NoAnswer::TooLarge)?, work))
}

/// Searches the index, and again without what is not to be found if it was.
fn indexed(
    generation: &Generation,
    query: &mut Query,
    stop: &Stop,
    work: &mut Work,
) -> Result<SearchOutput, NoAnswer> {
    loop {
        let found = generation.index.search_until(stop, &query.vectors, &query.options, 1)?;
        let found = found.ok_or(NoAnswer::Stopped)?;
        work.seconds.add(found.seconds);
        work.scanned += found.codes_scanned.iter().sum::<u64>();
        work.probed += found.buckets_probed.iter().sum::<u64>();
        work.reranked += found.candidates_reranked.iter().sum::<u64>();
        match number_of(&found, &query.exclude) {
            Some(number) => query.options.exclude.push(number),
            None => return Ok(found),
        }
    }
}

/// The id of an item, if it was found.
fn number_of(found: &SearchOutput, name: &str) -> Option<u64> {
    if name.is_empty() {
        return None;
    }
    let there = (0..found.ids.len()).filter(|at| found.ids[*at] != NO_ID);
    let mut named = there.filter(|at| item_id(found.document(*at)) == name.as_bytes());
    named.next().map(|at| found.ids[at])
}

/// The hits of each vector: the best `k`, equal ones in the order of their item ids.
fn hits<'a>(found: &'a SearchOutput, query: &Query) -> Vec<Hits<'a>> {
    let of_row = |(row, ids): (usize, &[u64])| {
        let first = row * found.width;
        let end = first + ids.iter().take_while(|id| **id != NO_ID).count();
        let mut order: Vec<usize> = (first..end).collect();
        if found.scores[first..end].windows(2).any(|pair| pair[0] == pair[1]) {
            order.sort_by_cached_key(|at| place(found, *at));
            if query.options.group {
                let mut products = HashSet::with_capacity(order.len());
                order.retain(|at| products.insert(found.products[*at]));
            }
            order.truncate(query.options.k);
        }
        let hit = |at: usize| Hit { score: found.scores[at], document: found.document(at) };
        Hits { hits: order.into_iter().map(hit).collect(), scanned: found.codes_scanned[row] }
    };
    found.ids.chunks(found.width).enumerate().map(of_row).collect()
}

fn place(found: &SearchOutput, at: usize) -> Place<'_> {
    Place { score: found.scores[at], item_id: item_id(found.document(at)), number: found.ids[at] }
}
