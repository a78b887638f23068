//! The stored rows of one run of a bucket, in two buffers: codes in blocks for the scan, and the columns that
//! only the best rows are looked up in. Apart, the codes of all buckets lie close together.
//!
//! | blocks | type | per |
//! |---|---|---|
//! | codes and constants, see [`crate::kernels::scan`] | bytes | 32 rows |
//!
//! | columns | type | per |
//! |---|---|---|
//! | ordinals | u32 | row |
//! | records | bytes | row |
//!
//! | record | type |
//! |---|---|
//! | item id, product | u64, u64 |
//! | how far the vector is at most from the item's | f32, not with [`Rerank::F32`] |
//! | scale of the vector | f32, [`Rerank::Int8`] only |
//! | vector | i8, f16 or f32 (dim) |
//!
//! Each column starts at a multiple of 64 bytes. Blocks are padded with rows that no query can reach. All
//! numbers are little-endian.

use std::ops::Range;

use crate::kernels::scan::{BLOCK, CONSTANTS, block_bytes, lane_of};
use crate::memory::{ALIGN, Buffer};

/// The offset of a row that no query can reach, whatever its factor.
const UNREACHABLE: half::f16 = half::f16::NEG_INFINITY;

/// What the final scores are computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rerank {
    /// The rotated residual in 8 bits a coordinate with one scale a vector: a quarter of the memory, scores
    /// within a few thousandths of the cosine.
    #[default]
    Int8,
    /// Half-precision vectors: half of the memory, scores within a few ten-thousandths.
    F16,
    /// The vectors as they are.
    F32,
}

impl Rerank {
    const ALL: [Self; 3] = [Self::Int8, Self::F16, Self::F32];

    /// The form of this [`Rerank::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rerank| rerank.name() == name)
    }

    /// Bytes of one coordinate.
    pub fn width(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The name used in settings and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

/// What rows look like in every chunk of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Vector dimension.
    pub dim: usize,
    /// Code width.
    pub bits: usize,
    /// Form of the vectors.
    pub rerank: Rerank,
}

/// Where the columns of a chunk lie.
struct Columns {
    ordinals: Range<usize>,
    records: Range<usize>,
}

impl Layout {
    /// Bytes of the vector of one row.
    pub fn vector_bytes(&self) -> usize {
        self.dim * self.rerank.width()
    }

    /// Bytes of a record before the vector.
    fn record_head(&self) -> usize {
        match self.rerank {
            Rerank::Int8 => 24,
            Rerank::F16 => 20,
            Rerank::F32 => 16,
        }
    }

    /// Bytes of the record of one row.
    fn record_bytes(&self) -> usize {
        self.record_head() + self.vector_bytes()
    }

    /// Bytes of the blocks and of the columns of a chunk of `rows` rows, multiples of the alignment.
    pub fn chunk_bytes(&self, rows: usize) -> [usize; 2] {
        [
            rows.div_ceil(BLOCK).saturating_mul(block_bytes(self.bits)),
            self.columns(rows).records.end.next_multiple_of(ALIGN),
        ]
    }

    fn columns(&self, rows: usize) -> Columns {
        let mut at = 0usize;
        let mut column = |size: usize| {
            let start = at.next_multiple_of(ALIGN);
            at = start + size;
            start..at
        };
        Columns { ordinals: column(4 * rows), records: column(rows * self.record_bytes()) }
    }
}

/// The immutable rows of one run of a bucket. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Chunk {
    blocks: Buffer,
    columns: Buffer,
    rows: u32,
}

impl Chunk {
    /// `rows` rows in `blocks` and `columns`.
    ///
    /// Panics if a size is wrong.
    pub fn new([blocks, columns]: [Buffer; 2], rows: usize, layout: &Layout) -> Self {
        assert_eq!([blocks.len(), columns.len()], layout.chunk_bytes(rows), "a whole chunk");
        Self { blocks, columns, rows: rows as u32 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Blocks and columns, as they are stored in a file.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.blocks, &self.columns]
    }

    /// Its blocks.
    pub fn blocks(&self) -> &[u8] {
        &self.blocks
    }

    /// Whether no query can reach the rows that pad the last block.
    pub fn hides_padding(&self) -> bool {
        let used = self.len() % BLOCK;
        let offsets = self.blocks.as_chunks::<2>().0.rchunks(BLOCK).next();
        used == 0 || offsets.is_none_or(|g| g[used..].iter().all(|g| *g == UNREACHABLE.to_le_bytes()))
    }

