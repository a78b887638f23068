//! One replica of a shard: its connection, its load, and whether it answers.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::uri::InvalidUri;
use prost::Message;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::channel::Channel;
use super::failure::{Failure, Kind};
use super::wire::{headers_of_call, size_of, with_timeout};
use crate::v1::HasherServiceSearchResponse as Answer;
use crate::wire::framed;

const SEARCH: &str = "/lookalike.v1.HasherService/Search";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The other side counts its time by itself, and a call may end there a little earlier.
const CLOCKS_APART: Duration = Duration::from_millis(5);
/// Another replica, if there is one, is called for so long after a call did not reach this one.
const AVOIDED_FOR: Duration = Duration::from_secs(1);

/// Is called with whether a replica is left alone, when that changes.
pub type OnChange = Box<dyn Fn(bool) + Send + Sync>;

/// One replica.
pub struct Replica {
    channel: Channel,
    max_message_bytes: usize,
    state: Mutex<State>,
    opened: Notify,
    on_change: OnChange,
}

struct State {
    breaker: Breaker,
    is_probed: bool,
    unreachable_at: Option<Instant>,
}

/// What is sent to a replica.
#[derive(Clone, Debug)]
pub struct Question {
    /// The request as [`framed`] makes it.
    pub message: Bytes,
    /// What [`headers_of_call`] makes of the metadata.
    pub headers: Arc<HeaderMap>,
    /// How many vectors it has, each of which gets a result.
    pub vectors: usize,
    /// When nobody waits for the answer any more.
    pub limit: Instant,
}

impl Question {
    /// Whether its time is over, or was when a call of it ended just now.
    fn is_over(&self) -> bool {
        Instant::now() + CLOCKS_APART >= self.limit
    }
}

impl Replica {
    /// Of the server at `host:port`; connects with the first call.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub fn new(
        address: &str,
        max_message_bytes: usize,
        on_change: OnChange,
    ) -> Result<Arc<Self>, InvalidUri> {
        let state = State { breaker: Breaker::new(Instant::now()), is_probed: false, unreachable_at: None };
        Ok(Arc::new(Self {
            channel: Channel::new(address)?,
            max_message_bytes,
            state: Mutex::new(state),
            opened: Notify::new(),
            on_change,
        }))
    }

    /// Whether it is left alone.
    pub fn is_open(&self) -> bool {
        self.state().breaker.is_open()
    }

    /// See [`Breaker::silences`].
    pub fn silences(&self) -> u32 {
        self.state().breaker.silences()
    }

    /// How unwelcome a call is: lower is better.
    pub fn load(&self) -> (bool, usize) {
        let unreachable_at = self.state().unreachable_at;
        let is_avoided = unreachable_at.is_some_and(|at| at.elapsed() < AVOIDED_FOR);
        (is_avoided, self.channel.load())
    }

    /// Searches; what comes of it is noted here, but for a call that is given up, see [`Replica::unanswered`].
    ///
    /// # Errors
    ///
    /// No answer, or none that can be used. The call ends when the replica is found to be silent.
    pub async fn search(self: &Arc<Self>, question: &Question) -> Result<Answer, Failure> {
        let sent_at = Instant::now();
        let opened = self.opened.notified();
        let outcome = tokio::select! {
            biased;
            outcome = self.ask(question) => outcome,
            () = opened => return Err(Failure::new(Kind::Silent)),
        };
        match &outcome {
            Err(failure) if failure.is_late() => self.unanswered(sent_at),
            Err(failure) if !failure.is_answer() => {
                self.state().unreachable_at = Some(Instant::now());
            }
            _ => self.answered(),
        }
        outcome
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        if size_of(&question.message) > self.max_message_bytes {
            return Err(Failure::new(Kind::RequestTooLarge));
        }
        let left = question.limit.saturating_duration_since(Instant::now());
        let headers = with_timeout(&question.headers, left);
        let answer = self.channel.unary(SEARCH, headers, question.message.clone(), self.max_message_bytes);
        let answer = answer.await.map_err(|status| Failure::of(&status, question.is_over()))?;
        answer_of(answer, question.vectors)
    }

    fn answered(&self) {
        if self.state().breaker.answered(Instant::now()) {
            (self.on_change)(false);
        }
    }

    /// Takes note of a call that was given up without an answer.
    pub fn unanswered(self: &Arc<Self>, sent_at: Instant) {
        let mut state = self.state();
        let has_opened = state.breaker.unanswered(sent_at, Instant::now());
        let is_probed = std::mem::replace(&mut state.is_probed, true);
        drop(state);
        if has_opened {
            (self.on_change)(true);
            self.opened.notify_waiters();
        }
        if !is_probed {
            tokio::spawn(Arc::clone(self).probe());
        }
    }

    /// Asks every second until there is an answer, to that or to a search.
    async fn probe(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PROBE_EVERY).await;
            if Arc::strong_count(&self) == 1 {
                return; // nobody is left who could call it
            }
            {
                let mut state = self.state();
                if !state.breaker.is_in_doubt() {
                    state.is_probed = false;
                    return;
                }
            }
            let sent_at = Instant::now();
            let headers = with_timeout(&headers_of_call(HeaderMap::new()), PROBE_EVERY);
            let answer = self.channel.unary(HEALTH, headers, framed(&[]), self.max_message_bytes);
            let failure = match tokio::time::timeout(PROBE_EVERY, answer).await {
                Ok(Ok(_)) => None,
                Ok(Err(status)) => Some(Failure::of(&status, sent_at.elapsed() >= PROBE_EVERY)),
                Err(_) => Some(Failure::new(Kind::Late)),
            };
            match failure {
                Some(failure) if failure.is_late() => self.unanswered(sent_at),
                Some(failure) if !failure.is_answer() => {}
                _ => self.answered(),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// Decodes a replica's answer to as many vectors.
///
/// # Errors
///
/// Bytes that are no answer, or one to another number of vectors.
pub fn answer_of(content: Bytes, vectors: usize) -> Result<Answer, Failure> {
    match Answer::decode(content) {
        Ok(answer) if answer.results.len() == vectors => Ok(answer),
        _ => Err(Failure::new(Kind::Failed)),
    }
}
