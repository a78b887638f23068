//! The live index: searches read an immutable snapshot, writers publish the next one.
//!
//! A search loads the current [`State`] without a lock and keeps it to its end, so it never waits for
//! a writer and never sees half a batch. Writers take turns under a mutex, change a copy that shares
//! nearly everything with the old snapshot, and swap it in.

mod policy;
mod search;
pub mod state;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::codes::check_bits;
use crate::error::{Result, invalid};
use crate::input::{MAX_DIM, check_ids, unit_vectors};
use crate::partition::Family;
use crate::threads;
use state::{Items, State};

pub use search::{SearchOptions, SearchOutput, StageSeconds};

/// Most bucket tables.
pub const MAX_TABLES: usize = 64;

/// What is fixed for the life of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// Vector dimension, 1 to 16,384.
    pub dim: usize,
    /// Code width: a multiple of 64 from 64 to 2,048.
    pub bits: usize,
    /// Hash family of the buckets.
    pub family: Family,
    /// Bucket tables: 1 to 64 of hyperplanes, 1 of cells.
    pub tables: usize,
    /// Seed of the rotation and the buckets.
    pub seed: u64,
}

impl IndexOptions {
    /// Checks the ranges.
    pub fn check(&self) -> Result<()> {
        check_bits(self.bits)?;
        if !(1..=MAX_DIM).contains(&self.dim) {
            return invalid(format!("the dimension must be 1 to {MAX_DIM}, not {}", self.dim));
        }
        if !(1..=MAX_TABLES).contains(&self.tables) {
            return invalid(format!("tables must be 1 to {MAX_TABLES}, not {}", self.tables));
        }
        if self.family == Family::Learned && self.tables != 1 {
            return invalid(format!("the learned family has 1 table, not {}", self.tables));
        }
        Ok(())
    }
}

/// Figures about an index.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Items that can be found.
    pub items: usize,
    /// Rows kept although removed or replaced.
    pub dead_rows: usize,
    /// Items the codebook was trained on.
    pub trained_on: usize,
    /// Buckets in a table; 0 while everything is scanned.
    pub buckets_per_table: usize,
    /// Bytes of codes.
    pub code_bytes: usize,
    /// Bytes of exact vectors.
    pub vector_bytes: usize,
    /// Bytes of bucket tables.
    pub bucket_bytes: usize,
}

/// A hash index over unit vectors. All methods may be called from many threads at once.
#[derive(Debug)]
pub struct HashIndex {
    options: IndexOptions,
    state: ArcSwap<State>,
    /// Row of each findable item; its lock makes writers take turns.
    row_of: Mutex<HashMap<u64, u32>>,
}

impl HashIndex {
    /// Builds an index of `ids.len()` vectors on `threads` threads (0: all cores).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option, a vector or an id is not acceptable.
    pub fn build(
        options: IndexOptions,
        vectors: &[f32],
        ids: &[u64],
        products: &[u64],
        threads: usize,
    ) -> Result<Self> {
        options.check()?;
        let items = checked_items(options.dim, vectors, ids, products)?;
        let state = threads::pool(threads)?.install(|| State::train(&options, &items));
        Ok(Self::from_state(options, state))
    }

    pub(crate) fn from_state(options: IndexOptions, state: State) -> Self {
        let row_of = rows_by_id(&state);
        Self { options, state: ArcSwap::from_pointee(state), row_of: Mutex::new(row_of) }
    }

    /// The options it was built with.
    pub fn options(&self) -> &IndexOptions {
        &self.options
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Searches `queries` (rows of the index's dimension) on `threads` threads (0: all cores).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option or a query is not acceptable.
    pub fn search(&self, queries: &[f32], options: &SearchOptions, threads: usize) -> Result<SearchOutput> {
        options.check()?;
        let dim = self.options.dim;
        let queries = unit_vectors(queries, queries.len() / dim, dim)?;
        search::search(&self.snapshot(), &queries, options, threads)
    }

    /// Adds items; one whose id is present replaces it. The items can be found when this returns.
    ///
    /// Once the index has grown by half since its codebook was trained, or half of its rows are dead, it
    /// is rebuilt here; searches go on meanwhile.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if a vector or an id is not acceptable; nothing is added then.
    pub fn add(&self, vectors: &[f32], ids: &[u64], products: &[u64]) -> Result<()> {
        let items = checked_items(self.options.dim, vectors, ids, products)?;
        let mut row_of = self.lock_for_writing();
        let mut next = State::clone(&self.state.load());
        if next.rows.len() + items.ids.len() > u32::MAX as usize {
            return invalid("one index holds at most 2**32-1 rows; spread the items over more shards");
        }
        let first = next.rows.len() as u32;
        let dead = Arc::make_mut(&mut next.dead);
        for (id, row) in items.ids.iter().zip(first..) {
            if let Some(replaced) = row_of.insert(*id, row) {
                dead.insert(replaced);
            }
        }
        next.append(&items);
        self.publish(next, &mut row_of);
        Ok(())
    }

    /// Removes items and returns how many there were; unknown ids are passed over.
    pub fn remove(&self, ids: &[u64]) -> usize {
        let mut row_of = self.lock_for_writing();
        let mut next = State::clone(&self.state.load());
        let dead = Arc::make_mut(&mut next.dead);
        let before = dead.count();
        ids.iter().filter_map(|id| row_of.remove(id)).for_each(|row| dead.insert(row));
        let removed = dead.count() - before;
        self.publish(next, &mut row_of);
        removed
    }

    /// Stores the index in `folder` (made if missing), replacing one that is there in one step.
    pub fn save(&self, folder: &Path) -> Result<()> {
        crate::format::save(&self.options, &self.snapshot(), folder)
    }

    /// Opens a stored index.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] if the file is truncated, altered or of another version;
    /// [`crate::Error::Io`] if it cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let (options, state) = crate::format::open(folder)?;
        Ok(Self::from_state(options, state))
    }

    /// Present figures.
    pub fn stats(&self) -> Stats {
        let state = self.snapshot();
        let partition = state.codebook.partition.as_ref();
        Stats {
            items: state.live(),
            dead_rows: state.dead.count(),
            trained_on: state.codebook.trained_on,
            buckets_per_table: partition.map_or(0, |partition| partition.buckets()),
            code_bytes: state.rows.len() * self.options.bits / 8,
            vector_bytes: state.rows.len() * self.options.dim * 4,
            bucket_bytes: state.buckets.as_ref().map_or(0, |buckets| buckets.bytes()),
        }
    }

    fn lock_for_writing(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.row_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `next` the current snapshot, rebuilt first if it has outgrown its codebook.
    fn publish(&self, next: State, row_of: &mut HashMap<u64, u32>) {
        let (live, trained_on) = (next.live(), next.codebook.trained_on);
        let mostly_dead = next.dead.count() > live.max(policy::BRUTE_FORCE_ITEMS);
        if policy::outgrown(live, trained_on) || mostly_dead {
            let rebuilt = State::train(&self.options, &next.items());
            *row_of = rows_by_id(&rebuilt);
            self.state.store(Arc::new(rebuilt));
        } else {
            self.state.store(Arc::new(next));
        }
    }
}

fn checked_items(dim: usize, vectors: &[f32], ids: &[u64], products: &[u64]) -> Result<Items> {
    check_ids(ids, products)?;
    let vectors = unit_vectors(vectors, ids.len(), dim)?;
    Ok(Items { ids: ids.to_vec(), products: products.to_vec(), vectors })
}

fn rows_by_id(state: &State) -> HashMap<u64, u32> {
    state.live_rows().map(|row| (state.rows.id(row), row)).collect()
}
