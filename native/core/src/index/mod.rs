//! The live index: searches read an immutable snapshot, writers publish the next one.
//!
//! A search loads the current [`State`] without a lock and keeps it to its end, so it never waits for
//! a writer and never sees half a batch. Writers take turns under a mutex, change a copy that shares
//! nearly everything with the old snapshot, and swap it in.

mod batch;
pub mod calibration;
mod candidates;
pub mod list;
mod options;
pub(crate) mod policy;
mod query;
mod search;
pub mod state;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rayon::prelude::*;

use crate::attributes::ItemAttributes;
use crate::chunk::{Layout, Rerank};
use crate::codes::check_bits;
use crate::error::{Result, invalid};
use crate::input::{MAX_DIM, check_ids, unit_vectors};
use crate::partition::{Family, Visits};
use crate::threads;
use list::{List, NewRow};
use state::{Items, State};
use writer::Writer;

pub use options::{Estimate, SearchOptions};
pub use search::{SearchOutput, StageSeconds};

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
    /// What the final scores are computed from.
    pub rerank: Rerank,
    /// Seed of the rotation and the buckets.
    pub seed: u64,
}

impl IndexOptions {
    /// Shape of the stored rows.
    pub fn layout(&self) -> Layout {
        Layout { dim: self.dim, bits: self.bits, rerank: self.rerank }
    }

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
    /// Bytes of everything else about the rows: ids, products, constants, padding.
    pub bucket_bytes: usize,
    /// Bytes of categories and attributes.
    pub attribute_bytes: usize,
    /// Recall that searches for 10 of each of the [`calibration::STEPS`] efforts from 0 to 1 had when the codebook was trained.
    pub recall_by_effort: Vec<f32>,
}

/// A hash index over unit vectors. All methods may be called from many threads at once.
#[derive(Debug)]
pub struct HashIndex {
    options: IndexOptions,
    state: ArcSwap<State>,
    /// Made by the first write; its lock makes writers take turns.
    writer: Mutex<Option<Writer>>,
}

impl HashIndex {
    /// Builds an index of `ids.len()` vectors, with the attributes of each or of none, on `threads` threads (0: all cores).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option, a vector or an id is not acceptable.
    pub fn build(
        options: IndexOptions,
        vectors: &[f32],
        ids: &[u64],
        products: &[u64],
        attributes: Vec<ItemAttributes>,
        threads: usize,
    ) -> Result<Self> {
        options.check()?;
        let items = checked_items(options.dim, vectors, ids, products, attributes)?;
        let state = threads::pool(threads)?.install(|| State::train(&options, &items));
        Ok(Self::from_state(options, state))
    }

