//! Query-directed multi-probe order (Lv, Josephson, Wang, Charikar & Li, "Multi-Probe LSH", VLDB 2007).
//!
//! A bucket is one choice in each of several rounds: the side of a hyperplane, the axis of a
//! polytope. The query's own choices cost nothing, any other has a score, and a bucket's score is the
//! sum over the rounds. Buckets are made in order of score from a heap: with each round's choices
//! sorted, and the rounds by their cheapest, a bucket whose last changed round is `r` leads to the next
//! choice in `r`, to the cheapest of `r + 1` as well, and, where `r` has its cheapest, to the cheapest of
//! `r + 1` instead. That reaches every bucket exactly once, and never before a better one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::iter::once;

/// Most hyperplanes of one table.
pub const MAX_PLANES: usize = 24;
/// How many choices of a round are sorted at first; few probes look further.
const SORTED_FIRST: usize = 16;

/// One bucket to visit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Sum of what its choices cost; for hyperplanes the squared distances from those crossed.
    pub score: f32,
    /// Bucket number.
    pub bucket: u32,
}

/// A choice in one round that is not the query's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alternative {
    /// What it costs; not negative.
    pub score: f32,
    /// What it adds to the bucket number, modulo 2³².
    pub change: u32,
}

/// The alternatives of one round: a range of [`ProbeSequence::alternatives`], sorted up to `sorted`.
#[derive(Clone, Copy, Debug)]
struct Round {
    start: usize,
    sorted: usize,
    end: usize,
}

/// A bucket that differs from the query's own, last in round `round`, by its alternative `at`.
#[derive(Clone, Copy, Debug)]
struct Combination {
    probe: Probe,
    /// Without that alternative: scores then only grow by additions, which keeps their order exact in
    /// floating point.
    before: Probe,
    round: usize,
    at: usize,
}

impl Ord for Combination {
    /// The greatest is the one to probe first, as `BinaryHeap` is a max-heap.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (other.probe, self.probe);
        a.score.total_cmp(&b.score).then(a.bucket.cmp(&b.bucket))
    }
}

impl PartialOrd for Combination {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Combination {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Combination {}

/// All buckets of one table in order of score. Reusable: each `start` begins again.
#[derive(Debug, Default)]
pub struct ProbeSequence {
    alternatives: Vec<Alternative>,
    rounds: Vec<Round>,
    heap: BinaryHeap<Combination>,
    next: Option<Probe>,
}

impl ProbeSequence {
    /// Starts at the query's own bucket: bit `i` is set where `margins[i]` is not negative.
    ///
    /// Panics beyond [`MAX_PLANES`] margins.
    pub fn start(&mut self, margins: &[f32]) {
        assert!(margins.len() <= MAX_PLANES, "too many hyperplanes");
        self.start_rounds(
            bucket_of(margins),
            margins.iter().enumerate().map(|(i, m)| {
                let bit = 1u32 << i;
                once(Alternative { score: m * m, change: if *m >= 0.0 { bit.wrapping_neg() } else { bit } })
            }),
        );
    }

    /// Starts at the query's own bucket `home`, with the alternatives of each round in any order.
    pub fn start_rounds<R>(&mut self, home: u32, rounds: impl Iterator<Item = R>)
    where
        R: Iterator<Item = Alternative>,
    {
        self.heap.clear();
        self.alternatives.clear();
        self.rounds.clear();
        for round in rounds {
            let start = self.alternatives.len();
            self.alternatives.extend(round);
            let mut round = Round { start, sorted: start, end: self.alternatives.len() };
            if alternative(&mut self.alternatives, &mut round, 0).is_some() {
                self.rounds.push(round);
            }
        }
        let cheapest = |round: &Round| self.alternatives[round.start];
        self.rounds.sort_unstable_by(|a, b| by_score(&cheapest(a), &cheapest(b)));
        let home = Probe { score: 0.0, bucket: home };
        self.push(home, 0, 0);
        self.next = Some(home);
    }

    /// The next bucket, without visiting it; `None` when all have been visited.
    pub fn peek(&self) -> Option<Probe> {
        self.next
    }

    /// Moves on to the bucket after the one of [`ProbeSequence::peek`].
    pub fn advance(&mut self) {
        let Some(Combination { probe, before, round, at }) = self.heap.pop() else {
            self.next = None;
            return;
        };
        self.next = Some(probe);
        self.push(before, round, at + 1);
        self.push(probe, round + 1, 0);
        if at == 0 {
            self.push(before, round + 1, 0);
        }
    }

    /// Adds `before` with alternative `at` of `round` to the heap, if there is such a one.
    fn push(&mut self, before: Probe, round: usize, at: usize) {
        let Some(list) = self.rounds.get_mut(round) else { return };
        let Some(chosen) = alternative(&mut self.alternatives, list, at) else { return };
        let score = before.score + chosen.score;
        let bucket = before.bucket.wrapping_add(chosen.change);
        self.heap.push(Combination { probe: Probe { score, bucket }, before, round, at });
    }
}

/// The alternative that is number `at` of its round by score, which is sorted as far as that needs.
fn alternative(alternatives: &mut [Alternative], round: &mut Round, at: usize) -> Option<Alternative> {
    let at = round.start + at;
    while at >= round.sorted && round.sorted < round.end {
        let rest = &mut alternatives[round.sorted..round.end];
        let count = rest.len().min(SORTED_FIRST.max(round.sorted - round.start));
        if count < rest.len() {
            rest.select_nth_unstable_by(count, by_score);
        }
        rest[..count].sort_unstable_by(by_score);
        round.sorted += count;
    }
    alternatives[..round.end].get(at).copied()
}

fn by_score(a: &Alternative, b: &Alternative) -> Ordering {
    a.score.total_cmp(&b.score).then(a.change.cmp(&b.change))
}

/// The bucket of a vector with these margins.
pub fn bucket_of(margins: &[f32]) -> u32 {
    margins.iter().enumerate().fold(0, |bucket, (i, m)| bucket | u32::from(*m >= 0.0) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(sequence: &mut ProbeSequence) -> Vec<Probe> {
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
            let mut sequence = ProbeSequence::default();
            sequence.start(&margins);
            let probes = all(&mut sequence);
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

        #[test]
        fn combines_rounds_of_any_length_in_order_of_the_sum(
            // Few distinct scores, so that many are equal, and rounds beyond what is sorted at first.
            rounds in prop::collection::vec(prop::collection::vec(0u8..9, 0..40), 0..4),
        ) {
            let mut radix = 1;
            let mut lists = Vec::new();
            for round in &rounds {
                let scores = round.iter().zip(1..);
                lists.push(scores.map(|(score, i)| Alternative { score: f32::from(*score), change: i * radix })
                    .collect::<Vec<_>>());
                radix *= round.len() as u32 + 1;
            }
            let mut sequence = ProbeSequence::default();
            sequence.start_rounds(0, lists.iter().map(|list| list.iter().copied()));
            let probes = all(&mut sequence);
            prop_assert_eq!(probes.len(), radix as usize);
            let mut seen = vec![false; probes.len()];
            prop_assert!(probes.windows(2).all(|pair| pair[0].score <= pair[1].score));
            for probe in probes {
                prop_assert!(!std::mem::replace(&mut seen[probe.bucket as usize], true));
                let (mut rest, mut score) = (probe.bucket as usize, 0);
                for round in &rounds {
                    let chosen = rest % (round.len() + 1);
                    rest /= round.len() + 1;
                    score += if chosen == 0 { 0 } else { u32::from(round[chosen - 1]) };
                }
                prop_assert_eq!(probe.score, score as f32);
            }
        }
    }
}
