//! The side of the index that writers take turns at, and training anew in the background beside them.
//!
//! A rebuild trains and fills a new state from a snapshot, or only writes its rows side by side again, on threads of
//! its own that give way to searches and writes. Writes go on with the old codebook meanwhile and note the ids that
//! they touch. The rebuild then brings the new state up to date: for each touched id it takes the item over as it is
//! by then. It does so without the lock until few are left, and with it for those, and swaps the new state in.
//! Searches never wait.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use arc_swap::ArcSwap;
use rayon::ThreadPool;

use super::IndexOptions;
use super::state::{Items, State};
use super::training;
use super::writer::Writer;
use crate::error::{Result, invalid};
use crate::threads::{self, Stop};

/// Touched items that are few enough to be brought up to date while writers wait.
const FEW: usize = 1_000;
/// Rounds of catching up after which writers wait, however many items are left.
const ROUNDS: usize = 8;

/// What an index and its rebuild have in common.
#[derive(Debug)]
pub(super) struct Shared {
    options: IndexOptions,
    /// The current snapshot.
    pub state: ArcSwap<State>,
    writing: Mutex<Writing>,
    /// Told when a rebuild has ended.
    ended: Condvar,
    rebuilding: AtomicBool,
    failed_rebuilds: AtomicUsize,
}

/// What belongs to the writer whose turn it is.
#[derive(Debug, Default)]
struct Writing {
    /// Made by the first write.
    writer: Option<Writer>,
    rebuild: Option<Rebuild>,
    /// Number of items when a rebuild failed.
    failed_at: Option<usize>,
}

/// The one rebuild that is going on.
#[derive(Debug, Default)]
struct Rebuild {
    stop: Stop,
    /// Ids that were added or removed since its snapshot, or since it last caught up.
    touched: HashSet<u64>,
}

impl Shared {
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

    /// Takes the items with the ids `gone` out and puts `new` ones in, none of whose ids are there then; starts a
    /// rebuild if one is due. Returns how many were taken out.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if there would be too many rows.
    pub fn write(self: &Arc<Self>, gone: &[u64], new: &Items) -> Result<usize> {
        let mut writing = self.lock();
        let mut next = State::clone(&self.state.load());
        if next.live + next.removed + new.ids.len() > u32::MAX as usize {
            return invalid("one index holds at most 2**32-1 rows; spread the items over more shards");
        }
        // Taken out until all is done: after a panic it is made anew from the state, which is then the old one.
        let mut writer = writing.writer.take().unwrap_or_else(|| Writer::of(&next));
        if let Some(rebuild) = &mut writing.rebuild {
            rebuild.touched.extend(gone);
        }
        let removed = writer.change(&mut next, gone, new);
        writing.writer = Some(writer);
        self.state.store(Arc::new(next));
        self.rebuild_if_due(&mut writing);
        Ok(removed)
    }

    /// Whether a rebuild is going on in the background.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuilding.load(Ordering::Acquire)
    }

    /// Rebuilds in the background that failed.
    pub fn failed_rebuilds(&self) -> usize {
        self.failed_rebuilds.load(Ordering::Acquire)
    }

    /// Waits for the end of the rebuild that is going on, if any.
    pub fn wait(&self) {
        let under_way = |writing: &mut Writing| writing.rebuild.is_some();
        drop(self.ended.wait_while(self.lock(), under_way).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebuild_if_due(self: &Arc<Self>, writing: &mut Writing) {
        let state = self.state.load_full();
        if writing.rebuild.is_some()
            || writing.failed_at.is_some_and(|items| !training::worth_another_try(state.live, items))
        {
            return;
        }
        if !is_due(&state, writing) {
            if training::scattered(state.live, state.changes) {
                self.start(writing, |state, stop| state.compacted(stop));
            }
        } else if state.live <= training::CHEAP {
            writing.writer = None;
            self.state.store(Arc::new(State::train(&self.options, &state.items())));
        } else {
            let options = self.options.clone();
            self.start(writing, move |state, stop| {
                let items = state.items();
                drop(state);
                State::train_until(stop, &options, &items)
            });
        }
    }

    /// Starts a rebuild whose new state comes from `train`.
    fn start(
        self: &Arc<Self>,
        writing: &mut Writing,
        train: impl FnOnce(Arc<State>, &Stop) -> Option<State> + Send + 'static,
    ) {
        let rebuild = Rebuild::default();
        let stop = rebuild.stop.clone();
        writing.rebuild = Some(rebuild);
        self.rebuilding.store(true, Ordering::Release);
        let (shared, snapshot) = (Arc::downgrade(self), self.state.load_full());
        let run = move || {
            let rebuilt = catch_unwind(AssertUnwindSafe(|| {
                // Not a pool that searches use: they would queue behind its work.
                let pool = threads::background_pool(half_of_the_cores()).ok()?;
                let new = pool.install(|| train(snapshot, &stop))?;
                catch_up(&shared, new, &stop, &pool)
            }));
            // The panic itself has gone to the panic hook.
            if !matches!(rebuilt, Ok(Some(())))
                && let Some(shared) = shared.upgrade()
            {
                shared.give_up(&mut shared.lock());
            }
        };
        if thread::Builder::new().name("rebuild".to_owned()).spawn(run).is_err() {
            self.give_up(writing);
        }
    }

    /// Ends a rebuild that has failed.
    fn give_up(&self, writing: &mut Writing) {
        writing.failed_at = Some(self.state.load().live);
        self.failed_rebuilds.fetch_add(1, Ordering::AcqRel);
        self.end(writing);
    }

    fn end(&self, writing: &mut Writing) {
        writing.rebuild = None;
        self.rebuilding.store(false, Ordering::Release);
        self.ended.notify_all();
    }
}

/// Stops the rebuild of an index that is no longer used, without waiting for it.
pub(super) fn stop(shared: &Shared) {
    if let Some(rebuild) = &shared.lock().rebuild {
        rebuild.stop.set();
    }
}

fn is_due(state: &State, writing: &Writing) -> bool {
    training::outgrown(state.live, state.codebook.trained_on)
        || training::shrunk(state.live, state.ordinals as usize)
        || writing.writer.as_ref().is_some_and(|writer| writer.is_crowded(state))
}

fn half_of_the_cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1)
}

