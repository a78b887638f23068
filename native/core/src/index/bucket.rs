//! The rows of one bucket: a main run, and a short tail of rows added since, which is copied when it grows.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::chunk::{Chunk, ChunkWriter, Layout, Row, View};
use crate::codebook::Codebook;
use crate::kernels::scan::BLOCK;
use crate::memory::BufferMut;

/// Rows beyond which a tail is merged into the main run, unless the run is long.
const TAIL_MIN: usize = 64;
/// Share of the main run beyond which a tail is merged.
const TAIL_SHARE: usize = 8;
/// Share of a bucket that may be removed rows before it is rewritten.
const DEAD_SHARE: usize = 5;

/// Consecutive rows, some of them removed since they were written. Clones share the rows.
#[derive(Clone, Debug)]
pub struct Run {
    chunk: Chunk,
    /// Removed rows: bit `i` of word `b` is row `i` of block `b`. None where all can be found.
    dead: Option<Arc<[u32]>>,
    removed: u32,
}

impl Run {
    /// Rows that can all be found.
    pub fn new(chunk: Chunk) -> Self {
        Self { chunk, dead: None, removed: 0 }
    }

    /// The stored rows, removed ones included.
    pub fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// The words that mark removed rows, one a block.
    pub fn dead(&self) -> Option<&[u32]> {
        self.dead.as_deref()
    }

    /// Number of removed rows.
    pub fn removed(&self) -> usize {
        self.removed as usize
    }

    /// Whether a row can be found.
    pub fn is_live(&self, row: usize) -> bool {
        self.dead.as_ref().is_none_or(|dead| dead[row / BLOCK] >> (row % BLOCK) & 1 == 0)
    }

    /// Rows that can be found.
    pub fn live_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.chunk.len()).filter(|row| self.is_live(*row))
    }

    /// Removes the rows whose ordinals `is_dead` names.
    pub fn without(&self, layout: &Layout, is_dead: impl Fn(u32) -> bool) -> Self {
        let ordinals = self.chunk.view(layout).ordinals;
        let mut run = self.clone();
        let mut words: Option<Vec<u32>> = None;
        for (row, _) in ordinals.iter().enumerate().filter(|(_, ordinal)| is_dead(**ordinal)) {
            let words = words.get_or_insert_with(|| match &self.dead {
                Some(dead) => dead.to_vec(),
                None => vec![0; ordinals.len().div_ceil(BLOCK)],
            });
            run.removed += u32::from(words[row / BLOCK] >> (row % BLOCK) & 1 == 0);
            words[row / BLOCK] |= 1 << (row % BLOCK);
        }
        run.dead = words.map(Arc::from).or(run.dead);
        run
    }
}

/// The rows of one bucket. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    main: Option<Run>,
    tail: Option<Run>,
}

/// A vector on its way into a bucket.
#[derive(Clone, Copy, Debug)]
pub struct NewRow<'a> {
    /// Number of the row within the index.
    pub ordinal: u32,
    /// Item id.
    pub id: u64,
    /// Product of the item.
    pub product: u64,
    /// Unit vector.
    pub vector: &'a [f32],
    /// How far it is at most from the one that the item was added with.
    pub error: f32,
}

impl Bucket {
    /// A bucket of one run.
    pub fn of(main: Option<Chunk>) -> Self {
        Self { main: main.map(Run::new), tail: None }
    }

    /// This bucket without the rows whose ordinals are in `dead`; they stay in its runs.
    pub fn without(self, layout: &Layout, dead: &RoaringBitmap) -> Self {
        if dead.is_empty() {
            return self;
        }
        let remove = |run: Option<Run>| run.map(|run| run.without(layout, |ordinal| dead.contains(ordinal)));
        Self { main: remove(self.main), tail: remove(self.tail) }
    }