    /// Its parts.
    pub fn view(&self, layout: &Layout) -> View<'_> {
        let columns = layout.columns(self.len());
        let bytes: &[u8] = &self.columns;
        View {
            blocks: &self.blocks,
            ordinals: bytemuck::cast_slice(&bytes[columns.ordinals]),
            records: &bytes[columns.records],
        }
    }
}

/// The parts of a chunk, by row but for the blocks.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Whole blocks; see [`crate::kernels::scan`].
    pub blocks: &'a [u8],
    /// Number of each row within the index.
    pub ordinals: &'a [u32],
    records: &'a [u8],
}

/// What is stored of a row besides its code.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    head: usize,
}

impl<'a> Record<'a> {
    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Item id.
    pub fn id(&self) -> u64 {
        u64::from_le_bytes(*self.bytes.first_chunk().expect("a record starts with an id"))
    }

    /// Product of the item.
    pub fn product(&self) -> u64 {
        u64::from_le_bytes(*self.bytes[8..].first_chunk().expect("a product follows the id"))
    }

    /// How far the vector is at most from the unit vector that the item was added with.
    pub fn error(&self) -> f32 {
        self.bytes[16..self.head].first_chunk().map_or(0.0, |error| f32::from_le_bytes(*error))
    }

    /// Scale of the vector; 0 but for [`Rerank::Int8`].
    pub fn scale(&self) -> f32 {
        self.bytes[..self.head]
            .get(20..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0.0, |s| f32::from_le_bytes(*s))
    }

    /// The vector, as bytes.
    pub fn vector(&self) -> &'a [u8] {
        &self.bytes[self.head..]
    }
}

/// One row in the form in which chunks keep it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Number of the row within the index.
    pub ordinal: u32,
    /// Item id.
    pub id: u64,
    /// Product of the item.
    pub product: u64,
    /// Sign code, a byte for 8 bits.
    pub code: Vec<u8>,
    /// Factor and offset of the estimate, half-precision bits.
    pub constants: [u16; 2],
    /// How far the vector is at most from the item's; without meaning with [`Rerank::F32`].
    pub error: f32,
    /// Scale of the vector; without meaning but for [`Rerank::Int8`].
    pub scale: f32,
    /// The vector in the form of the layout.
    pub vector: Vec<u8>,
}

impl<'a> View<'a> {
    /// Copies row `at` out.
    pub fn read(&self, layout: &Layout, at: usize, row: &mut Row) {
        let block = &self.blocks[at / BLOCK * block_bytes(layout.bits)..][..block_bytes(layout.bits)];
        let lane = at % BLOCK;
        row.code.clear();
        row.code.extend((0..layout.bits / 8).map(|column| block[column * BLOCK + lane_of(lane)]));
        let tail = &block[block.len() - CONSTANTS..];
        row.constants = [0, 1].map(|which| {
            let at = 2 * (which * BLOCK + lane);
            u16::from_le_bytes([tail[at], tail[at + 1]])
        });
        let record = self.record(layout, at);
        (row.ordinal, row.id, row.product) = (self.ordinals[at], record.id(), record.product());
        (row.error, row.scale) = (record.error(), record.scale());
        row.vector.clear();
        row.vector.extend_from_slice(record.vector());
    }

    /// The record of row `at`.
    pub fn record(&self, layout: &Layout, at: usize) -> Record<'a> {
        let size = layout.record_bytes();
        Record { bytes: &self.records[at * size..][..size], head: layout.record_head() }
    }
}

/// Writes the columns of one chunk that has the rows of all `views`, one after another.
pub fn put_columns<E>(views: &[View], mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let columns: [for<'v> fn(&'v View) -> &'v [u8]; 2] =
        [|view| bytemuck::cast_slice(view.ordinals), |view| view.records];
    for column in columns {
        views.iter().try_for_each(|view| put(column(view)))?;
        let length: usize = views.iter().map(|view| column(view).len()).sum();
        put(&[0; ALIGN][..length.next_multiple_of(ALIGN) - length])?;
    }
    Ok(())
}

