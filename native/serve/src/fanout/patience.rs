//! How long a search that could be answered waits for the shards that are still at work.

use std::collections::VecDeque;
use std::time::Duration;

const MIN_GRACE: Duration = Duration::from_millis(20);
const TIMES_P99: u32 = 2;
const RECENT_ANSWERS: usize = 256;
const MOST_HALVINGS: u32 = 16;
const REFRESH_EVERY: usize = 32;
const MOST_HEDGES: f64 = 10.0;
const HEDGES_PER_CALL: f64 = 0.1;

/// Learns how long answers take, and from that how long a late one is worth waiting for.
#[derive(Debug)]
pub struct Patience {
    recent: VecDeque<Duration>,
    seen: usize,
    grace: Duration,
    usual: Duration,
    hedge_after: Option<Duration>,
    hedges: f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            recent: VecDeque::with_capacity(RECENT_ANSWERS),
            seen: 0,
            grace: MIN_GRACE,
            usual: Duration::ZERO,
            hedge_after: None,
            hedges: 0.0,
        }
    }
}

impl Patience {
    /// Takes how long one answer of a shard took.
    pub fn answered(&mut self, took: Duration) {
        if self.recent.len() == RECENT_ANSWERS {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        self.seen += 1;
        self.hedges = (self.hedges + HEDGES_PER_CALL).min(MOST_HEDGES);
        if self.seen < REFRESH_EVERY || self.seen.is_multiple_of(REFRESH_EVERY) {
            let mut ordered: Vec<Duration> = self.recent.iter().copied().collect();
            ordered.sort_unstable();
            self.grace = (TIMES_P99 * quantile(&ordered, 99)).max(MIN_GRACE);
            self.usual = quantile(&ordered, 90);
            self.hedge_after = (self.seen >= REFRESH_EVERY).then(|| quantile(&ordered, 95));
        }
    }

    /// How long to wait for more answers once enough have come: twice the p99, at least 20 ms.
    ///
    /// `silences` is how often in a row the shard was waited for in vain; each time halves the next one, so that a
    /// shard that hangs delays a few searches, and not all until that is certain.
    pub fn grace(&self, silences: u32) -> Duration {
        self.grace / (1 << silences.min(MOST_HALVINGS))
    }

    /// How long nine of ten answers take at most; a call is not late before that.
    ///
    /// Otherwise a shard that paused would be given up by each search at once: answers that are on their way would
    /// come too late, and the searches, faster than any that are answered, would keep the shard from answering at
    /// all.
    pub fn usual(&self) -> Duration {
        self.usual
    }

    /// After how long another replica may be asked the same: the p95. None: too few answers were seen.
    pub fn hedge_after(&self) -> Option<Duration> {
        self.hedge_after
    }

    /// Whether there may be one more hedge now: they are a tenth of the answers at most, so that shards which are
    /// all slow at once are not asked for twice as much.
    pub fn take_hedge(&mut self) -> bool {
        let allowed = self.hedges >= 1.0;
        if allowed {
            self.hedges -= 1.0;
        }
        allowed
    }
}

fn quantile(ordered: &[Duration], percent: usize) -> Duration {
    ordered[(percent * ordered.len()).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn grace_is_twice_the_recent_p99_and_usual_is_the_p90(
            micros in prop::collection::vec(100_u64..500_000, 1..600),
        ) {
            let mut patience = Patience::default();
            let took: Vec<Duration> = micros.into_iter().map(Duration::from_micros).collect();
            took.iter().for_each(|one| patience.answered(*one));
            // The figures may be as old as the last 31 answers.
            let windows = (0..took.len().min(REFRESH_EVERY)).map(|stale| {
                let seen = &took[..took.len() - stale];
                let mut recent = seen[seen.len().saturating_sub(RECENT_ANSWERS)..].to_vec();
                recent.sort_unstable();
                recent
            });
            let expected: Vec<_> = windows
                .map(|recent| ((2 * quantile(&recent, 99)).max(MIN_GRACE), quantile(&recent, 90)))
                .collect();
            prop_assert!(expected.contains(&(patience.grace(0), patience.usual())));
            prop_assert_eq!(patience.grace(3), patience.grace(0) / 8);
        }
    }

    #[test]
    fn what_was_slow_once_is_forgotten() {
        let mut patience = Patience::default();
        assert_eq!((patience.grace(0), patience.usual()), (MIN_GRACE, Duration::ZERO));
        (0..100).for_each(|_| patience.answered(Duration::from_secs(5)));
        assert_eq!(patience.grace(0), Duration::from_secs(10));
        (0..512).for_each(|_| patience.answered(Duration::from_millis(1)));
        assert_eq!(patience.grace(0), MIN_GRACE);
    }

    #[test]
    fn hedges_are_a_tenth_of_the_answers() {
        let mut patience = Patience::default();
        assert_eq!(patience.hedge_after(), None);
        assert!(!patience.take_hedge());
        (0..REFRESH_EVERY).for_each(|_| patience.answered(Duration::from_millis(3)));
        assert_eq!(patience.hedge_after(), Some(Duration::from_millis(3)));
        assert_eq!((0..REFRESH_EVERY).filter(|_| patience.take_hedge()).count(), 3);
    }
}