    pub(crate) fn from_state(options: IndexOptions, state: State) -> Self {
        Self { options, state: ArcSwap::from_pointee(state), writer: Mutex::new(None) }
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
    pub fn add(
        &self,
        vectors: &[f32],
        ids: &[u64],
        products: &[u64],
        attributes: Vec<ItemAttributes>,
    ) -> Result<()> {
        let items = checked_items(self.options.dim, vectors, ids, products, attributes)?;
        let mut guard = self.lock_for_writing();
        let mut next = State::clone(&self.state.load());
        if next.live + next.removed + items.ids.len() > u32::MAX as usize {
            return invalid("one index holds at most 2**32-1 rows; spread the items over more shards");
        }
        let writer = guard.get_or_insert_with(|| Writer::of(&next));
        let (killed, replaced) = writer.kill(&items.ids);
        next.live += items.ids.len() - replaced.len();
        next.attributes.remove(replaced);
        let new = place(writer, &mut next, &items);
        rewrite(writer, &mut next, &killed, &new);
        self.publish(next, &mut guard);
        Ok(())
    }

    /// Removes items and returns how many there were; unknown ids are passed over.
    ///
    /// An index that has lost seven of eight items is rebuilt here; searches go on meanwhile.
    pub fn remove(&self, ids: &[u64]) -> usize {
        let mut guard = self.lock_for_writing();
        let mut next = State::clone(&self.state.load());
        let writer = guard.get_or_insert_with(|| Writer::of(&next));
        let (killed, removed) = writer.kill(ids);
        next.live -= removed.len();
        next.attributes.remove(removed.iter().copied());
        rewrite(writer, &mut next, &killed, &BTreeMap::new());
        self.publish(next, &mut guard);
        removed.len()
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
        let layout = self.options.layout();
        let rows = state.rows();
        let runs = state.lists.iter().flat_map(List::runs);
        let bytes: usize = runs.flat_map(|run| run.chunk().parts()).map(<[u8]>::len).sum();
        let vector_bytes = rows * layout.vector_bytes();
        let code_bytes = rows * layout.bits / 8;
        Stats {
            items: state.live,
            dead_rows: state.removed,
            trained_on: state.codebook.trained_on,
            buckets_per_table: partition.map_or(0, |partition| partition.buckets()),
            code_bytes,
            vector_bytes,
            bucket_bytes: bytes - code_bytes - vector_bytes,
            attribute_bytes: state.attributes.bytes(),
            recall_by_effort: state.calibration.recall.to_vec(),
        }
    }

    fn lock_for_writing(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `next` the current snapshot, rebuilt first if it has outgrown its codebook or lost most items.
    fn publish(&self, next: State, writer: &mut Option<Writer>) {
        if policy::outgrown(next.live, next.codebook.trained_on)
            || policy::shrunk(next.live, next.ordinals as usize)
        {
            *writer = None;
            self.state.store(Arc::new(State::train(&self.options, &next.items())));
        } else {
            self.state.store(Arc::new(next));
        }
    }
}

/// Chooses number and lists of new items; the rows by list.
fn place<'a>(writer: &mut Writer, state: &mut State, items: &'a Items) -> BTreeMap<u32, Vec<NewRow<'a>>> {
    let codebook = Arc::clone(&state.codebook);
    let (dim, tables) = (codebook.layout.dim, codebook.tables());
    let mut buckets = vec![0u32; items.ids.len() * tables];
    buckets
        .par_chunks_exact_mut(tables)
        .zip(items.vectors.par_chunks_exact(dim))
        .with_min_len(256)
        .for_each_init(Visits::default, |visits, (buckets, vector)| {
            codebook.assign(vector, visits, buckets);
        });
    let mut new: BTreeMap<u32, Vec<NewRow>> = BTreeMap::new();
    let mut ordinals = Vec::with_capacity(items.ids.len());
    let rows = items.ids.iter().zip(&items.products).zip(items.vectors.chunks_exact(dim));
    for (((id, product), vector), buckets) in rows.zip(buckets.chunks_exact(tables)) {
        let ordinal = writer.place(*id, buckets, &mut state.ordinals);
        let row = NewRow { ordinal, id: *id, product: *product, vector };
        ordinals.push(ordinal);
        buckets.iter().for_each(|bucket| new.entry(*bucket).or_default().push(row));
    }
    state.attributes.insert(ordinals.into_iter().zip(&items.attributes));
    new
}

/// Rewrites the lists that lose or get rows.
fn rewrite(
    writer: &mut Writer,
    state: &mut State,
    killed: &BTreeMap<u32, Vec<u32>>,
    new: &BTreeMap<u32, Vec<NewRow>>,
) {
    let touched: BTreeSet<u32> = killed.keys().chain(new.keys()).copied().collect();
    let touched: Vec<u32> = touched.into_iter().collect();
    let rewritten: Vec<(List, Vec<u32>)> = touched
        .par_iter()
        .with_min_len(64)
        .map(|bucket| {
            let killed = killed.get(bucket).map_or(&[][..], Vec::as_slice);
            let new = new.get(bucket).map_or(&[][..], Vec::as_slice);
            let mut purged = Vec::new();
            let list = &state.lists[*bucket as usize];
            (list.changed(&state.codebook, *bucket, killed, new, &mut purged), purged)
        })
        .collect();
    for (bucket, (list, purged)) in touched.into_iter().zip(rewritten) {
        let slot = &mut state.lists[bucket as usize];
        state.removed = state.removed + list.removed() - slot.removed();
        *slot = list;
        writer.purge(&purged);
    }
}

fn checked_items(
    dim: usize,
    vectors: &[f32],
    ids: &[u64],
    products: &[u64],
    mut attributes: Vec<ItemAttributes>,
) -> Result<Items> {
    check_ids(ids, products)?;
    let vectors = unit_vectors(vectors, ids.len(), dim)?;
    if !attributes.is_empty() && attributes.len() != ids.len() {
        return invalid(format!("{} ids but attributes of {} items", ids.len(), attributes.len()));
    }
    attributes.resize(ids.len(), ItemAttributes::default());
    Ok(Items { ids: ids.to_vec(), products: products.to_vec(), vectors, attributes })
}
