//! Bucket tables: which rows share a bucket.
//!
//! Most rows lie in a compact sorted layout that is built in one go; rows added since lie in a short
//! sorted tail that is merged when it has grown.

use std::sync::Arc;

/// The rows of one table, sorted by bucket: those of bucket `b` are `rows[starts[b]..starts[b + 1]]`.
#[derive(Clone, Debug)]
struct Sorted {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Table {
    sorted: Arc<Sorted>,
    /// (bucket, row), ascending.
    tail: Vec<(u32, u32)>,
}

/// The bucket tables of one partition. Clones share the sorted part.
#[derive(Clone, Debug)]
pub struct Buckets {
    tables: Vec<Table>,
    len: usize,
}

/// The tail is merged beyond this many rows and this share of all rows.
const TAIL_MIN: usize = 512;
const TAIL_SHARE: usize = 8;

impl Buckets {
    /// `tables` empty tables of `buckets` buckets.
    pub fn new(tables: usize, buckets: usize) -> Self {
        let sorted = Arc::new(Sorted { starts: vec![0; buckets + 1], rows: Vec::new() });
        Self { tables: vec![Table { sorted, tail: Vec::new() }; tables], len: 0 }
    }

    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Adds consecutive rows from `first_row` on; `buckets` is laid out (row, table).
    pub fn extend(&mut self, first_row: u32, buckets: &[u32]) {
        let tables = self.tables.len();
        for (at, table) in self.tables.iter_mut().enumerate() {
            let of_table = buckets[at..].iter().step_by(tables);
            table.tail.extend(of_table.zip(first_row..).map(|(bucket, row)| (*bucket, row)));
            table.tail.sort_unstable();
        }
        self.len += buckets.len() / tables;
        if self.tables[0].tail.len() > TAIL_MIN.max(self.len / TAIL_SHARE) {
            self.tables.iter_mut().for_each(Table::merge_tail);
        }
    }

    /// Calls `visit` with every row of one bucket of one table.
    pub fn rows_of(&self, table: usize, bucket: u32, mut visit: impl FnMut(u32)) {
        let Table { sorted, tail } = &self.tables[table];
        let at = bucket as usize;
        let range = sorted.starts[at] as usize..sorted.starts[at + 1] as usize;
        sorted.rows[range].iter().for_each(|row| visit(*row));
        let start = tail.partition_point(|(b, _)| *b < bucket);
        tail[start..].iter().take_while(|(b, _)| *b == bucket).for_each(|(_, row)| visit(*row));
    }

    /// The bucket of every row below `rows` in every table, laid out (row, table).
    pub fn assignments(&self, rows: usize) -> Vec<u32> {
        let tables = self.tables.len();
        let mut out = vec![0; rows * tables];
        for at in 0..tables {
            for bucket in 0..self.tables[at].sorted.starts.len() as u32 - 1 {
                self.rows_of(at, bucket, |row| out[row as usize * tables + at] = bucket);
            }
        }
        out
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let bytes = |t: &Table| 4 * (t.sorted.starts.len() + t.sorted.rows.len()) + 8 * t.tail.len();
        self.tables.iter().map(bytes).sum()
    }
}

impl Table {
    fn merge_tail(&mut self) {
        let old = &self.sorted;
        let mut rows = Vec::with_capacity(old.rows.len() + self.tail.len());
        let mut starts = Vec::with_capacity(old.starts.len());
        let mut tail = self.tail.iter().peekable();
        for (bucket, range) in old.starts.windows(2).enumerate() {
            starts.push(rows.len() as u32);
            rows.extend_from_slice(&old.rows[range[0] as usize..range[1] as usize]);
            while let Some((_, row)) = tail.next_if(|(b, _)| *b as usize == bucket) {
                rows.push(*row);
            }
        }
        starts.push(rows.len() as u32);
        self.sorted = Arc::new(Sorted { starts, rows });
        self.tail = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn rows_are_found_in_the_tail_and_after_merging() {
        let tables = 2;
        let mut rng = SplitMix64::new(4);
        let mut buckets = Buckets::new(tables, 32);
        let mut expected = Vec::new();
        for batch in [1, 300, 5, 400, 40, 900] {
            let new: Vec<u32> = (0..batch * tables).map(|_| (rng.next_u64() % 32) as u32).collect();
            buckets.extend((expected.len() / tables) as u32, &new);
            expected.extend(new);
            assert_eq!(buckets.assignments(expected.len() / tables), expected);
        }
        let mut found = Vec::new();
        buckets.rows_of(1, 7, |row| found.push(row as usize));
        let truth: Vec<_> = (0..expected.len() / 2).filter(|row| expected[2 * row + 1] == 7).collect();
        found.sort_unstable();
        assert_eq!(found, truth);
    }
}