/// Brings `new` up to date with the writes since its snapshot and makes it current.
///
/// `None` if the index is gone.
fn catch_up(shared: &Weak<Shared>, mut new: State, stop: &Stop, background: &ThreadPool) -> Option<()> {
    let mut writer = Writer::of(&new);
    let mut before = usize::MAX;
    for round in 1.. {
        let shared = shared.upgrade()?;
        let mut writing = shared.lock();
        // Under the lock, as it is set: else the next rebuild could begin for an index that is gone.
        stop.check()?;
        let mut touched: Vec<u64> = writing.rebuild.as_mut()?.touched.drain().collect();
        touched.sort_unstable();
        let current = shared.state.load_full();
        let writer_now = writing.writer.get_or_insert_with(|| Writer::of(&current));
        let places = writer_now.located(&current, &touched);
        let last = touched.len() <= FEW || round == ROUNDS;
        let writing = last.then_some(writing);
        let mut change = || writer.change(&mut new, &touched, &current.items_at(&places));
        if last || touched.len() > before / 2 {
            // On all cores, as writers are: else they wait for long, or it never catches up with them.
            change();
        } else {
            background.install(change);
        }
        before = touched.len();
        if let Some(mut writing) = writing {
            writing.writer = Some(writer);
            writing.failed_at = None;
            shared.state.store(Arc::new(new));
            shared.end(&mut writing);
            shared.rebuild_if_due(&mut writing);
            // The last snapshot of the old state may go with `current`, after the lock.
            return Some(());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::chunk::Rerank;
    use crate::partition::Family;
    use crate::rng::SplitMix64;
    use crate::rotation::RotationKind;
    use crate::{HashIndex, SearchOptions};

    const DIM: usize = 8;

    fn vectors(ids: &[u64], version: u64) -> Vec<f32> {
        ids.iter()
            .flat_map(|id| {
                let mut rng = SplitMix64::new(version << 32 | id);
                (0..DIM).map(move |_| rng.next_bell())
            })
            .collect()
    }

    fn add(index: &HashIndex, ids: impl IntoIterator<Item = u64>, version: u64) {
        let ids: Vec<u64> = ids.into_iter().collect();
        index.add(&vectors(&ids, version), &ids, &vec![version; ids.len()], Vec::new()).unwrap();
    }

    fn index(items: u64) -> HashIndex {
        let (family, rerank) = (Family::Learned, Rerank::F32);
        let options = IndexOptions {
            dim: DIM,
            bits: 64,
            family,
            tables: 1,
            rerank,
            rotation: RotationKind::Random,
            seed: 1,
        };
        let ids: Vec<u64> = (0..items).collect();
        HashIndex::build(options, &vectors(&ids, 1), &ids, &vec![1; ids.len()], Vec::new(), 1).unwrap()
    }

    fn start(index: &HashIndex, train: impl FnOnce(Arc<State>, &Stop) -> Option<State> + Send + 'static) {
        index.shared.start(&mut index.shared.lock(), train);
    }

    #[test]
    fn what_is_written_meanwhile_is_in_the_new_state() {
        written_meanwhile(|options, state, stop| State::train_until(stop, options, &state.items()));
        written_meanwhile(|_, state, stop| state.compacted(stop));
    }

    fn written_meanwhile(remake: fn(&IndexOptions, &State, &Stop) -> Option<State>) {
        let index = index(6_000);
        let (go, wait) = channel::<()>();
        let options = index.options().clone();
        start(&index, move |state, stop| {
            let new = remake(&options, &state, stop);
            wait.recv().unwrap();
            new
        });
        assert!(index.stats().rebuilding);
        add(&index, 0..2_000, 2);
        add(&index, 6_000..6_500, 2);
        assert_eq!(index.remove(&(1_000..3_000).collect::<Vec<u64>>()), 2_000);
        add(&index, 2_500..2_600, 3);
        go.send(()).unwrap();
        index.wait_for_rebuild();
        let stats = index.stats();
        assert!(!stats.rebuilding);
        assert_eq!((stats.items, stats.trained_on, stats.failed_rebuilds), (4_600, 6_000, 0));
        let items = index.snapshot().items();
        let version = |id| match id {
            2_500..2_600 => 3,
            0..1_000 | 6_000..6_500 => 2,
            _ => 1,
        };
        for (id, (product, vector)) in
            items.ids.iter().zip(items.products.iter().zip(items.vectors.chunks(DIM)))
        {
            assert_eq!(*product, version(*id));
            let expected =
                crate::input::unit_vectors("vector", &vectors(&[*id], version(*id)), 1, DIM).unwrap();
            assert_eq!(vector, &expected[..]);
        }
        let mut ids = items.ids;
        ids.sort_unstable();
        assert_eq!(ids, (0..1_000).chain(2_500..2_600).chain(3_000..6_500).collect::<Vec<u64>>());
        // Its writer goes on from there.
        assert_eq!(index.remove(&[0, 1_500, 2_550, 6_499]), 3);
        add(&index, [2_550], 4);
        let found =
            index.search(&vectors(&[2_550], 4), &SearchOptions { k: 1, ..Default::default() }, 1).unwrap();
        assert_eq!((found.ids[0], found.products[0]), (2_550, 4));
    }

    #[test]
    fn rows_are_written_side_by_side_again_when_an_eighth_was_replaced() {
        let index = index(24_000);
        add(&index, 0..2_500, 2);
        index.wait_for_rebuild();
        assert!(index.stats().dead_rows > 0, "too few for a compaction");
        let before = index.snapshot().items();
        assert_eq!(index.remove(&(3_000..4_100).collect::<Vec<u64>>()), 1_100);
        index.wait_for_rebuild();
        let state = index.snapshot();
        assert_eq!((index.stats().dead_rows, state.changes, state.live), (0, 0, 22_900));
        assert_eq!((index.stats().trained_on, index.stats().failed_rebuilds), (24_000, 0));
        let (after, gone) = (state.items(), 3_000..4_100);
        let kept: Vec<usize> = (0..before.ids.len()).filter(|at| !gone.contains(&before.ids[*at])).collect();
        assert_eq!(after.ids, kept.iter().map(|at| before.ids[*at]).collect::<Vec<_>>());
        let rows = |items: &Items, at: usize| items.vectors[at * DIM..][..DIM].to_vec();
        assert!(kept.iter().enumerate().all(|(new, old)| rows(&after, new) == rows(&before, *old)));
        // Numbers of the rows that went are given again.
        add(&index, 30_000..31_000, 1);
        assert_eq!(index.snapshot().ordinals, state.ordinals);
    }

    #[test]
    fn one_that_fails_leaves_the_index_as_it_is() {
        let index = index(500);
        start(&index, |_, _| panic!("a rebuild that fails, as this test wants"));
        index.wait_for_rebuild();
        let stats = index.stats();
        assert_eq!((stats.items, stats.trained_on, stats.failed_rebuilds), (500, 500, 1));
        assert!(!stats.rebuilding);
        // It is not tried again for a few more items, but once half of them are new.
        add(&index, 500..600, 1);
        assert_eq!((index.stats().items, index.stats().trained_on), (600, 500));
        add(&index, 600..800, 1);
        assert_eq!((index.stats().items, index.stats().trained_on), (800, 800));
    }

    #[test]
    fn one_of_an_index_that_is_dropped_is_stopped() {
        let index = index(500);
        let (ended, end) = channel();
        let options = index.options().clone();
        start(&index, move |state, stop| {
            while !stop.is_set() {
                thread::yield_now();
            }
            assert!(State::train_until(stop, &options, &state.items()).is_none());
            ended.send(()).unwrap();
            None
        });
        drop(index);
        end.recv_timeout(Duration::from_secs(60)).expect("it is told to stop");
    }
}
