//! The rows of one bucket: a main run, and a short tail of rows added since, which is copied when it grows.

use std::collections::HashSet;

use crate::bitset::Bitset;
use crate::chunk::{Chunk, ChunkWriter, Layout, Row, View};
use crate::codebook::Codebook;
use crate::memory::BufferMut;

/// Rows beyond which a tail is merged into the main run, unless the run is long.
const TAIL_MIN: usize = 64;
/// Share of the main run beyond which a tail is merged.
const TAIL_SHARE: usize = 8;

/// The rows of one bucket. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct List {
    main: Option<Chunk>,
    tail: Option<Chunk>,
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
}

impl List {
    /// A list of one run.
    pub fn of(main: Option<Chunk>) -> Self {
        Self { main, tail: None }
    }

    /// Its runs.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.main.iter().chain(&self.tail)
    }

    /// Rows, removed ones included.
    pub fn len(&self) -> usize {
        self.chunks().map(Chunk::len).sum()
    }

    /// The parts of its runs.
    pub fn views<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = View<'a>> {
        self.chunks().map(|chunk| chunk.view(layout))
    }

    /// This list with further rows.
    ///
    /// The tail is copied; when it has grown, or on demand, main run and tail become one, without the rows in `dead`,
    /// whose ordinals are added to `purged`.
    pub fn with(
        &self,
        codebook: &Codebook,
        bucket: u32,
        new: &[NewRow],
        dead: &Bitset,
        compact: bool,
        purged: &mut Vec<u32>,
    ) -> Self {
        let main = self.main.as_ref().map_or(0, Chunk::len);
        let tail = self.tail.as_ref().map_or(0, Chunk::len) + new.len();
        if compact || tail > TAIL_MIN.max(main / TAIL_SHARE) {
            let main = join(codebook, bucket, [&self.main, &self.tail], new, Some((dead, purged)));
            return Self { main, tail: None };
        }
        let tail = join(codebook, bucket, [&None, &self.tail], new, None);
        Self { main: self.main.clone(), tail }
    }

    /// This list in one run, as it is stored.
    pub fn stored(&self, codebook: &Codebook, bucket: u32) -> Option<Chunk> {
        match (&self.main, &self.tail) {
            (main, None) => main.clone(),
            (main, tail) => join(codebook, bucket, [main, tail], &[], None),
        }
    }
}

/// Writes the rows of `old` that are kept and the `new` ones into one run.
fn join(
    codebook: &Codebook,
    bucket: u32,
    old: [&Option<Chunk>; 2],
    new: &[NewRow],
    purge: Option<(&Bitset, &mut Vec<u32>)>,
) -> Option<Chunk> {
    let layout = codebook.layout;
    let mut gone = HashSet::new();
    if let Some((dead, purged)) = purge {
        let ordinals = old.iter().copied().flatten().flat_map(|chunk| chunk.view(&layout).ordinals);
        purged.extend(ordinals.filter(|ordinal| dead.contains(**ordinal)).inspect(|ordinal| {
            gone.insert(**ordinal);
        }));
    }
    let rows = old.iter().copied().flatten().map(Chunk::len).sum::<usize>() - gone.len() + new.len();
    let mut buffer = BufferMut::zeroed(layout.chunk_bytes(rows));
    let mut writer = ChunkWriter::new(layout, rows, buffer.bytes_mut());
    let mut row = Row::default();
    for chunk in old.into_iter().flatten() {
        let view = chunk.view(&layout);
        for at in (0..chunk.len()).filter(|at| !gone.contains(&view.ordinals[*at])) {
            view.read(&layout, at, &mut row);
            writer.push(&row);
        }
    }
    write_new(codebook, bucket, new.iter().copied(), &mut writer);
    writer.finish();
    (rows > 0).then(|| Chunk::new(buffer.freeze(), rows, &layout))
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
    for NewRow { ordinal, id, product, vector } in new {
        (row.ordinal, row.id, row.product) = (ordinal, id, product);
        encoder.get_or_insert_with(|| codebook.encoder(bucket)).encode(vector, &mut row);
        writer.push(&row);
    }
}
