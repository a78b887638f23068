//! How much work a search does unless it is told: measured by `benchmarks/hash_index.py`.

use crate::probe::MAX_PLANES;

/// Up to this many items there are no buckets: every code is scanned.
pub const BRUTE_FORCE_ITEMS: usize = 200;

/// Hyperplanes of one table for `items` items: two to three buckets per item.
pub fn planes_per_table(items: usize) -> usize {
    let log2 = (items.max(2) as f64).log2();
    ((log2 + 1.5) as usize).clamp(4, MAX_PLANES - 4)
}

/// Codes to scan for one query that asks for `k` of `items` items.
pub fn scan_budget(items: usize, k: usize) -> usize {
    let share = if items <= 3_000 { 0.11 * items as f64 } else { 330.0 * (items as f64 / 3_000.0).powf(0.6) };
    (share as usize).max(BRUTE_FORCE_ITEMS).max(3 * k)
}

/// Candidates whose exact cosine is computed for `k` results.
pub fn rerank_depth(k: usize) -> usize {
    (12 * k).max(256)
}
