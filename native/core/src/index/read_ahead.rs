//! Asking for codes before their turn, so that memory and arithmetic overlap.

use super::bucket::Run;
use crate::kernels::prefetch::prefetch;

/// Buckets whose codes are asked for before their turn.
pub const AHEAD: usize = 2;

/// Blocks that are asked for piece by piece while others are read, so that memory is never idle.
#[derive(Default)]
pub struct ReadAhead<'a> {
    rest: &'a [u8],
}

impl<'a> ReadAhead<'a> {
    /// Goes on to the runs of another bucket.
    pub fn start(&mut self, runs: impl Iterator<Item = &'a Run>) {
        for run in runs {
            prefetch(self.rest);
            self.rest = run.chunk().blocks();
        }
    }

    /// Asks for the next `bytes`.
    pub fn step(&mut self, bytes: usize) {
        let (now, later) = self.rest.split_at(bytes.min(self.rest.len()));
        prefetch(now);
        self.rest = later;
    }
}
