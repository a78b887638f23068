//! One immutable snapshot of the index: what a search reads.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::IndexOptions;
use super::calibration::{self, Calibration};
use super::list::{List, NewRow, write_live, write_new};
use super::placement::Placement;
use super::training::{BRUTE_FORCE_ITEMS, cell_count, cross_polytope_buckets, planes_per_table};
use crate::attributes::{Attributes, ItemAttributes};
use crate::cells::Cells;
use crate::chunk::{Chunk, ChunkWriter, Layout, View};
use crate::codebook::Codebook;
use crate::cross_polytope::CrossPolytopes;
use crate::memory::BufferMut;
use crate::partition::{Family, Partition, ProbeOrder};
use crate::planes::{Planes, mean_of};
use crate::rotation::RotationKind;
use crate::threads::Stop;

/// Keeps the buckets independent of the code's rotation although both come from one seed.
pub(crate) const BUCKETS_SEED: u64 = 0x5EED_0F91_A4E5_0001;

/// Items in columns: ids, products, unit vectors laid out (item, dim), attributes.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// Item ids, each once.
    pub ids: Vec<u64>,
    /// Product of each item.
    pub products: Vec<u64>,
    /// Unit vectors.
    pub vectors: Vec<f32>,
    /// Categories and attribute values.
    pub attributes: Vec<ItemAttributes>,
}

/// A snapshot. Clones share the codebook and all rows.
#[derive(Clone, Debug)]
pub struct State {
    /// The codebook of all rows here.
    pub codebook: Arc<Codebook>,
    /// Rows by bucket, over all tables.
    pub lists: Vec<List>,
    /// Items that can be found.
    pub live: usize,
    /// Removed rows that are still in the lists.
    pub removed: usize,
    /// Items put in and taken out since the rows of all lists were written side by side.
    pub changes: usize,
    /// One more than the highest ordinal ever given.
    pub ordinals: u32,
    /// See [`State::placement`].
    pub placement: OnceLock<Placement>,
    /// Categories and attribute values by ordinal.
    pub attributes: Attributes,
    /// What searches of each effort find.
    pub calibration: Calibration,
}

impl State {
    /// Trains a codebook on `items` and stores them; item `i` gets ordinal `i`.
    pub fn train(options: &IndexOptions, items: &Items) -> Self {
        Self::train_until(&Stop::default(), options, items).expect("nobody stops it")
    }

    /// As [`State::train`], or nothing once `stop` is set.
    pub fn train_until(stop: &Stop, options: &IndexOptions, items: &Items) -> Option<Self> {
        let layout = options.layout();
        let (dim, count) = (layout.dim, items.ids.len());
        let seed = options.seed ^ BUCKETS_SEED;
        let mean = mean_of(&items.vectors, dim);
        let partition = (count > BRUTE_FORCE_ITEMS).then(|| match options.family {
            Family::Learned => {
                let cells = cell_count(count);
                let held_out = calibration::held_out(count);
                Cells::train_until(stop, &items.vectors, dim, &held_out, cells, seed).map(Partition::Learned)
            }
            Family::Hyperplane => {
                let planes = planes_per_table(count);
                Some(Partition::Hyperplane(Planes::train(&items.vectors, dim, options.tables, planes, seed)))
            }
            Family::CrossPolytope => {
                let buckets = cross_polytope_buckets(count);
                let polytopes = CrossPolytopes::new(mean.clone(), options.tables, buckets, seed);
                Some(Partition::CrossPolytope(polytopes))
            }
        });
        stop.check()?;
        let mut codebook = Codebook::new(layout, partition.flatten(), mean, count, options.seed);
        if options.rotation == RotationKind::Learned {
            codebook.learn_rotation(&items.vectors, options.seed);
        }
        stop.check()?;
        let mut state = Self::filled(stop, codebook, items)?;
        state.calibration = Calibration::of(stop, &state, &items.vectors)?;
        Some(state)
    }

    /// A snapshot of `items` with a given codebook.
    fn filled(stop: &Stop, codebook: Codebook, items: &Items) -> Option<Self> {
        let layout = codebook.layout;
        let (dim, count, tables) = (layout.dim, items.ids.len(), codebook.tables());
        let mut buckets = vec![0u32; count * tables];
        buckets
            .par_chunks_exact_mut(tables)
            .zip(items.vectors.par_chunks_exact(dim))
            .with_min_len(64)
            .try_for_each_init(ProbeOrder::default, |order, (buckets, vector)| {
                codebook.assign(vector, order, buckets);
                stop.check()
            })?;
        let (starts, rows) = grouped(&buckets, tables, codebook.buckets());
        let rows_of = |bucket: usize| &rows[starts[bucket] as usize..starts[bucket + 1] as usize];
        let counts: Vec<usize> = (0..codebook.buckets()).map(|bucket| rows_of(bucket).len()).collect();
        let lists = packed(stop, &layout, &counts, |bucket, writer| {
            let new = rows_of(bucket).iter().map(|row| items.row(dim, *row));
            write_new(&codebook, bucket as u32, new, writer);
        })?;
        let mut attributes = Attributes::default();
        attributes.insert((0..).zip(&items.attributes));
        let (ordinals, codebook, calibration) = (count as u32, Arc::new(codebook), Calibration::default());
        let placement = OnceLock::new();
        let (live, removed, changes) = (count, 0, 0);
        Some(Self { codebook, lists, live, removed, changes, ordinals, placement, attributes, calibration })
    }

