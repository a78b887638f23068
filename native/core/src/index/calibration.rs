//! What effort buys: measured on some of the stored vectors when the codebook is trained; see [`super::train`].

/// Efforts measured: 0 to 1 in equal steps.
pub const STEPS: usize = 9;
/// Results that recall is counted over.
const K: usize = 10;
/// Results that are searched for: the vector itself is among them.
pub const RESULTS: usize = K + 1;
/// Steps at which the loss by stopping early is measured.
pub const STOPS: [usize; 3] = [1, 4, 6];
/// The last of [`STOPS`] as an effort: beyond, searches do not stop early.
pub const FARTHEST_STOP: f32 = effort(STOPS[STOPS.len() - 1]);

/// The effort of a step.
pub const fn effort(step: usize) -> f32 {
    step as f32 / (STEPS - 1) as f32
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Recall of effort 0, 1/8, …, 1 without an early stop, against what effort 1 finds; never falling.
    pub recall: [f32; STEPS],
    /// Early-stop margin: a bucket whose centre scores more than this below the k-th best result is skipped.
    /// Infinite: never skip.
    pub slack: f32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { recall: [1.0; STEPS], slack: f32::INFINITY }
    }
}
