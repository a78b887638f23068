//! How long the stages of a search take.

use std::time::Instant;

/// Times consecutive stages.
pub struct Clock(Instant);

impl Clock {
    /// Starts the first stage.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Ends a stage; its seconds.
    pub fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed = now - self.0;
        self.0 = now;
        elapsed.as_secs_f64()
    }
}
