//! The stored rows: ids, products, codes and exact vectors, in chunks shared between snapshots.

use std::sync::Arc;

/// Rows in a chunk: the most that an append has to copy.
const CHUNK: usize = 1024;

#[derive(Clone, Debug, Default)]
struct Chunk {
    ids: Vec<u64>,
    products: Vec<u64>,
    codes: Vec<u64>,
    vectors: Vec<f32>,
}

/// An append-only table whose clones share all full chunks.
///
/// A row number never changes, so buckets and tombstones may hold it.
#[derive(Clone, Debug)]
pub struct Rows {
    dim: usize,
    words: usize,
    len: usize,
    chunks: Vec<Arc<Chunk>>,
}

impl Rows {
    /// An empty table of vectors of `dim` and codes of `words`.
    pub fn new(dim: usize, words: usize) -> Self {
        Self { dim, words, len: 0, chunks: Vec::new() }
    }

    /// Number of rows, removed ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one row. A partly filled chunk that a snapshot still holds is copied first.
    pub fn push(&mut self, id: u64, product: u64, code: &[u64], vector: &[f32]) {
        assert!(code.len() == self.words && vector.len() == self.dim, "row shape");
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::default());
        }
        let last = self.chunks.len() - 1;
        let chunk = Arc::make_mut(&mut self.chunks[last]);
        chunk.ids.push(id);
        chunk.products.push(product);
        chunk.codes.extend_from_slice(code);
        chunk.vectors.extend_from_slice(vector);
        self.len += 1;
    }

    fn locate(&self, row: u32) -> (&Chunk, usize) {
        (&self.chunks[row as usize / CHUNK], row as usize % CHUNK)
    }

    /// The id of a row.
    pub fn id(&self, row: u32) -> u64 {
        let (chunk, at) = self.locate(row);
        chunk.ids[at]
    }

    /// The product of a row.
    pub fn product(&self, row: u32) -> u64 {
        let (chunk, at) = self.locate(row);
        chunk.products[at]
    }

    /// The code of a row.
    pub fn code(&self, row: u32) -> &[u64] {
        let (chunk, at) = self.locate(row);
        &chunk.codes[at * self.words..][..self.words]
    }

    /// The unit vector of a row.
    pub fn vector(&self, row: u32) -> &[f32] {
        let (chunk, at) = self.locate(row);
        &chunk.vectors[at * self.dim..][..self.dim]
    }
}

/// One bit per row: set for rows that were removed or replaced.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    words: Vec<u64>,
    count: usize,
}

impl Tombstones {
    /// Marks a row; marking twice counts once.
    pub fn insert(&mut self, row: u32) {
        let word = row as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (row % 64);
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Whether a row is marked.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of marked rows.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_keep_their_own_rows() {
        let mut rows = Rows::new(2, 1);
        for i in 0..CHUNK as u64 + 3 {
            rows.push(i, i / 2, &[i], &[i as f32, 1.0]);
        }
        let snapshot = rows.clone();
        rows.push(9_999, 0, &[7], &[0.5, 0.5]);
        assert_eq!((snapshot.len(), rows.len()), (CHUNK + 3, CHUNK + 4));
        let last = CHUNK as u32 + 3;
        assert_eq!((rows.id(last), rows.code(last), rows.vector(last)), (9_999, &[7][..], &[0.5, 0.5][..]));
        assert_eq!(snapshot.product(CHUNK as u32), CHUNK as u64 / 2);
    }

    #[test]
    fn tombstones_count_each_row_once() {
        let mut dead = Tombstones::default();
        for row in [3, 200, 3] {
            dead.insert(row);
        }
        assert_eq!(dead.count(), 2);
        assert!(dead.contains(200) && !dead.contains(199) && !dead.contains(100_000));
    }
}
