//! What Python writes to its log, and to traces, of the calls that are answered here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tonic::Code;

use super::sampling::Origin;

/// Events that wait at most; more are dropped.
const MOST: usize = 1_024;

/// A defect, to be logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Defect {
    /// `/service/method`.
    pub method: &'static str,
    /// The call's request id.
    pub request_id: String,
    /// What went wrong.
    pub problem: String,
}

/// A call that is traced.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// `/service/method`.
    pub method: &'static str,
    /// The trace that it is part of.
    pub origin: Origin,
    /// The call's request id.
    pub request_id: String,
    /// When it began.
    pub begun: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Until its first stage began, and what the stages took, one after another.
    pub stages: (Duration, Vec<(&'static str, f64)>),
    /// Rows that its vectors were compared with.
    pub scanned: Option<u64>,
    /// How it ended.
    pub code: Code,
    /// The reason and the message, where it failed.
    pub failure: Option<(&'static str, String)>,
}

/// Something that Python is to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// See [`Defect`].
    Defect(Defect),
    /// See [`Trace`].
    Trace(Box<Trace>),
}

/// Events on their way to Python.
#[derive(Debug, Default)]
pub struct Events {
    waiting: Mutex<(VecDeque<Event>, bool)>,
    changed: Condvar,
    dropped: AtomicU64,
}

impl Events {
    /// Adds one, unless too many wait.
    pub fn add(&self, event: Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.0.len() >= MOST {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.0.push_back(event);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Those that wait, after up to `patience` if there are none; nothing: none will come any more.
    pub fn take(&self, patience: Duration) -> Option<Vec<Event>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let none = |(events, closed): &mut (VecDeque<Event>, bool)| events.is_empty() && !*closed;
        let result = self.changed.wait_timeout_while(waiting, patience, none);
        let (mut waiting, _) = result.unwrap_or_else(PoisonError::into_inner);
        let events: Vec<Event> = waiting.0.drain(..).collect();
        (!events.is_empty() || !waiting.1).then_some(events)
    }

    /// Says that none will come any more.
    pub fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
