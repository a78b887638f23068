//! The rows with the best estimates so far.

/// A row that may be among the results.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Estimated inner product.
    pub estimate: f32,
    /// Which of the visited runs it lies in.
    pub run: u32,
    /// Its place there.
    pub row: u32,
}

/// Keeps the best `keep` rows offered, and what an estimate must exceed to be among them.
#[derive(Debug, Default)]
pub struct Candidates {
    entries: Vec<Candidate>,
    keep: usize,
    limit: usize,
    threshold: f32,
}

impl Candidates {
    /// Starts again.
    pub fn start(&mut self, keep: usize) {
        self.entries.clear();
        self.keep = keep;
        // Selecting is linear in the entries: half again as many amortise it.
        self.limit = keep + (keep / 2).max(32);
        self.threshold = f32::NEG_INFINITY;
    }

    /// Estimates at or below this are not among the best.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Whether the best may not be all that were offered.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.keep
    }

    /// Takes a row above the threshold.
    pub fn offer(&mut self, candidate: Candidate) {
        self.entries.push(candidate);
        if self.entries.len() >= self.limit {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.entries.len() > self.keep {
            self.entries.select_nth_unstable_by(self.keep - 1, order);
            self.entries.truncate(self.keep);
            // Equal estimates are still offered: their order alone decides, not the order of the visits.
            self.threshold = self.entries[self.keep - 1].estimate.next_down();
        }
    }

    /// The `k`-th best estimate; none if there are fewer.
    pub fn kth_best(&self, k: usize) -> Option<f32> {
        let mut estimates: Vec<f32> = self.entries.iter().map(|candidate| candidate.estimate).collect();
        (estimates.len() >= k).then(|| *estimates.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1)
    }

    /// The best rows, in no order.
    pub fn best(&mut self) -> &[Candidate] {
        self.shrink();
        &self.entries
    }
}

/// Best first; equal estimates in the order of the visit, so that results do not depend on the selection.
fn order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.estimate.total_cmp(&a.estimate).then((a.run, a.row).cmp(&(b.run, b.row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn keeps_the_best() {
        let mut rng = SplitMix64::new(3);
        for (keep, count) in [(1, 1), (5, 3), (10, 1_000), (100, 5_000)] {
            let all: Vec<f32> = (0..count).map(|_| rng.next_bell()).collect();
            let mut candidates = Candidates::default();
            candidates.start(keep);
            for (row, estimate) in all.iter().enumerate() {
                if *estimate > candidates.threshold() {
                    candidates.offer(Candidate { estimate: *estimate, run: 0, row: row as u32 });
                }
            }
            let mut best = all.clone();
            best.sort_by(|a, b| b.total_cmp(a));
            best.truncate(keep);
            let mut found: Vec<f32> = candidates.best().iter().map(|c| c.estimate).collect();
            found.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(found, best);
        }
    }
}
