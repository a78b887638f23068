//! What only writers need: where every item is, and which numbers are free; and how they change a state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use super::bucket::{Bucket, NewRow};
use super::item_buckets::ItemBuckets;
use super::items::Items;
use super::policy;
use super::state::State;
use crate::bitset::Bitset;
use crate::partition::{Partition, ProbeOrder};

/// The side of the index that its one writer at a time sees.
#[derive(Debug, Default)]
pub struct Writer {
    /// Ordinal of each findable item.
    ordinal_of: HashMap<u64, u32>,
    /// Ordinals without any row left.
    free: Vec<u32>,
    /// Rows that removed ordinals still have in buckets.
    rows_left: HashMap<u32, usize>,
    /// Rows of the largest bucket at first, and of the largest that the last change touched.
    settled: usize,
    largest: usize,
}

impl Writer {
    /// The writer's view of a snapshot.
    pub fn of(state: &State) -> Self {
        let mut writer = Self { ordinal_of: HashMap::with_capacity(state.live), ..Self::default() };
        let mut used = Bitset::default();
        for bucket in &state.buckets {
            for run in bucket.runs() {
                let view = run.chunk().view(state.layout());
                for (row, ordinal) in view.ordinals.iter().enumerate() {
                    used.insert(*ordinal);
                    if run.is_live(row) {
                        writer.ordinal_of.insert(view.record(state.layout(), row).id(), *ordinal);
                    } else {
                        *writer.rows_left.entry(*ordinal).or_default() += 1;
                    }
                }
            }
        }
        writer.free = (0..state.ordinals).filter(|ordinal| !used.contains(*ordinal)).collect();
        let sizes = (0..).zip(&state.buckets).map(|(number, bucket)| crowd(state, number, bucket));
        writer.settled = sizes.max().unwrap_or(0);
        writer
    }

    /// Removes the items with the ids `gone` from `state`, whose writer this is, and inserts `new` ones, none of
    /// whose ids are there then. Returns how many were removed.
    pub fn change(&mut self, state: &mut State, gone: &[u64], new: &Items) -> usize {
        let (killed, removed) = self.kill(state.item_buckets(), gone);
        let count = removed.len();
        state.live = state.live - count + new.ids.len();
        state.changes += count + new.ids.len();
        state.documents.remove(&removed);
        state.attributes.remove(removed);
        let placed = self.place_all(state, new);
        self.rewrite(state, &killed, &placed);
        count
    }

    /// Whether the bucket that has grown most should be divided by retraining.
    pub fn is_crowded(&self, state: &State) -> bool {
        let codebook = &state.codebook;
        matches!(codebook.partition, Some(Partition::Learned(_)))
            && policy::crowded(self.largest, self.settled, state.live, codebook.buckets())
    }

    /// Ordinals of the items with these ids that can be found, ascending, by their bucket of the first table.
    pub fn located(&self, state: &State, ids: &[u64]) -> BTreeMap<u32, Vec<u32>> {
        let mut by_bucket: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for ordinal in ids.iter().filter_map(|id| self.ordinal_of.get(id)) {
            by_bucket.entry(state.item_buckets().get(*ordinal)[0]).or_default().push(*ordinal);
        }
        by_bucket.values_mut().for_each(|ordinals| ordinals.sort_unstable());
        by_bucket
    }

    /// Ordinal of the item with an id.
    pub fn ordinal(&self, id: u64) -> Option<u32> {
        self.ordinal_of.get(&id).copied()
    }

    /// Removes items; their ordinals by bucket, ascending, and all of them.
    fn kill(&mut self, item_buckets: &ItemBuckets, ids: &[u64]) -> (BTreeMap<u32, Vec<u32>>, Vec<u32>) {
        let mut by_bucket: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut ordinals = Vec::new();
        for ordinal in ids.iter().filter_map(|id| self.ordinal_of.remove(id)) {
            ordinals.push(ordinal);
            let buckets = item_buckets.get(ordinal);
            self.rows_left.insert(ordinal, buckets.len());
            for bucket in buckets {
                by_bucket.entry(*bucket).or_default().push(ordinal);
            }
        }
        by_bucket.values_mut().for_each(|ordinals| ordinals.sort_unstable());
        (by_bucket, ordinals)
    }

