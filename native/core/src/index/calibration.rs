//! What effort buys: measured on a sample of the stored vectors when the codebook is trained.
//!
//! Each of the sample is searched for as if it were not stored itself, and compared with what the greatest
//! effort finds for it.

use super::options::SearchOptions;
use super::policy;
use super::search::search_here;
use super::state::State;
use crate::partition::Partition;

/// Efforts measured: 0 to 1 in equal steps.
pub const STEPS: usize = 9;
/// Results that recall is counted over.
const K: usize = 10;
/// Vectors searched for.
const SAMPLE: usize = 256;
/// The same for families whose buckets are so small that a far search takes long.
const SMALL_SAMPLE: usize = 32;
/// Share of the right results that stopping early may cost.
const LOSS: f64 = 0.001;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Recall of effort 0, 1/8, …, 1, never falling.
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
    /// Measures a snapshot.
    pub fn of(state: &State) -> Self {
        let mut state = state.clone();
        state.calibration = Self::default();
        if state.live <= policy::BRUTE_FORCE_ITEMS {
            return state.calibration;
        }
        let learned = matches!(state.codebook.partition, Some(Partition::Learned(_)));
        let queries = state.sample(if learned { SAMPLE } else { SMALL_SAMPLE });
        let truth = found(&state, &queries, 1.0);
        for step in 0..STEPS {
            let effort = step as f32 / (STEPS - 1) as f32;
            state.calibration.recall[step] = recall(&truth, &found(&state, &queries, effort)) as f32;
        }
        for step in 1..STEPS {
            let least = state.calibration.recall[step - 1];
            state.calibration.recall[step] = state.calibration.recall[step].max(least);
        }
        if learned {
            const FAR: f32 = 0.75;
            let all = recall(&truth, &found(&state, &queries, FAR));
            // The largest steps last: the first that loses too much ends the search.
            for slack in [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05] {
                let before = std::mem::replace(&mut state.calibration.slack, slack);
                if recall(&truth, &found(&state, &queries, FAR)) < all - LOSS {
                    state.calibration.slack = before;
                    break;
                }
            }
        }
        state.calibration
    }
}

/// Ids found for each query at some effort, without the query itself.
fn found(state: &State, queries: &[f32], effort: f32) -> Vec<Vec<u64>> {
    let options = SearchOptions { k: K + 1, effort: Some(effort), ..SearchOptions::default() };
    let out = search_here(state, queries, &options);
    out.ids.chunks_exact(K + 1).map(|ids| ids[1..].to_vec()).collect()
}

/// Share of the `truth` that was found.
fn recall(truth: &[Vec<u64>], found: &[Vec<u64>]) -> f64 {
    let right = |(truth, found): (&Vec<u64>, &Vec<u64>)| truth.iter().filter(|id| found.contains(id)).count();
    let all = truth.iter().map(Vec::len).sum::<usize>();
    truth.iter().zip(found).map(right).sum::<usize>() as f64 / all as f64
}
