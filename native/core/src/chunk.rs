//! The stored rows of one bucket, in one contiguous run of bytes: codes in blocks for the scan, then the
//! columns that only the best rows are looked up in.
//!
//! | part | type | per |
//! |---|---|---|
//! | blocks of codes and constants, see [`crate::scan`] | bytes | 32 rows |
//! | ordinals | u32 | row |
//! | item ids | u64 | row |
//! | products | u64 | row |
//! | scales of the vectors | f32 | row, [`Rerank::Int8`] only |
//! | vectors | i8, f16 or f32 | row, dimension |
//!
//! Each part starts at a multiple of 64 bytes. Blocks are padded with rows that no query can reach. All
//! numbers are little-endian.

use std::ops::Range;

use crate::memory::{ALIGN, Buffer};
use crate::scan::{BLOCK, CONSTANTS, block_bytes, lane_of};

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

/// Where the parts of a chunk lie.
struct Parts {
    blocks: Range<usize>,
    ordinals: Range<usize>,
    ids: Range<usize>,
    products: Range<usize>,
    scales: Range<usize>,
    vectors: Range<usize>,
}

impl Layout {
    /// Bytes of the vector of one row.
    pub fn vector_bytes(&self) -> usize {
        self.dim * self.rerank.width()
    }

    /// Bytes of a chunk of `rows` rows, a multiple of the alignment.
    pub fn chunk_bytes(&self, rows: usize) -> usize {
        self.parts(rows).vectors.end.next_multiple_of(ALIGN)
    }

    fn parts(&self, rows: usize) -> Parts {
        let mut at = 0usize;
        let mut part = |size: usize| {
            let start = at.next_multiple_of(ALIGN);
            at = start + size;
            start..at
        };
        Parts {
            blocks: part(rows.div_ceil(BLOCK) * block_bytes(self.bits)),
            ordinals: part(4 * rows),
            ids: part(8 * rows),
            products: part(8 * rows),
            scales: part(if self.rerank == Rerank::Int8 { 4 * rows } else { 0 }),
            vectors: part(rows * self.vector_bytes()),
        }
    }
}

/// The immutable rows of one bucket. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Buffer,
    rows: u32,
}

impl Chunk {
    /// `rows` rows in `bytes`.
    ///
    /// Panics if the size is wrong.
    pub fn new(bytes: Buffer, rows: usize, layout: &Layout) -> Self {
        assert_eq!(bytes.len(), layout.chunk_bytes(rows), "a whole chunk");
        Self { bytes, rows: rows as u32 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The bytes, as they are stored in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether no query can reach the rows that pad the last block.
    pub fn hides_padding(&self, layout: &Layout) -> bool {
        let used = self.len() % BLOCK;
        let offsets = self.view(layout).blocks.as_chunks::<2>().0.rchunks(BLOCK).next();
        used == 0 || offsets.is_none_or(|g| g[used..].iter().all(|g| *g == UNREACHABLE.to_le_bytes()))
    }

    /// Its parts.
    pub fn view(&self, layout: &Layout) -> View<'_> {
        let parts = layout.parts(self.len());
        let bytes: &[u8] = &self.bytes;
        View {
            blocks: &bytes[parts.blocks],
            ordinals: bytemuck::cast_slice(&bytes[parts.ordinals]),
            ids: bytemuck::cast_slice(&bytes[parts.ids]),
            products: bytemuck::cast_slice(&bytes[parts.products]),
            scales: bytemuck::cast_slice(&bytes[parts.scales]),
            vectors: &bytes[parts.vectors],
        }
    }
}

/// The parts of a chunk, by row but for the blocks.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Whole blocks; see [`crate::scan`].
    pub blocks: &'a [u8],
    /// Number of each row within the index.
    pub ordinals: &'a [u32],
    /// Item ids.
    pub ids: &'a [u64],
    /// Product of each item.
    pub products: &'a [u64],
    /// Scale of each vector; empty but for [`Rerank::Int8`].
    pub scales: &'a [f32],
    /// Vectors, laid out (row, dim).
    pub vectors: &'a [u8],
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
    /// Scale of the vector; without meaning but for [`Rerank::Int8`].
    pub scale: f32,
    /// The vector in the form of the layout.
    pub vector: Vec<u8>,
}

