//! Training: from items to a codebook, rows in its buckets, and the measure of what effort finds there.
//!
//! Effort is measured on some of the vectors. Cells are trained without these: to a vector that they were fitted to
//! they would seem better than they are. Each is searched for as if it were not stored itself, and compared with what
//! the greatest effort finds for it.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::bucket::write_new;
use super::calibration::{Calibration, RESULTS, STEPS, STOPS, effort};
use super::items::Items;
use super::options::{IndexOptions, SearchOptions};
use super::policy::{BRUTE_FORCE_ITEMS, cell_count, cross_polytope_buckets, planes_per_table};
use super::search::search_here;
use super::state::{State, packed};
use crate::attributes::Attributes;
use crate::cells::Cells;
use crate::codebook::Codebook;
use crate::cross_polytope::CrossPolytopes;
use crate::partition::{Family, Partition, ProbeOrder};
use crate::planes::{Planes, mean_of};
use crate::rotation::RotationKind;
use crate::threads::Stop;

/// Keeps the buckets independent of the code's rotation although both come from one seed.
pub(crate) const BUCKETS_SEED: u64 = 0x5EED_0F91_A4E5_0001;

/// Most vectors searched for, and the share of all that may be kept from training for it.
const SAMPLE: usize = 256;
const SHARE: usize = 20;
/// The same for families whose buckets are so small that a far search takes long.
const SMALL_SAMPLE: usize = 32;
/// Share of the right results that stopping early may cost at any of the [`STOPS`].
const LOSS: f64 = 0.001;

impl State {
    /// Trains a codebook on `items` and stores them; item `i` gets ordinal `i`.
    pub fn train(options: &IndexOptions, items: &Items) -> Self {
        Self::train_until(&Stop::default(), options, items).expect("nobody stops it")
    }

    /// As [`State::train`], or nothing once `stop` is set.
    pub fn train_until(stop: &Stop, options: &IndexOptions, items: &Items) -> Option<Self> {
        let layout = options.layout();
        let (dim, count) = (layout.dim, items.ids.len());
        let seed = options.seed ^ BUCKETS_SEED;
        let mean = mean_of(&items.vectors, dim);
        let partition = (count > BRUTE_FORCE_ITEMS).then(|| match options.family {
            Family::Learned => {
                let cells = cell_count(count);
                let held_out = held_out(count);
                Cells::train_until(stop, &items.vectors, dim, &held_out, cells, seed).map(Partition::Learned)
            }
            Family::Hyperplane => {
                let planes = planes_per_table(count);
                Some(Partition::Hyperplane(Planes::train(&items.vectors, dim, options.tables, planes, seed)))
            }
            Family::CrossPolytope => {
                let buckets = cross_polytope_buckets(count);
                let polytopes = CrossPolytopes::new(mean.clone(), options.tables, buckets, seed);
                Some(Partition::CrossPolytope(polytopes))
            }
        });
        stop.check()?;
        let mut codebook = Codebook::new(layout, partition.flatten(), mean, count, options.seed);
        if options.rotation == RotationKind::Learned {
            codebook.learn_rotation(&items.vectors, options.seed);
        }
        stop.check()?;
        let mut state = Self::filled(stop, codebook, items)?;
        state.calibration = Calibration::of(stop, &state, &items.vectors)?;
        Some(state)
    }

    /// A snapshot of `items` with a given codebook.
    fn filled(stop: &Stop, codebook: Codebook, items: &Items) -> Option<Self> {
        let layout = codebook.layout;
        let (dim, count, tables) = (layout.dim, items.ids.len(), codebook.tables());
        let mut assigned = vec![0u32; count * tables];
        assigned
            .par_chunks_exact_mut(tables)
            .zip(items.vectors.par_chunks_exact(dim))
            .with_min_len(64)
            .try_for_each_init(ProbeOrder::default, |order, (assigned, vector)| {
                codebook.assign(vector, order, assigned);
                stop.check()
            })?;
        let (starts, rows) = grouped(&assigned, tables, codebook.buckets());
        let rows_of = |bucket: usize| &rows[starts[bucket] as usize..starts[bucket + 1] as usize];
        let counts: Vec<usize> = (0..codebook.buckets()).map(|bucket| rows_of(bucket).len()).collect();
        let buckets = packed(stop, &layout, &counts, |bucket, writer| {
            let new = rows_of(bucket).iter().map(|row| items.row(dim, *row as usize, *row));
            write_new(&codebook, bucket as u32, new, writer);
        })?;
        let mut attributes = Attributes::default();
        attributes.insert((0..).zip(&items.attributes));
        let documents = items.documents.clone();
        let (ordinals, codebook, calibration) = (count as u32, Arc::new(codebook), Calibration::default());
        let item_buckets = OnceLock::new();
        let (live, removed, changes) = (count, 0, 0);
        Some(Self {
            codebook,
            buckets,
            live,
            removed,
            changes,
            ordinals,
            item_buckets,
            attributes,
            documents,
            calibration,
        })
    }
}

