//! The index's write path: one writer at a time, which publishes the next snapshot.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::items::Items;
use super::options::IndexOptions;
use super::state::State;
use super::writer::Writer;
use crate::error::{Result, invalid};
use crate::threads::Stop;

/// The current snapshot, and what writers and the rebuild take turns at.
#[derive(Debug)]
pub(super) struct Live {
    pub options: IndexOptions,
    state: ArcSwap<State>,
    writing: Mutex<Writing>,
    /// Notified when a rebuild has ended.
    ended: Condvar,
    rebuilding: AtomicBool,
    failed_rebuilds: AtomicUsize,
}

/// What belongs to the writer whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Made by the first write.
    pub writer: Option<Writer>,
    /// The rebuild that runs in the background.
    pub rebuild: Option<Rebuild>,
    /// Number of items when a rebuild failed.
    pub failed_at: Option<usize>,
}

/// What a rebuild in the background and the writers exchange.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    pub stop: Stop,
    /// Ids that were added or removed since its snapshot, or since it last caught up.
    pub touched: HashSet<u64>,
}

impl Live {
    pub fn new(options: IndexOptions, state: State) -> Self {
        Self {
            options,
            state: ArcSwap::from_pointee(state),
            writing: Mutex::default(),
            ended: Condvar::new(),
            rebuilding: AtomicBool::new(false),
            failed_rebuilds: AtomicUsize::new(0),
        }
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Makes `state` the current snapshot. Only whoever holds the lock does.
    pub fn publish(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Removes the items with the ids `gone` and inserts `new` ones, none of whose ids are there then; starts a
    /// rebuild if one is due. Returns how many were removed.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if there would be too many rows.
    pub fn write(self: &Arc<Self>, gone: &[u64], new: &Items) -> Result<usize> {
        let mut writing = self.lock();
        let mut next = State::clone(&self.state.load());
        if next.live + next.removed + new.ids.len() > u32::MAX as usize {
            return invalid("one index holds at most 2**32-1 rows; spread the items over more shards");
        }
        // Missing until all is done: after a panic it is remade from the state, which is then the old one.
        let mut writer = writing.writer.take().unwrap_or_else(|| Writer::of(&next));
        if let Some(rebuild) = &mut writing.rebuild {
            rebuild.touched.extend(gone);
        }
        let removed = writer.change(&mut next, gone, new);
        writing.writer = Some(writer);
        self.publish(next);
        self.rebuild_if_due(&mut writing);
        Ok(removed)
    }

    /// Copies of the documents of the items with these ids; none for ids that are not there.
    pub fn documents(&self, ids: &[u64]) -> Vec<Option<Vec<u8>>> {
        let mut writing = self.lock();
        let state = self.snapshot();
        let writer = writing.writer.get_or_insert_with(|| Writer::of(&state));
        let document = |id: &u64| Some(state.documents.get(writer.ordinal(*id)?).to_vec());
        ids.iter().map(document).collect()
    }

    /// Waits for the turn of the caller.
    pub fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a rebuild runs in the background.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuilding.load(Ordering::Acquire)
    }

    /// Rebuilds in the background that failed.
    pub fn failed_rebuilds(&self) -> usize {
        self.failed_rebuilds.load(Ordering::Acquire)
    }

    /// Waits for the end of the rebuild that runs, if any.
    pub fn wait(&self) {
        let runs = |writing: &mut Writing| writing.rebuild.is_some();
        drop(self.ended.wait_while(self.lock(), runs).unwrap_or_else(PoisonError::into_inner));
    }

    /// Stops the rebuild of an index that is no longer used, without waiting for it.
    pub fn stop_rebuild(&self) {
        if let Some(rebuild) = &self.lock().rebuild {
            rebuild.stop.set();
        }
    }

    /// Notes that a rebuild runs; how to stop it.
    pub fn begin(&self, writing: &mut Writing) -> Stop {
        let rebuild = Rebuild::default();
        let stop = rebuild.stop.clone();
        writing.rebuild = Some(rebuild);
        self.rebuilding.store(true, Ordering::Release);
        stop
    }

    /// Notes that the rebuild has ended.
    pub fn end(&self, writing: &mut Writing) {
        writing.rebuild = None;
        self.rebuilding.store(false, Ordering::Release);
        self.ended.notify_all();
    }

    /// Ends a rebuild that has failed.
    pub fn give_up(&self, writing: &mut Writing) {
        writing.failed_at = Some(self.state.load().live);
        self.failed_rebuilds.fetch_add(1, Ordering::AcqRel);
        self.end(writing);
    }
}
