//! The nearest codes of one query so far.
//!
//! Distances are small integers: counting how often each was met gives the distance of the k-th nearest at
//! any time, and with it what a further code must fall below, at the cost of one increment for a code that
//! does.

use super::BLOCK;

/// Room for candidates beyond twice `k`.
const SLACK: usize = 64;

/// Collects rows in ascending order; of equal distances the first rows win.
#[derive(Debug)]
pub struct Nearest {
    k: usize,
    rows: usize,
    /// Only smaller distances can still be among the `k` smallest.
    limit: u32,
    /// Rows met below the limit, fewer than `k`.
    nearer: usize,
    /// Rows met by distance.
    counts: Vec<u32>,
    /// Distances and rows, in the order of the rows.
    candidates: Vec<(u32, usize)>,
}

impl Nearest {
    /// Of `rows` codes of `bits` bits, fewer than 2^32.
    pub fn new(k: usize, rows: usize, bits: usize) -> Self {
        let room = 2 * k.min(rows) + SLACK;
        Self {
            k,
            rows,
            limit: bits as u32 + 1,
            nearer: 0,
            counts: vec![0; bits + 1],
            candidates: Vec::with_capacity(room),
        }
    }

    /// Codes at this distance or beyond need not be offered.
    #[inline]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes the distances of the rows from `first` on; those beyond the last row are passed over.
    #[cold]
    #[inline(never)]
    pub fn offer(&mut self, first: usize, distances: &[u64; BLOCK]) {
        for (row, distance) in (first..self.rows).zip(distances) {
            let distance = *distance as u32;
            if distance >= self.limit {
                continue;
            }
            if self.candidates.len() == self.candidates.capacity() {
                self.drop_beaten();
            }
            self.candidates.push((distance, row));
            self.counts[distance as usize] += 1;
            self.nearer += 1;
            while self.nearer >= self.k {
                self.limit -= 1;
                self.nearer -= self.counts[self.limit as usize] as usize;
            }
        }
    }

    /// Keeps the `k` nearest candidates, in the order of the rows.
    fn drop_beaten(&mut self) {
        let mut at_limit = self.k - self.nearer;
        self.candidates.retain(|(distance, _)| {
            if *distance == self.limit && at_limit > 0 {
                at_limit -= 1;
                return true;
            }
            *distance < self.limit
        });
    }

    /// The `k` nearest, or all if there are fewer, by distance, then by row.
    pub fn into_sorted(mut self) -> Vec<(u32, usize)> {
        self.drop_beaten();
        self.candidates.sort_unstable();
        self.candidates
    }
}
