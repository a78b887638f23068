//! What effort buys: measured on some of the stored vectors when the codebook is trained.
//!
//! Cells are trained without them: to a vector that they were fitted to they would seem better than they are. Each
//! is searched for as if it were not stored itself, and compared with what the greatest effort finds for it.

use super::options::SearchOptions;
use super::search::search_here;
use super::state::State;
use super::training;
use crate::partition::Partition;
use crate::threads::Stop;

/// Efforts measured: 0 to 1 in equal steps.
pub const STEPS: usize = 9;
/// Results that recall is counted over.
const K: usize = 10;
/// Results that are searched for: the vector itself is among them.
pub const RESULTS: usize = K + 1;
/// Most vectors searched for, and the share of all that may be kept from training for it.
const SAMPLE: usize = 256;
const SHARE: usize = 20;
/// The same for families whose buckets are so small that a far search takes long.
const SMALL_SAMPLE: usize = 32;
/// Share of the right results that stopping early may cost at any of these steps.
const LOSS: f64 = 0.001;
const LOOKED_AT: [usize; 3] = [1, 4, 6];
/// The last of these steps as an effort: beyond, searches do not stop early.
pub const FARTHEST_STOP: f32 = LOOKED_AT[LOOKED_AT.len() - 1] as f32 / (STEPS - 1) as f32;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Recall of effort 0, 1/8, …, 1 without an early stop, against what effort 1 finds; never falling.
    pub recall: [f32; STEPS],
    /// How much better than the centre of its bucket a result is at most, but for very few: buckets further away
    /// than this from the results so far are left out. Infinite where this is not known.
    pub slack: f32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { recall: [1.0; STEPS], slack: f32::INFINITY }
    }
}

impl Calibration {
    /// Measures a snapshot that was just trained on `vectors`.
    ///
    /// None once `stop` is set.
    pub fn of(stop: &Stop, state: &State, vectors: &[f32]) -> Option<Self> {
        let mut state = state.clone();
        state.calibration = Self::default();
        if state.live <= training::BRUTE_FORCE_ITEMS {
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
            let all = LOOKED_AT.map(|step| measured(&state, step));
            // Downwards: the first that loses too much ends the search.
            for slack in [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05] {
                stop.check()?;
                let before = std::mem::replace(&mut state.calibration.slack, slack);
                if LOOKED_AT.iter().zip(all).any(|(step, all)| measured(&state, *step) < all - LOSS) {
                    state.calibration.slack = before;
                    break;
                }
            }
        }
        Some(state.calibration)
    }
}

/// Numbers of the vectors, of so many, that cells are trained without; ascending.
pub fn held_out(items: usize) -> Vec<u32> {
    let count = SAMPLE.min(items / SHARE);
    (0..count).map(|at| (at * items / count) as u32).collect()
}

fn effort(step: usize) -> f32 {
    step as f32 / (STEPS - 1) as f32
}

/// Ids found for each query at some effort, without the query itself.
fn found(state: &State, queries: &[f32], effort: f32) -> Vec<Vec<u64>> {
    let options = SearchOptions { k: RESULTS, effort: Some(effort), ..SearchOptions::default() };
    let out = search_here(state, queries, &options);
    out.ids.chunks_exact(RESULTS).map(|ids| ids[1..].to_vec()).collect()
}

/// Share of the `truth` that was found.
fn recall(truth: &[Vec<u64>], found: &[Vec<u64>]) -> f64 {
    let right = |(truth, found): (&Vec<u64>, &Vec<u64>)| truth.iter().filter(|id| found.contains(id)).count();
    let all = truth.iter().map(Vec::len).sum::<usize>();
    truth.iter().zip(found).map(right).sum::<usize>() as f64 / all as f64
}
