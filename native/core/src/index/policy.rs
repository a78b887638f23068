//! When an index is retrained or its rows are compacted, and how many buckets it gets: measured by `benchmarks/hash_index.py`.

use crate::cells;
use crate::probe::MAX_PLANES;

/// Up to this many items there are no buckets: every code is scanned.
pub const BRUTE_FORCE_ITEMS: usize = 200;

/// Hyperplanes of one table for `items` items: two to three buckets per item up to 4,096 items, and
/// fewer beyond, where visiting empty buckets costs more than scanning full ones.
pub fn planes_per_table(items: usize) -> usize {
    let log2 = (items.max(2) as f64).log2();
    let planes = if log2 <= 12.0 { log2 + 1.5 } else { 13.5 + 0.8 * (log2 - 12.0) };
    (planes as usize).clamp(4, MAX_PLANES - 4)
}

/// Buckets of one table of cross-polytopes for `items` items: several items each.
pub fn cross_polytope_buckets(items: usize) -> usize {
    (items / 32).clamp(64, 16_384)
}

/// Cells for `items` items: as many as pay, found by measurement; see `docs/adr/0007-rows-by-bucket.md`.
pub fn cell_count(items: usize) -> usize {
    (8.0 * (items as f64).sqrt()).min(32_768.0) as usize
}

/// Up to this many items retraining takes but a moment, 50 ms on one core: the write that makes it due does it.
pub const CHEAP: usize = 2_000;

/// Up to this many items buckets are trained again after less growth, and rows stay where writes put them.
const SMALL: usize = 20_000;

/// Whether an index whose codebook saw `trained_on` items should be retrained with `items` items.
///
/// Buckets that were trained on a part of the items fit the others badly, and few buckets more so. While an index
/// grows, steps of a quarter train on five times as many rows as it has in the end, steps of a tenth on eleven times.
pub fn outgrown(items: usize, trained_on: usize) -> bool {
    let grown = if items <= SMALL { 4 * items >= 5 * trained_on } else { 2 * items >= 3 * trained_on };
    items > BRUTE_FORCE_ITEMS && grown
}

/// Whether so many of the `ordinals` are unused that the bit arrays over them are mostly empty.
///
/// An index that has lost most of its items is retrained: its buckets are too many as well.
pub fn shrunk(items: usize, ordinals: usize) -> bool {
    const FEW: usize = 1 << 16;
    ordinals > FEW && ordinals / 8 > items
}

/// Whether a bucket of `largest` rows is so far beyond what training leaves that it should be divided again.
///
/// `settled` is the largest one that the last training left: what it could not divide then it would not now.
pub fn crowded(largest: usize, settled: usize, items: usize, buckets: usize) -> bool {
    largest > 2 * cells::cap(items, buckets).max(settled)
}

/// Whether rows lie so scattered after `changes` that they should be copied next to each other again: an eighth of the items
/// was replaced, or a quarter added or removed. Searches were a third slower after a fifth was replaced.
pub fn scattered(items: usize, changes: usize) -> bool {
    items > SMALL && 4 * changes > items
}

/// Whether training that failed with `failed_at` items may be tried again: not before half of them are new.
pub fn worth_another_try(items: usize, failed_at: usize) -> bool {
    2 * items >= 3 * failed_at || 3 * items <= 2 * failed_at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperplanes_grow_with_the_logarithm() {
        assert_eq!([201, 3_000, 96_000, 1_100_000].map(planes_per_table), [9, 13, 17, 19]);
    }
}
