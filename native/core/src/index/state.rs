//! One immutable snapshot of the index: what a search reads.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::bucket::{Bucket, write_live};
use super::calibration::Calibration;
use super::item_buckets::ItemBuckets;
use super::items::Items;
use crate::attributes::Attributes;
use crate::chunk::{Chunk, ChunkWriter, Layout, View};
use crate::codebook::Codebook;
use crate::documents::Documents;
use crate::memory::BufferMut;
use crate::threads::Stop;

/// A snapshot. Clones share the codebook and all rows.
#[derive(Clone, Debug)]
pub struct State {
    /// The codebook of all rows here.
    pub codebook: Arc<Codebook>,
    /// The buckets of all tables.
    pub buckets: Vec<Bucket>,
    /// Items that can be found.
    pub live: usize,
    /// Removed rows that are still in the buckets.
    pub removed: usize,
    /// Items added and removed since the rows of all buckets were written next to each other.
    pub changes: usize,
    /// One more than the highest ordinal ever given.
    pub ordinals: u32,
    /// See [`State::item_buckets`].
    pub item_buckets: OnceLock<ItemBuckets>,
    /// Categories and attribute values by ordinal.
    pub attributes: Attributes,
    /// Documents by ordinal.
    pub documents: Documents,
    /// What searches of each effort find.
    pub calibration: Calibration,
}

impl State {
    /// The same rows next to each other and without the removed ones, or nothing once `stop` is set.
    pub fn compacted(&self, stop: &Stop) -> Option<Self> {
        let counts: Vec<usize> = self.buckets.iter().map(|bucket| bucket.rows() - bucket.removed()).collect();
        let buckets = packed(stop, self.layout(), &counts, |number, writer| {
            self.buckets[number].runs().for_each(|run| write_live(run, self.layout(), writer));
        })?;
        Some(Self { buckets, removed: 0, changes: 0, ..self.clone() })
    }

    /// Buckets of the items by ordinal. Made when a write or a filter first asks, as many indexes never see either.
    pub fn item_buckets(&self) -> &ItemBuckets {
        self.item_buckets.get_or_init(|| {
            ItemBuckets::of(&self.buckets, self.layout(), self.codebook.tables(), self.ordinals)
        })
    }

    /// [`State::item_buckets`], to be changed.
    pub fn item_buckets_mut(&mut self) -> &mut ItemBuckets {
        self.item_buckets();
        self.item_buckets.get_mut().expect("made above")
    }

    /// Shape of the rows.
    pub fn layout(&self) -> &Layout {
        &self.codebook.layout
    }

    /// Rows over all tables, removed ones included.
    pub fn rows(&self) -> usize {
        self.buckets.iter().map(Bucket::rows).sum()
    }

    /// The buckets of the first table: every item lies in one of them.
    pub fn first_table(&self) -> &[Bucket] {
        &self.buckets[..self.codebook.buckets() / self.codebook.tables()]
    }

    /// Up to `count` of the stored vectors that can be found, spread evenly over the buckets.
    pub fn sample(&self, count: usize) -> Vec<f32> {
        let (mut out, mut vector) = (Vec::new(), Vec::new());
        let (mut seen, mut taken) = (0, 0);
        for (number, bucket) in (0..).zip(self.first_table()) {
            for run in bucket.runs() {
                let view = run.chunk().view(self.layout());
                for at in run.live_rows() {
                    seen += 1;
                    // The taken ones keep pace with the seen ones.
                    if taken * self.live < seen * count.min(self.live) {
                        taken += 1;
                        let record = view.record(self.layout(), at);
                        self.codebook.decode(number, record, &mut vector);
                        out.extend_from_slice(&vector);
                    }
                }
            }
        }
        out
    }

    /// Copies out the items that can be found, in the order of their ordinals.
    ///
    /// Vectors come as `f32`, in all as much memory as it takes to hold them so. Those that are kept in fewer
    /// bits come as exactly as they are kept: each retraining of an [`Rerank::Int8`](crate::chunk::Rerank)
    /// index rounds them once more.
    pub fn items(&self) -> Items {
        let buckets = (0..).zip(self.first_table());
        self.copied(buckets.flat_map(|(number, bucket)| self.locations(number, bucket, |_| true)).collect())
    }

