//! Leaving a replica alone that has stopped answering, so that nobody waits for it.

use std::time::{Duration, Instant};

const CALLS: u32 = 3;
const SPAN: Duration = Duration::from_secs(2);

/// Watches one replica; open means: it is not called, but for probes.
///
/// It opens when several calls in a row, sent over some time, were given up without any answer, however short the
/// patience of their callers was: an answer to anything else in between, a probe's too, shows that it is alive. It
/// closes with the next answer.
#[derive(Debug)]
pub struct Breaker {
    is_open: bool,
    given_up: u32,
    silences: u32,
    /// When the last silence ended.
    silent_until: Option<Instant>,
    silent_since: Instant,
    answered_at: Instant,
}

impl Breaker {
    /// One of a replica that was not called yet.
    pub fn new(now: Instant) -> Self {
        Self {
            is_open: false,
            given_up: 0,
            silences: 0,
            silent_until: None,
            silent_since: now,
            answered_at: now,
        }
    }

    /// Whether the replica is left alone.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// How often in a row it was waited for in vain; calls that were under way together count once.
    pub fn silences(&self) -> u32 {
        self.silences
    }

    /// Whether it did not answer lately, so that a probe should find out more.
    pub fn is_in_doubt(&self) -> bool {
        self.given_up > 0
    }

    /// Takes note of an answer of whatever kind, and returns whether that closed it.
    pub fn answered(&mut self, now: Instant) -> bool {
        self.given_up = 0;
        self.silences = 0;
        self.answered_at = now;
        std::mem::take(&mut self.is_open)
    }

    /// Takes note of a call that was given up without an answer, and returns whether that opened it.
    pub fn unanswered(&mut self, sent_at: Instant, now: Instant) -> bool {
        // A slow call may be older than an answer to a later one.
        let since = sent_at.max(self.answered_at);
        self.silent_since = if self.is_in_doubt() { self.silent_since.min(since) } else { since };
        self.given_up += 1;
        if self.silent_until.is_none_or(|until| sent_at >= until) {
            self.silences += 1;
            self.silent_until = Some(now);
        }
        let opens = !self.is_open && self.given_up >= CALLS && now.duration_since(self.silent_since) >= SPAN;
        self.is_open |= opens;
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn opens_after_several_calls_over_some_time_and_closes_with_an_answer() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        assert!(!breaker.unanswered(start, start));
        assert!(!breaker.unanswered(start, start + seconds(1.0)));
        assert!(!breaker.unanswered(start + seconds(1.0), start + seconds(1.9)), "not for long enough");
        assert!(breaker.unanswered(start + seconds(1.5), start + seconds(2.0)));
        assert!(!breaker.unanswered(start + seconds(1.6), start + seconds(2.1)), "it is open already");
        assert!(breaker.is_open());
        assert!(breaker.answered(start + seconds(3.0)));
        assert!(!breaker.is_open());
        assert!(!breaker.answered(start + seconds(3.0)), "it is closed already");
    }

    #[test]
    fn calls_that_were_under_way_together_are_one_silence() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for sent_at in [0.0, 0.1, 0.2] {
            breaker.unanswered(start + seconds(sent_at), start + seconds(sent_at + 0.3));
        }
        assert_eq!((breaker.given_up, breaker.silences()), (3, 1));
        breaker.unanswered(start + seconds(0.35), start + seconds(0.5));
        assert_eq!(breaker.silences(), 2);
        breaker.unanswered(start + seconds(0.4), start + seconds(1.0));
        assert_eq!(breaker.silences(), 2);
        breaker.answered(start + seconds(1.0));
        assert_eq!((breaker.given_up, breaker.silences()), (0, 0));
    }

    #[test]
    fn one_impatient_caller_does_not_open_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100 * tenth);
            breaker.unanswered(now, now + Duration::from_millis(1));
            if tenth % 10 == 0 {
                breaker.answered(now); // the probe of each second
            }
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn slow_calls_older_than_the_last_answer_do_not_open_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        breaker.answered(start + seconds(9.5));
        for _ in 0..5 {
            breaker.unanswered(start, start + seconds(10.0));
        }
        assert!(!breaker.is_open());
    }
}