impl View<'_> {
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
        (row.ordinal, row.id, row.product) = (self.ordinals[at], self.ids[at], self.products[at]);
        row.scale = self.scales.get(at).copied().unwrap_or(0.0);
        row.vector.clear();
        row.vector.extend_from_slice(self.vector(layout, at));
    }

    /// The vector of row `at`, as bytes.
    pub fn vector(&self, layout: &Layout, at: usize) -> &[u8] {
        &self.vectors[at * layout.vector_bytes()..][..layout.vector_bytes()]
    }
}

/// Fills the zeroed bytes of a chunk of a known number of rows, row after row.
pub struct ChunkWriter<'a> {
    layout: Layout,
    parts: Parts,
    bytes: &'a mut [u8],
    next: usize,
}

impl<'a> ChunkWriter<'a> {
    /// Starts in `bytes`, which must have the size of a chunk of `rows` rows.
    pub fn new(layout: Layout, rows: usize, bytes: &'a mut [u8]) -> Self {
        assert_eq!(bytes.len(), layout.chunk_bytes(rows), "a whole chunk");
        Self { layout, parts: layout.parts(rows), bytes, next: 0 }
    }

    /// Writes the next row.
    pub fn push(&mut self, row: &Row) {
        let (at, bits) = (self.next, self.layout.bits);
        self.next += 1;
        let start = self.parts.blocks.start + at / BLOCK * block_bytes(bits);
        let block = &mut self.bytes[start..start + block_bytes(bits)];
        let lane = at % BLOCK;
        for (column, byte) in row.code.iter().enumerate() {
            block[column * BLOCK + lane_of(lane)] = *byte;
        }
        for (which, constant) in row.constants.iter().enumerate() {
            let at = bits / 8 * BLOCK + 2 * (which * BLOCK + lane);
            block[at..at + 2].copy_from_slice(&constant.to_le_bytes());
        }
        self.put(self.parts.ordinals.start, at, &row.ordinal.to_le_bytes());
        self.put(self.parts.ids.start, at, &row.id.to_le_bytes());
        self.put(self.parts.products.start, at, &row.product.to_le_bytes());
        if self.layout.rerank == Rerank::Int8 {
            self.put(self.parts.scales.start, at, &row.scale.to_le_bytes());
        }
        self.put(self.parts.vectors.start, at, &row.vector);
    }

    /// Makes the rest of the last block unreachable.
    pub fn finish(self) {
        let (used, bits) = (self.next % BLOCK, self.layout.bits);
        if used == 0 {
            return;
        }
        let start = self.parts.blocks.start + self.next / BLOCK * block_bytes(bits) + bits / 8 * BLOCK;
        for lane in used..BLOCK {
            let offset = start + 2 * (BLOCK + lane);
            self.bytes[offset..offset + 2].copy_from_slice(&UNREACHABLE.to_le_bytes());
        }
    }

    fn put(&mut self, start: usize, row: usize, value: &[u8]) {
        let at = start + row * value.len();
        self.bytes[at..at + value.len()].copy_from_slice(value);
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
                        scale: if rerank == Rerank::Int8 { 0.5 + at as f32 } else { 0.0 },
                        vector: (0..layout.vector_bytes()).map(|_| rng.next_u64() as u8).collect(),
                    })
                    .collect();
                let mut buffer = BufferMut::zeroed(layout.chunk_bytes(count));
                let mut writer = ChunkWriter::new(layout, count, buffer.bytes_mut());
                rows.iter().for_each(|row| writer.push(row));
                writer.finish();
                let chunk = Chunk::new(buffer.freeze(), count, &layout);
                let (view, mut found) = (chunk.view(&layout), Row::default());
                for (at, row) in rows.iter().enumerate() {
                    view.read(&layout, at, &mut found);
                    assert_eq!(format!("{found:?}"), format!("{row:?}"));
                }
            }
        }
    }
}