/// Fills the zeroed bytes of a chunk of a known number of rows, row after row.
pub struct ChunkWriter<'a> {
    layout: Layout,
    columns: Columns,
    bytes: [&'a mut [u8]; 2],
    next: usize,
}

impl<'a> ChunkWriter<'a> {
    /// Starts in the blocks and columns of a chunk of `rows` rows, which must have the right sizes.
    pub fn new(layout: Layout, rows: usize, bytes: [&'a mut [u8]; 2]) -> Self {
        assert_eq!(bytes.each_ref().map(|part| part.len()), layout.chunk_bytes(rows), "a whole chunk");
        Self { layout, columns: layout.columns(rows), bytes, next: 0 }
    }

    /// Writes the next row.
    pub fn push(&mut self, row: &Row) {
        let (at, bits) = (self.next, self.layout.bits);
        self.next += 1;
        let block = &mut self.bytes[0][at / BLOCK * block_bytes(bits)..][..block_bytes(bits)];
        let lane = at % BLOCK;
        for (column, byte) in row.code.iter().enumerate() {
            block[column * BLOCK + lane_of(lane)] = *byte;
        }
        for (which, constant) in row.constants.iter().enumerate() {
            let at = bits / 8 * BLOCK + 2 * (which * BLOCK + lane);
            block[at..at + 2].copy_from_slice(&constant.to_le_bytes());
        }
        let ordinal = self.columns.ordinals.start + 4 * at;
        self.bytes[1][ordinal..ordinal + 4].copy_from_slice(&row.ordinal.to_le_bytes());
        let size = self.layout.record_bytes();
        let record = &mut self.bytes[1][self.columns.records.start + at * size..][..size];
        let (head, vector) = record.split_at_mut(self.layout.record_head());
        head[..8].copy_from_slice(&row.id.to_le_bytes());
        head[8..16].copy_from_slice(&row.product.to_le_bytes());
        let floats = head[16..].as_chunks_mut::<4>().0.iter_mut().zip([row.error, row.scale]);
        floats.for_each(|(bytes, value)| *bytes = value.to_le_bytes());
        vector.copy_from_slice(&row.vector);
    }

    /// Makes the rest of the last block unreachable.
    pub fn finish(self) {
        let (used, bits) = (self.next % BLOCK, self.layout.bits);
        if used == 0 {
            return;
        }
        let start = self.next / BLOCK * block_bytes(bits) + bits / 8 * BLOCK;
        for lane in used..BLOCK {
            let offset = start + 2 * (BLOCK + lane);
            self.bytes[0][offset..offset + 2].copy_from_slice(&UNREACHABLE.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::BufferMut;
    use crate::rng::SplitMix64;

    #[test]
    fn rows_are_read_back_as_they_were_written() {
        let mut rng = SplitMix64::new(2);
        for (bits, rerank) in [(64, Rerank::Int8), (192, Rerank::F16), (256, Rerank::F32)] {
            let layout = Layout { dim: 7, bits, rerank };
            for count in [1usize, 31, 32, 33, 70] {
                let rows: Vec<Row> = (0..count)
                    .map(|at| Row {
                        ordinal: at as u32 + 5,
                        id: rng.next_u64(),
                        product: rng.next_u64(),
                        code: (0..bits / 8).map(|_| rng.next_u64() as u8).collect(),
                        constants: [rng.next_u64() as u16, rng.next_u64() as u16],
                        error: if rerank == Rerank::F32 { 0.0 } else { 0.25 + at as f32 },
                        scale: if rerank == Rerank::Int8 { 0.5 + at as f32 } else { 0.0 },
                        vector: (0..layout.vector_bytes()).map(|_| rng.next_u64() as u8).collect(),
                    })
                    .collect();
                let mut parts = layout.chunk_bytes(count).map(BufferMut::zeroed);
                let mut writer = ChunkWriter::new(layout, count, parts.each_mut().map(BufferMut::bytes_mut));
                rows.iter().for_each(|row| writer.push(row));
                writer.finish();
                let chunk = Chunk::new(parts.map(BufferMut::freeze), count, &layout);
                let (view, mut found) = (chunk.view(&layout), Row::default());
                for (at, row) in rows.iter().enumerate() {
                    view.read(&layout, at, &mut found);
                    assert_eq!(format!("{found:?}"), format!("{row:?}"));
                }
            }
        }
    }
}