/// Row numbers by bucket, and where each bucket starts; `of_rows` is laid out (row, table).
fn grouped(of_rows: &[u32], tables: usize, buckets: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; buckets + 1];
    of_rows.iter().for_each(|bucket| starts[*bucket as usize + 1] += 1);
    for at in 0..buckets {
        starts[at + 1] += starts[at];
    }
    let mut next = starts.clone();
    let mut rows = vec![0u32; of_rows.len()];
    for (at, bucket) in of_rows.iter().enumerate() {
        let slot = &mut next[*bucket as usize];
        rows[*slot as usize] = (at / tables) as u32;
        *slot += 1;
    }
    (starts, rows)
}

impl Calibration {
    /// Measures a snapshot that was just trained on `vectors`.
    ///
    /// None once `stop` is set.
    fn of(stop: &Stop, state: &State, vectors: &[f32]) -> Option<Self> {
        let mut state = state.clone();
        state.calibration = Self::default();
        if state.live <= BRUTE_FORCE_ITEMS {
            return Some(state.calibration);
        }
        let learned = matches!(state.codebook.partition, Some(Partition::Learned(_)));
        let dim = state.layout().dim;
        let numbers = held_out(state.live);
        let few = if learned { SAMPLE } else { SMALL_SAMPLE };
        let few = numbers.iter().step_by(numbers.len().div_ceil(few));
        let queries: Vec<f32> =
            few.flat_map(|number| &vectors[*number as usize * dim..][..dim]).copied().collect();
        let truth = found(&state, &queries, 1.0);
        for step in 0..STEPS {
            stop.check()?;
            state.calibration.recall[step] = recall(&truth, &found(&state, &queries, effort(step))) as f32;
        }
        for step in 1..STEPS {
            let least = state.calibration.recall[step - 1];
            state.calibration.recall[step] = state.calibration.recall[step].max(least);
        }
        if learned {
            let measured = |state: &State, step: usize| recall(&truth, &found(state, &queries, effort(step)));
            let all = STOPS.map(|step| measured(&state, step));
            // Downwards: the first that loses too much ends the search.
            for slack in [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05] {
                stop.check()?;
                let before = std::mem::replace(&mut state.calibration.slack, slack);
                if STOPS.iter().zip(all).any(|(step, all)| measured(&state, *step) < all - LOSS) {
                    state.calibration.slack = before;
                    break;
                }
            }
        }
        Some(state.calibration)
    }
}

/// Numbers of the vectors, of so many, that cells are trained without; ascending.
fn held_out(items: usize) -> Vec<u32> {
    let count = SAMPLE.min(items / SHARE);
    (0..count).map(|at| (at * items / count) as u32).collect()
}

/// Ids found for each query at some effort, without the query itself.
fn found(state: &State, queries: &[f32], effort: f32) -> Vec<Vec<u64>> {
    let options = SearchOptions { k: RESULTS, effort: Some(effort), ..SearchOptions::default() };
    let out = search_here(state, queries, &options).expect("only ties can be too many");
    out.ids.chunks_exact(RESULTS).map(|ids| ids[1..].to_vec()).collect()
}

/// Share of the `truth` that was found.
fn recall(truth: &[Vec<u64>], found: &[Vec<u64>]) -> f64 {
    let right = |(truth, found): (&Vec<u64>, &Vec<u64>)| truth.iter().filter(|id| found.contains(id)).count();
    let all = truth.iter().map(Vec::len).sum::<usize>();
    truth.iter().zip(found).map(right).sum::<usize>() as f64 / all as f64
}
