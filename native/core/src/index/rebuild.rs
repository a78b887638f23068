//! Background rebuilds: retraining, or compaction of scattered rows.
//!
//! A rebuild trains and fills a new state from a snapshot, or only copies its rows next to each other, on threads of
//! its own that give way to searches and writes. Writes go on with the old codebook meanwhile and note the ids that
//! they touch. The rebuild then brings the new state up to date: for each touched id it copies the item as it is by
//! then. It does so without the lock until few are left, and with it for those, and publishes the new state.
//! Searches never wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;

use rayon::ThreadPool;

use super::live::{Live, Writing};
use super::policy;
use super::state::State;
use super::writer::Writer;
use crate::threads::{self, Stop};

/// Touched items that are few enough to be brought up to date while writers wait.
const FEW: usize = 1_000;
/// Rounds of catching up after which writers wait, however many items are left.
const ROUNDS: usize = 8;

impl Live {
    /// Starts a rebuild, or does a cheap one at once, where the items have outgrown their buckets.
    pub fn rebuild_if_due(self: &Arc<Self>, writing: &mut Writing) {
        let state = self.snapshot();
        if writing.rebuild.is_some()
            || writing.failed_at.is_some_and(|items| !policy::worth_another_try(state.live, items))
        {
            return;
        }
        if !is_due(&state, writing) {
            if policy::scattered(state.live, state.changes) {
                self.start(writing, |state, stop| state.compacted(stop));
            }
        } else if state.live <= policy::CHEAP {
            writing.writer = None;
            self.publish(State::train(&self.options, &state.items()));
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
        let stop = self.begin(writing);
        let (live, snapshot) = (Arc::downgrade(self), self.snapshot());
        let run = move || {
            let rebuilt = catch_unwind(AssertUnwindSafe(|| {
                // Not a pool that searches use: they would queue behind its work.
                let pool = threads::background_pool(half_of_the_cores()).ok()?;
                let new = pool.install(|| train(snapshot, &stop))?;
                catch_up(&live, new, &stop, &pool)
            }));
            // The panic itself has gone to the panic hook.
            if !matches!(rebuilt, Ok(Some(())))
                && let Some(live) = live.upgrade()
            {
                live.give_up(&mut live.lock());
            }
        };
        if thread::Builder::new().name("rebuild".to_owned()).spawn(run).is_err() {
            self.give_up(writing);
        }
    }
}

fn is_due(state: &State, writing: &Writing) -> bool {
    policy::outgrown(state.live, state.codebook.trained_on)
        || policy::shrunk(state.live, state.ordinals as usize)
        || writing.writer.as_ref().is_some_and(|writer| writer.is_crowded(state))
}

fn half_of_the_cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1)
}

/// Brings `new` up to date with the writes since its snapshot and makes it current.
///
/// `None` if the index is gone.
fn catch_up(live: &Weak<Live>, mut new: State, stop: &Stop, background: &ThreadPool) -> Option<()> {
    let mut writer = Writer::of(&new);
    let mut before = usize::MAX;
    for round in 1.. {
        let live = live.upgrade()?;
        let mut writing = live.lock();
        // Under the lock, as it is set: else the next rebuild could begin for an index that is gone.
        stop.check()?;
        let mut touched: Vec<u64> = writing.rebuild.as_mut()?.touched.drain().collect();
        touched.sort_unstable();
        let current = live.snapshot();
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
            live.publish(new);
            live.end(&mut writing);
            live.rebuild_if_due(&mut writing);
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
    use crate::index::Items;
    use crate::partition::Family;
    use crate::rng::SplitMix64;
    use crate::rotation::RotationKind;
    use crate::{Batch, HashIndex, IndexOptions, SearchOptions};

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
        index.add(Batch::new(&vectors(&ids, version), &ids, &vec![version; ids.len()])).unwrap();
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
        HashIndex::build(options, Batch::new(&vectors(&ids, 1), &ids, &vec![1; ids.len()]), 1).unwrap()
    }

    fn start(index: &HashIndex, train: impl FnOnce(Arc<State>, &Stop) -> Option<State> + Send + 'static) {
        index.live.start(&mut index.live.lock(), train);
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
    fn rows_are_compacted_when_an_eighth_was_replaced() {
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
        end.recv_timeout(Duration::from_secs(60)).expect("it is asked to stop");
    }
}