    /// The same rows side by side again and without the removed ones, or nothing once `stop` is set.
    pub fn compacted(&self, stop: &Stop) -> Option<Self> {
        let counts: Vec<usize> = self.lists.iter().map(|list| list.rows() - list.removed()).collect();
        let lists = packed(stop, self.layout(), &counts, |bucket, writer| {
            self.lists[bucket].runs().for_each(|run| write_live(run, self.layout(), writer));
        })?;
        Some(Self { lists, removed: 0, changes: 0, ..self.clone() })
    }

    /// Lists of the items by ordinal. Made when a write or a filter first asks, as many indexes never see either.
    pub fn placement(&self) -> &Placement {
        self.placement
            .get_or_init(|| Placement::of(&self.lists, self.layout(), self.codebook.tables(), self.ordinals))
    }

    /// [`State::placement`], to be changed.
    pub fn placement_mut(&mut self) -> &mut Placement {
        self.placement();
        self.placement.get_mut().expect("made above")
    }

    /// Shape of the rows.
    pub fn layout(&self) -> &Layout {
        &self.codebook.layout
    }

    /// Rows over all tables, removed ones included.
    pub fn rows(&self) -> usize {
        self.lists.iter().map(List::rows).sum()
    }

    /// The lists of the first table: every item lies in one of them.
    pub fn first_table(&self) -> &[List] {
        &self.lists[..self.codebook.buckets() / self.codebook.tables()]
    }

    /// Up to `count` of the stored vectors that can be found, spread evenly over the buckets.
    pub fn sample(&self, count: usize) -> Vec<f32> {
        let (mut out, mut vector) = (Vec::new(), Vec::new());
        let (mut seen, mut taken) = (0, 0);
        for (bucket, list) in self.first_table().iter().enumerate() {
            for run in list.runs() {
                let view = run.chunk().view(self.layout());
                for at in run.live_rows() {
                    seen += 1;
                    // The taken ones keep pace with the seen ones.
                    if taken * self.live < seen * count.min(self.live) {
                        taken += 1;
                        let record = view.record(self.layout(), at);
                        self.codebook.decode(bucket as u32, record, &mut vector);
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
    /// bits come as exactly as they are kept: each training anew of an [`Rerank::Int8`](crate::chunk::Rerank)
    /// index rounds them once more.
    pub fn items(&self) -> Items {
        let lists = self.first_table().iter().zip(0..);
        self.copied(lists.flat_map(|(list, bucket)| self.locations(list, bucket, |_| true)).collect())
    }

    /// Copies out the items with some ordinals (ascending), which are given by their list of the first table.
    pub fn items_at(&self, ordinals: &BTreeMap<u32, Vec<u32>>) -> Items {
        let locations = ordinals.iter().flat_map(|(bucket, wanted)| {
            let list = &self.lists[*bucket as usize];
            self.locations(list, *bucket, |ordinal| wanted.binary_search(&ordinal).is_ok())
        });
        self.copied(locations.collect())
    }

    fn locations<'a>(
        &'a self,
        list: &'a List,
        bucket: u32,
        wanted: impl Fn(u32) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = RowLocation<'a>> {
        list.runs().flat_map(move |run| {
            let view = run.chunk().view(self.layout());
            let rows = run.live_rows().filter(move |at| wanted(view.ordinals[*at]));
            rows.map(move |at| RowLocation { ordinal: view.ordinals[at], bucket, view, at })
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
        for RowLocation { ordinal, view, at, .. } in locations {
            items.attributes.push(self.attributes.get(ordinal));
            let record = view.record(layout, at);
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

impl Items {
    fn row(&self, dim: usize, row: u32) -> NewRow<'_> {
        let at = row as usize;
        NewRow {
            ordinal: row,
            id: self.ids[at],
            product: self.products[at],
            vector: &self.vectors[at * dim..][..dim],
        }
    }
}

/// Lists of `counts` rows, each of which `write` writes, side by side in memory; nothing once `stop` is set.
fn packed(
    stop: &Stop,
    layout: &Layout,
    counts: &[usize],
    write: impl Fn(usize, &mut ChunkWriter) + Sync,
) -> Option<Vec<List>> {
    let sizes =
        [0, 1].map(|part| counts.iter().map(|rows| layout.chunk_bytes(*rows)[part]).collect::<Vec<_>>());
    let mut buffers = sizes.each_ref().map(|sizes| BufferMut::zeroed(sizes.iter().sum()));
    let [blocks, columns] = buffers.each_mut();
    let chunks = cut(blocks.bytes_mut(), &sizes[0]).into_par_iter().zip(cut(columns.bytes_mut(), &sizes[1]));
    chunks.enumerate().try_for_each(|(bucket, (blocks, columns))| {
        let mut writer = ChunkWriter::new(*layout, counts[bucket], [blocks, columns]);
        write(bucket, &mut writer);
        writer.finish();
        stop.check()
    })?;
    let [blocks, columns] = buffers.map(BufferMut::freeze);
    let chunks = blocks.cut(&sizes[0]).zip(columns.cut(&sizes[1])).zip(counts);
    let lists = chunks.map(|((blocks, columns), rows)| {
        List::of((*rows > 0).then(|| Chunk::new([blocks, columns], *rows, layout)))
    });
    Some(lists.collect())
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

/// Row numbers by bucket, and where each bucket starts; `of_rows` is laid out (row, table).
fn grouped(of_rows: &[u32], tables: usize, buckets: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; buckets + 1];
    of_rows.iter().for_each(|bucket| starts[*bucket as usize + 1] += 1);
    for at in 0..buckets {
        starts[at + 1] += starts[at];
    }
    let mut next = starts.clone();
    let mut rows = vec![0u32; of_rows.len()];
    for (at, bucket) in of_rows.iter().enumerate() {
        let slot = &mut next[*bucket as usize];
        rows[*slot as usize] = (at / tables) as u32;
        *slot += 1;
    }
    (starts, rows)
}