    /// Its runs.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.main.iter().chain(&self.tail)
    }

    /// Rows, removed ones included.
    pub fn rows(&self) -> usize {
        self.runs().map(|run| run.chunk.len()).sum()
    }

    /// Removed rows.
    pub fn removed(&self) -> usize {
        self.runs().map(Run::removed).sum()
    }

    /// This bucket without the rows whose ordinals are in `killed` (sorted), and with the `new` ones; `number` is its
    /// own.
    ///
    /// The tail is copied; when it has grown, or much of the bucket has been removed, the whole bucket is
    /// rewritten without the removed rows. The ordinals of rows that are gone for good go to `purged`.
    pub fn changed(
        &self,
        codebook: &Codebook,
        number: u32,
        killed: &[u32],
        new: &[NewRow],
        purged: &mut Vec<u32>,
    ) -> Self {
        let is_killed = |ordinal| killed.binary_search(&ordinal).is_ok();
        let remove = |run: &Option<Run>| run.as_ref().map(|run| run.without(&codebook.layout, is_killed));
        let bucket = match killed {
            [] => self.clone(),
            _ => Self { main: remove(&self.main), tail: remove(&self.tail) },
        };
        let len = |run: &Option<Run>| run.as_ref().map_or(0, |run| run.chunk.len());
        let (removed, tail) = (bucket.removed(), len(&bucket.tail) + new.len());
        let sparse =
            removed >= 8 && DEAD_SHARE * removed > bucket.rows() || removed == bucket.rows() && removed > 0;
        if sparse || tail > TAIL_MIN.max(len(&bucket.main) / TAIL_SHARE) {
            return Self::of(join(codebook, number, [&bucket.main, &bucket.tail], new, purged));
        }
        if new.is_empty() {
            return bucket;
        }
        let tail = join(codebook, number, [&None, &bucket.tail], new, purged);
        Self { main: bucket.main, tail: tail.map(Run::new) }
    }

    /// All rows in one run, removed ones included, as a file keeps them.
    pub fn in_one_run(&self, codebook: &Codebook, number: u32) -> Option<Chunk> {
        let whole = |run: &Option<Run>| run.as_ref().map(|run| Run::new(run.chunk.clone()));
        match (whole(&self.main), whole(&self.tail)) {
            (main, None) => main.map(|run| run.chunk),
            (main, tail) => join(codebook, number, [&main, &tail], &[], &mut Vec::new()),
        }
    }
}

/// Writes the rows of `old` that can be found and the `new` ones into one run.
fn join(
    codebook: &Codebook,
    bucket: u32,
    old: [&Option<Run>; 2],
    new: &[NewRow],
    purged: &mut Vec<u32>,
) -> Option<Chunk> {
    let layout = codebook.layout;
    let old = || old.into_iter().flatten();
    let rows = old().map(|run| run.chunk.len() - run.removed as usize).sum::<usize>() + new.len();
    let mut parts = layout.chunk_bytes(rows).map(BufferMut::zeroed);
    let mut writer = ChunkWriter::new(layout, rows, parts.each_mut().map(BufferMut::bytes_mut));
    for run in old() {
        let ordinals = run.chunk.view(&layout).ordinals;
        purged.extend((0..ordinals.len()).filter(|at| !run.is_live(*at)).map(|at| ordinals[at]));
        write_live(run, &layout, &mut writer);
    }
    write_new(codebook, bucket, new.iter().copied(), &mut writer);
    writer.finish();
    (rows > 0).then(|| Chunk::new(parts.map(BufferMut::freeze), rows, &layout))
}

/// Copies the rows of a run that can be found.
pub fn write_live(run: &Run, layout: &Layout, writer: &mut ChunkWriter) {
    let view: View = run.chunk.view(layout);
    let mut row = Row::default();
    for at in run.live_rows() {
        view.read(layout, at, &mut row);
        writer.push(&row);
    }
}

/// Encodes rows into a run.
pub fn write_new<'a>(
    codebook: &Codebook,
    bucket: u32,
    new: impl Iterator<Item = NewRow<'a>>,
    writer: &mut ChunkWriter,
) {
    let mut encoder = None;
    let mut row = Row::default();
    for NewRow { ordinal, id, product, vector, error } in new {
        (row.ordinal, row.id, row.product) = (ordinal, id, product);
        encoder.get_or_insert_with(|| codebook.encoder(bucket)).encode(vector, error, &mut row);
        writer.push(&row);
    }
}
