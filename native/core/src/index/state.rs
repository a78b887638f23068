//! One immutable snapshot of the index: what a search reads.

use std::sync::Arc;

use rayon::prelude::*;

use super::IndexOptions;
use super::policy::{BRUTE_FORCE_ITEMS, cell_count, planes_per_table};
use crate::buckets::Buckets;
use crate::cells::Cells;
use crate::codes::{EncodeScratch, Encoder};
use crate::partition::{Family, Partition};
use crate::planes::{Planes, mean_of};
use crate::rows::{Rows, Tombstones};

/// Keeps the buckets independent of the code's rotation although both come from one seed.
const BUCKETS_SEED: u64 = 0x5EED_0F91_A4E5_0001;

/// Items in columns: ids, products, and unit vectors laid out (item, dim).
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// Item ids, each once.
    pub ids: Vec<u64>,
    /// Product of each item.
    pub products: Vec<u64>,
    /// Unit vectors.
    pub vectors: Vec<f32>,
}

/// What is trained on the data and then fixed until the next rebuild.
#[derive(Debug)]
pub struct Codebook {
    /// Vectors to codes.
    pub encoder: Encoder,
    /// Vectors to buckets; none while everything is scanned.
    pub partition: Option<Partition>,
    /// Items it was trained on.
    pub trained_on: usize,
}

/// A snapshot. Clones are cheap: they share codebook, full chunks of rows and sorted buckets.
#[derive(Clone, Debug)]
pub struct State {
    /// The codebook of all codes and buckets here.
    pub codebook: Arc<Codebook>,
    /// All rows, removed ones included.
    pub rows: Rows,
    /// Rows by bucket; none without [`Codebook::partition`].
    pub buckets: Option<Buckets>,
    /// Removed and replaced rows.
    pub dead: Arc<Tombstones>,
}

impl State {
    /// Trains a codebook on `items` and stores them.
    pub fn train(options: &IndexOptions, items: &Items) -> Self {
        let (dim, count) = (options.dim, items.ids.len());
        let partition = (count > BRUTE_FORCE_ITEMS).then(|| {
            let seed = options.seed ^ BUCKETS_SEED;
            match options.family {
                Family::Learned => {
                    Partition::Learned(Cells::train(&items.vectors, dim, cell_count(count), seed))
                }
                Family::Hyperplane => Partition::Hyperplane(Planes::train(
                    &items.vectors,
                    dim,
                    options.tables,
                    planes_per_table(count),
                    seed,
                )),
            }
        });
        let encoder = Encoder::new(mean_of(&items.vectors, dim), options.bits, options.seed);
        let mut state = Self::empty(Codebook { encoder, partition, trained_on: count });
        state.append(items);
        state
    }

    /// A snapshot without rows.
    pub fn empty(codebook: Codebook) -> Self {
        let partition = codebook.partition.as_ref();
        Self {
            rows: Rows::new(codebook.encoder.mean().len(), codebook.encoder.words()),
            buckets: partition.map(|p| Buckets::new(p.tables(), p.buckets())),
            dead: Arc::default(),
            codebook: Arc::new(codebook),
        }
    }

    /// Items that can be found.
    pub fn live(&self) -> usize {
        self.rows.len() - self.dead.count()
    }

    /// Row numbers of the items that can be found.
    pub fn live_rows(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows.len() as u32).filter(|row| !self.dead.contains(*row))
    }

    /// Appends items with the present codebook.
    pub fn append(&mut self, items: &Items) {
        let codebook = Arc::clone(&self.codebook);
        let (dim, words) = (codebook.encoder.mean().len(), codebook.encoder.words());
        let mut codes = vec![0u64; items.ids.len() * words];
        codes
            .par_chunks_exact_mut(words)
            .zip(items.vectors.par_chunks_exact(dim))
            .with_min_len(64)
            .for_each_init(EncodeScratch::default, |scratch, (code, vector)| {
                codebook.encoder.encode(vector, scratch, code);
            });
        if let (Some(partition), Some(buckets)) = (&codebook.partition, &mut self.buckets) {
            let of_rows: Vec<u32> = items
                .vectors
                .par_chunks_exact(dim)
                .with_min_len(64)
                .flat_map_iter(|vector| partition.assign(vector))
                .collect();
            buckets.extend(self.rows.len() as u32, &of_rows);
        }
        let vectors = items.vectors.chunks_exact(dim);
        let columns = items.ids.iter().zip(&items.products).zip(codes.chunks_exact(words)).zip(vectors);
        for (((id, product), code), vector) in columns {
            self.rows.push(*id, *product, code, vector);
        }
    }

    /// Copies out the items that can be found.
    pub fn items(&self) -> Items {
        let mut items = Items::default();
        for row in self.live_rows() {
            items.ids.push(self.rows.id(row));
            items.products.push(self.rows.product(row));
            items.vectors.extend_from_slice(self.rows.vector(row));
        }
        items
    }
}
