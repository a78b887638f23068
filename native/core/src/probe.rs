//! Query-directed multi-probe order (Lv, Josephson, Wang, Charikar & Li, "Multi-Probe LSH", VLDB 2007).
//!
//! A perturbation set says which hyperplanes the probe crosses; its score is the sum of the squared
//! distances of the query from them. Sets are made in order of score from a heap: over the
//! hyperplanes sorted by distance, a set whose last element is `j` leads to the one with `j`
//! replaced by `j + 1` and the one with `j + 1` added, which reaches every set exactly once.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Most hyperplanes of one table.
pub const MAX_PLANES: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Perturbation {
    score: f32,
    /// The score without the last element: scores then only grow by additions, which keeps their
    /// order exact in floating point.
    score_before_last: f32,
    last: usize,
    flips: u32,
}

impl Ord for Perturbation {
    /// The greatest is the one to probe first, as `BinaryHeap` is a max-heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(other.flips.cmp(&self.flips))
    }
}

impl PartialOrd for Perturbation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Perturbation {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Perturbation {}

/// One bucket to visit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Sum of the squared distances from the hyperplanes crossed.
    pub score: f32,
    /// Bucket number.
    pub bucket: u32,
}

/// All buckets of one table in order of score. Reusable: [`ProbeSequence::start`] begins anew.
#[derive(Debug, Default)]
pub struct ProbeSequence {
    home: u32,
    /// (squared distance, bit), nearest hyperplane first.
    planes: Vec<(f32, u32)>,
    heap: BinaryHeap<Perturbation>,
    /// Buckets in an order given from outside, the last one first.
    ranked: Vec<Probe>,
    next: Option<Probe>,
}

impl ProbeSequence {
    /// Starts at the query's own bucket: bit `i` is set where `margins[i]` is not negative.
    ///
    /// Panics beyond [`MAX_PLANES`] margins.
    pub fn start(&mut self, margins: &[f32]) {
        assert!(margins.len() <= MAX_PLANES, "too many hyperplanes");
        self.home = bucket_of(margins);
        self.planes.clear();
        self.planes.extend(margins.iter().enumerate().map(|(i, m)| (m * m, 1 << i)));
        self.planes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.heap.clear();
        self.ranked.clear();
        if let Some(&(score, flips)) = self.planes.first() {
            self.heap.push(Perturbation { score, score_before_last: 0.0, last: 0, flips });
        }
        self.next = Some(Probe { score: 0.0, bucket: self.home });
    }

    /// Starts a sequence of the given buckets, lowest score first, equal ones by number.
    pub fn start_ranked(&mut self, probes: impl Iterator<Item = Probe>) {
        self.heap.clear();
        self.ranked.clear();
        self.ranked.extend(probes);
        self.ranked.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(b.bucket.cmp(&a.bucket)));
        self.next = self.ranked.pop();
    }

    /// The next bucket, without visiting it; `None` when all have been visited.
    pub fn peek(&self) -> Option<Probe> {
        self.next
    }

    /// Moves on to the bucket after the one of [`ProbeSequence::peek`].
    pub fn advance(&mut self) {
        let Some(mut top) = self.heap.peek_mut() else {
            self.next = self.ranked.pop();
            return;
        };
        let set = *top;
        self.next = Some(Probe { score: set.score, bucket: self.home ^ set.flips });
        let last = set.last + 1;
        let Some(&(square, bit)) = self.planes.get(last) else {
            PeekMut::pop(top);
            return;
        };
        *top = Perturbation {
            score: set.score_before_last + square,
            score_before_last: set.score_before_last,
            last,
            flips: set.flips ^ self.planes[set.last].1 | bit,
        };
        drop(top);
        self.heap.push(Perturbation {
            score: set.score + square,
            score_before_last: set.score,
            last,
            flips: set.flips | bit,
        });
    }
}

/// The bucket of a vector with these margins.
pub fn bucket_of(margins: &[f32]) -> u32 {
    margins.iter().enumerate().fold(0, |bucket, (i, m)| bucket | u32::from(*m >= 0.0) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(margins: &[f32]) -> Vec<Probe> {
        let mut sequence = ProbeSequence::default();
        sequence.start(margins);
        let mut probes = Vec::new();
        while let Some(probe) = sequence.peek() {
            probes.push(probe);
            sequence.advance();
        }
        probes
    }

    proptest! {
        #[test]
        fn emits_each_bucket_once_in_order_of_its_score(
            margins in prop::collection::vec(-2f32..2.0, 1..11),
        ) {
            let probes = all(&margins);
            prop_assert_eq!(probes.len(), 1 << margins.len());
            prop_assert_eq!(probes[0].bucket, bucket_of(&margins));
            let mut seen = vec![false; probes.len()];
            for pair in probes.windows(2) {
                prop_assert!(pair[0].score <= pair[1].score);
            }
            for probe in probes {
                prop_assert!(!std::mem::replace(&mut seen[probe.bucket as usize], true));
                let flips = probe.bucket ^ bucket_of(&margins);
                let score: f32 = margins.iter().enumerate()
                    .filter(|(i, _)| flips >> i & 1 == 1).map(|(_, m)| m * m).sum();
                prop_assert!((score - probe.score).abs() <= 1e-4 * (1.0 + score));
            }
        }
    }
}
