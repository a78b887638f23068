//! One shard: which of its replicas is asked, and when a second one is.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::failure::{Failure, Kind};
use super::replica::{Question, Replica};
use crate::v1::HasherServiceSearchResponse as Answer;

/// One shard.
pub struct Shard {
    /// Its identity as a field of the request.
    pub target: Bytes,
    replicas: Vec<Arc<Replica>>,
    next: AtomicUsize,
    kept: Mutex<Option<AbortHandle>>,
}

/// Which replicas are at work on a call, and since when.
#[derive(Debug, Default)]
pub struct AtWork(Mutex<Vec<(usize, Instant)>>);

impl AtWork {
    fn begin(&self, replica: usize) {
        self.lock().push((replica, Instant::now()));
    }

    fn end(&self, replica: usize) {
        self.lock().retain(|(one, _)| *one != replica);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Instant)>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Shard {
    /// Of replicas that hold the same.
    pub fn new(target: Bytes, replicas: Vec<Arc<Replica>>) -> Self {
        Self { target, replicas, next: AtomicUsize::new(0), kept: Mutex::new(None) }
    }

    /// Whether no replica is called.
    pub fn is_silent(&self) -> bool {
        self.replicas.iter().all(|replica| replica.is_open())
    }

    /// How often in a row all of its replicas were waited for in vain.
    pub fn silences(&self) -> u32 {
        self.replicas.iter().map(|replica| replica.silences()).min().unwrap_or(0)
    }

    /// Takes note that a call was given up, by those who were at work on it.
    pub fn gave_up(&self, at_work: &AtWork) {
        for (replica, sent_at) in at_work.lock().drain(..) {
            self.replicas[replica].unanswered(sent_at);
        }
    }

    /// Takes a call that nobody waits for any more.
    ///
    /// One goes on: if the shard only paused, its answer says so long before the next probe.
    pub fn keep(&self, call: impl Future<Output: Send> + Send + 'static) {
        let mut kept = self.kept.lock().expect("nothing panics while it holds the lock");
        if kept.as_ref().is_none_or(AbortHandle::is_finished) {
            *kept = Some(tokio::spawn(call).abort_handle());
        }
    }

    /// Asks one replica, and another one where that may help: if the first is slower than `hedge` says, or failed.
    ///
    /// # Errors
    ///
    /// What kept it from answering.
    pub async fn search(
        &self,
        question: &Question,
        at_work: &AtWork,
        hedge: impl Hedge,
    ) -> Result<Answer, Failure> {
        let Some(first) = self.choose(None) else {
            return Err(Failure::new(Kind::Silent));
        };
        let mut one = pin!(self.attempt(first, question, at_work));
        let outcome = match hedge.after() {
            Some(after) if self.replicas.len() > 1 => {
                tokio::select! {
                    biased;
                    outcome = &mut one => outcome,
                    () = tokio::time::sleep(after) => {
                        match self.choose(Some(first)).filter(|_| hedge.take()) {
                            Some(second) => {
                                let other = pin!(self.attempt(second, question, at_work));
                                return self.either(one, other, at_work).await;
                            }
                            None => one.await,
                        }
                    }
                }
            }
            _ => one.await,
        };
        match outcome {
            Err(failure) if failure.is_of_the_replica() => {
                self.again(failure, first, question, at_work).await
            }
            outcome => outcome,
        }
    }

    /// The first of two answers; the replica that is not waited for any more gave none.
    async fn either(
        &self,
        mut one: impl Future<Output = Result<Answer, Failure>> + Unpin,
        mut other: impl Future<Output = Result<Answer, Failure>> + Unpin,
        at_work: &AtWork,
    ) -> Result<Answer, Failure> {
        tokio::select! {
            biased;
            first = &mut one => self.settled(first, other, at_work).await,
            first = &mut other => self.settled(first, one, at_work).await,
        }
    }

    async fn settled(
        &self,
        first: Result<Answer, Failure>,
        rest: impl Future<Output = Result<Answer, Failure>>,
        at_work: &AtWork,
    ) -> Result<Answer, Failure> {
        match first {
            Err(failure) if !failure.is_callers_mistake() => rest.await,
            outcome => {
                self.gave_up(at_work);
                outcome
            }
        }
    }

    /// A second attempt: by another replica, or, if the call did not reach the first, there once more.
    async fn again(
        &self,
        failure: Failure,
        first: usize,
        question: &Question,
        at_work: &AtWork,
    ) -> Result<Answer, Failure> {
        let is_unreachable = failure.kind == Kind::Unreachable;
        let second = self.choose(Some(first)).or(is_unreachable.then_some(first));
        let Some(second) = second else {
            return Err(failure);
        };
        let outcome = self.attempt(second, question, at_work).await;
        // What a replica says of itself is worth more than that another one cannot be reached.
        outcome.map_err(|second| if is_unreachable { second } else { failure })
    }

    async fn attempt(
        &self,
        replica: usize,
        question: &Question,
        at_work: &AtWork,
    ) -> Result<Answer, Failure> {
        at_work.begin(replica);
        let outcome = self.replicas[replica].search(question).await;
        at_work.end(replica);
        outcome
    }

    /// The replica with the fewest calls in progress; None: all have stopped answering.
    fn choose(&self, but: Option<usize>) -> Option<usize> {
        let count = self.replicas.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..count).map(|step| (start + step) % count);
        in_turn
            .filter(|replica| Some(*replica) != but && !self.replicas[*replica].is_open())
            .min_by_key(|replica| self.replicas[*replica].load())
    }
}

/// Says when a second replica may be asked.
pub trait Hedge: Send + Sync {
    /// After how long.
    fn after(&self) -> Option<Duration>;
    /// Whether that is still so.
    fn take(&self) -> bool;
}

#[cfg(test)]
impl Shard {
    /// Whether one of its replicas is left alone.
    pub fn is_degraded(&self) -> bool {
        self.replicas.iter().any(|replica| replica.is_open())
    }
}