    /// Gives an item an ordinal; `buckets` are its bucket in every table.
    fn place(&mut self, state: &mut State, id: u64, buckets: &[u32]) -> u32 {
        let ordinal = self.free.pop().unwrap_or_else(|| {
            state.ordinals += 1;
            state.ordinals - 1
        });
        state.item_buckets_mut().set(ordinal, buckets);
        self.ordinal_of.insert(id, ordinal);
        ordinal
    }

    /// Notes that removed rows have left a bucket: an ordinal without rows can be given again.
    fn purge(&mut self, ordinals: &[u32]) {
        for ordinal in ordinals {
            if let Some(left) = self.rows_left.get_mut(ordinal) {
                *left -= 1;
                if *left == 0 {
                    self.rows_left.remove(ordinal);
                    self.free.push(*ordinal);
                }
            }
        }
    }

    /// Chooses ordinals and buckets of new items; the rows by bucket.
    fn place_all<'a>(&mut self, state: &mut State, items: &'a Items) -> BTreeMap<u32, Vec<NewRow<'a>>> {
        let codebook = Arc::clone(&state.codebook);
        let (dim, tables) = (codebook.layout.dim, codebook.tables());
        let mut buckets = vec![0u32; items.ids.len() * tables];
        buckets
            .par_chunks_exact_mut(tables)
            .zip(items.vectors.par_chunks_exact(dim))
            .with_min_len(256)
            .for_each_init(ProbeOrder::default, |order, (buckets, vector)| {
                codebook.assign(vector, order, buckets);
            });
        let mut new: BTreeMap<u32, Vec<NewRow>> = BTreeMap::new();
        let mut ordinals = Vec::with_capacity(items.ids.len());
        for (at, buckets) in buckets.chunks_exact(tables).enumerate() {
            let ordinal = self.place(state, items.ids[at], buckets);
            let row = items.row(dim, at, ordinal);
            ordinals.push(ordinal);
            buckets.iter().for_each(|bucket| new.entry(*bucket).or_default().push(row));
        }
        state.documents.insert((0..).zip(&ordinals).map(|(at, ordinal)| (*ordinal, items.documents.get(at))));
        state.attributes.insert(ordinals.into_iter().zip(&items.attributes));
        new
    }

    /// Rewrites the buckets that lose or get rows.
    fn rewrite(
        &mut self,
        state: &mut State,
        killed: &BTreeMap<u32, Vec<u32>>,
        new: &BTreeMap<u32, Vec<NewRow>>,
    ) {
        let touched: BTreeSet<u32> = killed.keys().chain(new.keys()).copied().collect();
        let touched: Vec<u32> = touched.into_iter().collect();
        let rewritten: Vec<(Bucket, Vec<u32>)> = touched
            .par_iter()
            .with_min_len(64)
            .map(|number| {
                let killed = killed.get(number).map_or(&[][..], Vec::as_slice);
                let new = new.get(number).map_or(&[][..], Vec::as_slice);
                let mut purged = Vec::new();
                let bucket = &state.buckets[*number as usize];
                (bucket.changed(&state.codebook, *number, killed, new, &mut purged), purged)
            })
            .collect();
        self.largest = 0;
        for (number, (bucket, purged)) in touched.into_iter().zip(rewritten) {
            self.largest = self.largest.max(crowd(state, number, &bucket));
            let slot = &mut state.buckets[number as usize];
            state.removed = state.removed + bucket.removed() - slot.removed();
            *slot = bucket;
            self.purge(&purged);
        }
    }
}

/// Rows that make a bucket large: not copies in a bucket for them.
fn crowd(state: &State, number: u32, bucket: &Bucket) -> usize {
    if state.codebook.takes_only_copies(number) { 0 } else { bucket.rows() - bucket.removed() }
}
