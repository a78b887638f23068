//! The live index: searches read an immutable snapshot, writers publish the next one.
//!
//! A search loads the current [`State`] without a lock and keeps it to its end, so it never waits for
//! a writer and never sees half a batch. Writers take turns under a mutex, change a copy that shares
//! nearly everything with the old snapshot, and swap it in (`live`). Where the codebook no longer fits its items,
//! `rebuild` trains another one while searches and writes go on.

mod batch;
pub mod bucket;
pub mod calibration;
mod candidates;
mod clock;
mod effort;
mod exact;
mod filtered;
pub mod item_buckets;
mod items;
mod live;
pub mod options;
pub(crate) mod policy;
mod query;
mod read_ahead;
mod rebuild;
mod rerank;
mod search;
pub mod state;
pub(crate) mod train;
mod writer;

use std::sync::Arc;

use crate::error::Result;
use crate::input::unit_vectors;
use crate::threads::{self, Stop};
use bucket::Bucket;
use live::Live;
use options::{IndexOptions, SearchOptions};
use state::State;

pub use clock::StageSeconds;
pub use exact::ExactCandidates;
pub use items::{Batch, Items};
pub use search::SearchOutput;

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
    /// Bytes of documents, in memory or in a mapped file.
    pub document_bytes: usize,
    /// What searches of each of [`calibration::STEPS`] efforts find; see [`calibration::Calibration::recall`].
    pub recall_by_effort: Vec<f32>,
    /// Whether a new codebook is being trained, or the rows are being compacted, in the background.
    pub rebuilding: bool,
    /// Background trainings that failed since the index was built or opened; the codebook before them stayed.
    pub failed_rebuilds: usize,
}

/// A hash index over unit vectors. All methods may be called from many threads at once.
#[derive(Debug)]
pub struct HashIndex {
    options: IndexOptions,
    live: Arc<Live>,
}

impl HashIndex {
    /// Builds an index of some items on `threads` threads (0: all cores).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option, a vector or an id is not acceptable.
    pub fn build(options: IndexOptions, items: Batch, threads: usize) -> Result<Self> {
        let built = Self::build_until(&Stop::default(), options, items, threads);
        Ok(built?.expect("nobody stops it"))
    }

    /// As [`HashIndex::build`], or nothing soon after `stop` is set.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option, a vector or an id is not acceptable.
    pub fn build_until(
        stop: &Stop,
        options: IndexOptions,
        items: Batch,
        threads: usize,
    ) -> Result<Option<Self>> {
        options.check()?;
        let items = items.checked(options.dim)?;
        let state = threads::pool(threads)?.install(|| State::train_until(stop, &options, &items));
        Ok(state.map(|state| Self::from_state(options, state)))
    }

    pub(crate) fn from_state(options: IndexOptions, state: State) -> Self {
        let live = Arc::new(Live::new(options.clone(), state));
        Self { options, live }
    }

    /// The options it was built with.
    pub fn options(&self) -> &IndexOptions {
        &self.options
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<State> {
        self.live.snapshot()
    }

    /// Searches `queries` (rows of the index's dimension) on `threads` threads (0: all cores).
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option or a query is not acceptable.
    pub fn search(&self, queries: &[f32], options: &SearchOptions, threads: usize) -> Result<SearchOutput> {
        let found = self.search_until(&Stop::default(), queries, options, threads)?;
        Ok(found.expect("nobody stops it"))
    }

    /// As [`HashIndex::search`], or nothing soon after `stop` is set.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option or a query is not acceptable.
    pub fn search_until(
        &self,
        stop: &Stop,
        queries: &[f32],
        options: &SearchOptions,
        threads: usize,
    ) -> Result<Option<SearchOutput>> {
        options.check()?;
        let dim = self.options.dim;
        let queries = unit_vectors("query", queries, queries.len() / dim, dim)?;
        let snapshot = self.snapshot();
        let found = search::search(&snapshot, &queries, options, threads, stop)?;
        Ok((!stop.is_set()).then(|| found.with(snapshot, options)))
    }

    /// Copies of the documents of items, empty ones included; none for ids that are not there.
    ///
    /// It takes its turn with the writers. Searches return documents without waiting.
    pub fn documents(&self, ids: &[u64]) -> Vec<Option<Vec<u8>>> {
        self.live.documents(ids)
    }

    /// Ids of the items that can be among the `k` best (with `group`, the best of the `k` best products) of an exact
    /// search over the vectors as they were added, whatever [`Rerank`](crate::chunk::Rerank) keeps of them: a superset
    /// of the right answer, with everything that equals its last. Of the options only `k`, `group`, `filter` and
    /// `exclude` count.
    ///
    /// Right for whoever scores these ids in f32 or better, summing in any order, by the cosine or the inner product of
    /// unit vectors.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option or a query is not acceptable.
    pub fn exact_candidates(
        &self,
        queries: &[f32],
        options: &SearchOptions,
        threads: usize,
    ) -> Result<ExactCandidates> {
        let found = self.exact_candidates_until(&Stop::default(), queries, options, threads)?;
        Ok(found.expect("nobody stops it"))
    }

    /// As [`HashIndex::exact_candidates`], or nothing soon after `stop` is set.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option or a query is not acceptable.
    pub fn exact_candidates_until(
        &self,
        stop: &Stop,
        queries: &[f32],
        options: &SearchOptions,
        threads: usize,
    ) -> Result<Option<ExactCandidates>> {
        options.check()?;
        let dim = self.options.dim;
        let queries = unit_vectors("query", queries, queries.len() / dim, dim)?;
        let found = exact::candidates(&self.snapshot(), &queries, options, threads, stop)?;
        Ok((!stop.is_set()).then_some(found))
    }

    /// Adds items; one whose id is present replaces it. The items can be found when this returns.
    ///
    /// The index is rebuilt when it has grown by half (up to 20,000 items: by a tenth) since its codebook was trained, or
    /// a bucket is far larger than training would leave it: here while it is small, else in the background, while
    /// searches and writes go on. A rebuild in the background takes half of the cores, and the memory of all vectors as
    /// `f32` and of a second index. Vectors kept as [`Rerank::Int8`](crate::chunk::Rerank) are rounded once more by
    /// each. Rows of a larger index are compacted in the background when an eighth of them has been replaced.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if a vector or an id is not acceptable; nothing is added then.
    pub fn add(&self, items: Batch) -> Result<()> {
        let items = items.checked(self.options.dim)?;
        self.live.write(&items.ids, &items).map(|_| ())
    }

    /// Removes items and returns how many there were; unknown ids are passed over.
    ///
    /// A large index that has lost seven of eight items is rebuilt as [`HashIndex::add`] says.
    pub fn remove(&self, ids: &[u64]) -> usize {
        self.live.write(ids, &Items::default()).expect("only additions are refused")
    }

    /// Waits until no rebuild runs in the background.
    pub fn wait_for_rebuild(&self) {
        self.live.wait();
    }

    /// Current figures.
    pub fn stats(&self) -> Stats {
        let state = self.snapshot();
        let partition = state.codebook.partition.as_ref();
        let layout = self.options.layout();
        let rows = state.rows();
        let runs = state.buckets.iter().flat_map(Bucket::runs);
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
            document_bytes: state.documents.bytes(),
            recall_by_effort: state.calibration.recall.to_vec(),
            rebuilding: self.live.is_rebuilding(),
            failed_rebuilds: self.live.failed_rebuilds(),
        }
    }
}

impl Drop for HashIndex {
    /// Stops a rebuild, without waiting for it.
    fn drop(&mut self) {
        self.live.stop_rebuild();
    }
}