    /// Copies out the items with some ordinals (ascending), which are given by their bucket of the first table.
    pub fn items_at(&self, ordinals: &BTreeMap<u32, Vec<u32>>) -> Items {
        let locations = ordinals.iter().flat_map(|(number, wanted)| {
            let bucket = &self.buckets[*number as usize];
            self.locations(*number, bucket, |ordinal| wanted.binary_search(&ordinal).is_ok())
        });
        self.copied(locations.collect())
    }

    fn locations<'a>(
        &'a self,
        number: u32,
        bucket: &'a Bucket,
        wanted: impl Fn(u32) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = RowLocation<'a>> {
        bucket.runs().flat_map(move |run| {
            let view = run.chunk().view(self.layout());
            let rows = run.live_rows().filter(move |at| wanted(view.ordinals[*at]));
            rows.map(move |at| RowLocation { ordinal: view.ordinals[at], bucket: number, view, at })
        })
    }

    fn copied(&self, mut locations: Vec<RowLocation>) -> Items {
        let layout = self.layout();
        locations.par_sort_unstable_by_key(|location| location.ordinal);
        let mut items = Items { vectors: vec![0.0; locations.len() * layout.dim], ..Items::default() };
        let rows = items.vectors.par_chunks_exact_mut(layout.dim).zip(&locations).with_min_len(64);
        rows.for_each_init(Vec::new, |vector, (out, RowLocation { bucket, view, at, .. })| {
            self.codebook.decode(*bucket, view.record(layout, *at), vector);
            out.copy_from_slice(vector);
        });
        items.documents =
            Documents::of(locations.iter().map(|location| self.documents.get(location.ordinal)));
        for RowLocation { ordinal, view, at, .. } in locations {
            items.attributes.push(self.attributes.get(ordinal));
            let record = view.record(layout, at);
            items.errors.push(record.error());
            items.ids.push(record.id());
            items.products.push(record.product());
        }
        items
    }
}

/// Where a row lies.
struct RowLocation<'a> {
    ordinal: u32,
    bucket: u32,
    view: View<'a>,
    at: usize,
}

/// Buckets of `counts` rows, which `write` writes, next to each other in memory; nothing once `stop` is set.
pub(super) fn packed(
    stop: &Stop,
    layout: &Layout,
    counts: &[usize],
    write: impl Fn(usize, &mut ChunkWriter) + Sync,
) -> Option<Vec<Bucket>> {
    let sizes =
        [0, 1].map(|part| counts.iter().map(|rows| layout.chunk_bytes(*rows)[part]).collect::<Vec<_>>());
    let mut buffers = sizes.each_ref().map(|sizes| BufferMut::zeroed(sizes.iter().sum()));
    let [blocks, columns] = buffers.each_mut();
    let chunks = cut(blocks.bytes_mut(), &sizes[0]).into_par_iter().zip(cut(columns.bytes_mut(), &sizes[1]));
    chunks.enumerate().try_for_each(|(number, (blocks, columns))| {
        let mut writer = ChunkWriter::new(*layout, counts[number], [blocks, columns]);
        write(number, &mut writer);
        writer.finish();
        stop.check()
    })?;
    let [blocks, columns] = buffers.map(BufferMut::freeze);
    let chunks = blocks.cut(&sizes[0]).zip(columns.cut(&sizes[1])).zip(counts);
    let buckets = chunks.map(|((blocks, columns), rows)| {
        Bucket::of((*rows > 0).then(|| Chunk::new([blocks, columns], *rows, layout)))
    });
    Some(buckets.collect())
}

/// Consecutive parts of `bytes`.
fn cut<'a>(mut bytes: &'a mut [u8], sizes: &[usize]) -> Vec<&'a mut [u8]> {
    let parts = sizes.iter().map(|size| {
        let (part, rest) = std::mem::take(&mut bytes).split_at_mut(*size);
        bytes = rest;
        part
    });
    parts.collect()
}
