//! Exact searches of an index that keeps vectors rounded: it knows what can be among the best, whose vectors as they
//! were written are then scored.

use std::collections::HashSet;
use std::time::Instant;

use lookalike_core::threads::Stop;

use super::checks::Query;
use super::hits::{Hit, Hits, Place};
use super::registry::Generation;
use super::search::{NoAnswer, Work};
use super::vectors::{Rows, Vectors};

/// Scores and documents, best first.
type Best = Vec<(f32, Vec<u8>)>;

/// The results of one vector.
pub struct Found {
    best: Best,
    scanned: u64,
}

impl Found {
    /// The results as they are sent.
    pub fn hits(&self) -> Hits<'_> {
        let hits = self.best.iter().map(|(score, document)| Hit { score: *score, document });
        Hits { hits: hits.collect(), scanned: self.scanned }
    }
}

/// Searches, for an answer of at most `most` bytes.
///
/// # Errors
///
/// It was stopped, is too large, or something is wrong with the engine or the rows.
pub fn search(
    generation: &Generation,
    vectors: &dyn Vectors,
    query: &mut Query,
    stop: &Stop,
    most: usize,
    work: &mut Work,
) -> Result<Vec<Found>, NoAnswer> {
    loop {
        match (Search { generation, vectors, query, stop, most }).found(work)? {
            Outcome::Found(found) => return Ok(found),
            Outcome::Excluded(number) => query.options.exclude.push(number),
        }
    }
}

struct Search<'a> {
    generation: &'a Generation,
    vectors: &'a dyn Vectors,
    query: &'a Query,
    stop: &'a Stop,
    most: usize,
}

enum Outcome<T> {
    Found(T),
    /// The item that is not to be found has this number.
    Excluded(u64),
}

struct Scored {
    score: f32,
    item_id: String,
    number: u64,
    product: u64,
}

impl Scored {
    fn place(&self) -> Place<'_> {
        Place { score: self.score, item_id: self.item_id.as_bytes(), number: self.number }
    }
}

impl Search<'_> {
    fn found(&self, work: &mut Work) -> Result<Outcome<Vec<Found>>, NoAnswer> {
        let Query { vectors, count, options, .. } = self.query;
        let index = &self.generation.index;
        let candidates = index.exact_candidates_until(self.stop, vectors, options, 1)?;
        let candidates = candidates.ok_or(NoAnswer::Stopped)?;
        let scanned: u64 = candidates.codes_scanned.iter().sum();
        work.seconds.add(candidates.seconds);
        work.scanned += scanned;
        // The index scores whatever may be found to know what can be among the best.
        work.reranked += scanned;
        let start = Instant::now();
        let (mut found, mut size) = (Vec::with_capacity(*count), 0);
        for (at, vector) in vectors.chunks_exact(vectors.len() / count).enumerate() {
            match self.best(vector, &candidates.ids[at])? {
                Outcome::Found(best) => {
                    let mut one = Found { best, scanned: candidates.codes_scanned[at] };
                    size += one.hits().size(one.scanned);
                    if size > self.most {
                        // Counted on, but not kept: all may be a thousand times what is sent.
                        one.best.clear();
                    }
                    found.push(one);
                }
                Outcome::Excluded(number) => return Ok(Outcome::Excluded(number)),
            }
        }
        work.seconds.rerank += start.elapsed().as_secs_f64();
        if size > self.most {
            return Err(NoAnswer::TooLarge(size));
        }
        Ok(Outcome::Found(found))
    }

    /// The best of the candidates of one vector.
    fn best(&self, vector: &[f32], numbers: &[u64]) -> Result<Outcome<Best>, NoAnswer> {
        let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let direction: Vec<f64> = vector.iter().map(|value| f64::from(*value) / norm).collect();
        let Query { exclude, options, .. } = self.query;
        let (mut scored, mut excluded) = (Vec::with_capacity(numbers.len()), None);
        let mut take = |rows: Rows| {
            let Rows { numbers, item_ids, products, vectors } = rows;
            let rows =
                numbers.into_iter().zip(item_ids).zip(products).zip(vectors.chunks_exact(vector.len()));
            for (((number, item_id), product), row) in rows {
                if !exclude.is_empty() && item_id == *exclude {
                    excluded = Some(number);
                }
                scored.push(Scored { score: cosine(&direction, row), item_id, number, product });
            }
        };
        self.vectors.read(numbers, self.stop, &mut take).map_err(NoAnswer::Failed)?;
        if self.stop.is_set() {
            return Err(NoAnswer::Stopped);
        }
        if let Some(number) = excluded {
            return Ok(Outcome::Excluded(number));
        }
        scored.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
        if options.group {
            let mut products = HashSet::new();
            scored.retain(|row| products.insert(row.product));
        }
        scored.truncate(options.k);
        let numbers: Vec<u64> = scored.iter().map(|row| row.number).collect();
        let documents = self.generation.index.documents(&numbers);
        // A row that was removed meanwhile drops out.
        let hits = scored.iter().zip(documents).filter_map(|(row, document)| Some((row.score, document?)));
        Ok(Outcome::Found(hits.collect()))
    }
}

/// Each row is summed by itself and in one order, so that equal vectors have equal scores.
fn cosine(direction: &[f64], row: &[f32]) -> f32 {
    let sum: f64 = direction.iter().zip(row).map(|(a, b)| a * f64::from(*b)).sum();
    sum.clamp(-1.0, 1.0) as f32 + 0.0
}
