//! How much work a search does by default: measured by `benchmarks/hash_index.py`.

use super::options::SearchOptions;
use super::state::State;

/// Fewest codes that a search scans.
const MIN_SCAN: usize = 100;

/// Codes to scan for one query that asks for `k` of `items` items.
pub fn scan_budget(items: usize, k: usize) -> usize {
    const KNEE: f64 = 3_000.0;
    const SHARE: f64 = 0.13;
    let items = items as f64;
    let codes = if items <= KNEE { SHARE * items } else { SHARE * KNEE * (items / KNEE).powf(0.75) };
    (codes as usize).max(MIN_SCAN).max(3 * k)
}

/// How many of a bucket's `rows` to scan, given the remaining budget `left` and the intended bucket size `most`.
///
/// A bucket far beyond that size holds many copies of few vectors, or waits to be divided: only a part of it is
/// scanned, and at most half of the budget where it has nothing but copies, so that other buckets get their turn.
pub fn rows_worth(rows: usize, left: usize, most: usize, only_copies: impl FnOnce() -> bool) -> usize {
    if rows / 2 <= most {
        return rows;
    }
    let share = if only_copies() { left / 2 } else { left };
    rows.min(share.max(most))
}

/// Efforts 0 and 1 look at `2^-(RANGE / 2)` and `2^(RANGE / 2)` times as many rows as 0.5.
const RANGE: f64 = 8.0;

/// Candidates whose score is computed for `k` results.
fn rerank_depth(k: usize) -> usize {
    (8 * k).max(128)
}

/// How much work one search does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// Most buckets visited.
    pub probes: usize,
    /// Rows after which no further bucket is visited.
    pub rows: usize,
    /// Candidates scored.
    pub rerank: usize,
    /// Buckets that this is likely to take.
    pub buckets: usize,
}

impl Effort {
    /// The effort of a search with these options, `matches` of whose items may be found.
    pub fn of(options: &SearchOptions, state: &State, matches: usize) -> Self {
        let buckets = state.codebook.buckets() / state.codebook.tables();
        let more = options.effort.map_or(1.0, |effort| 2f64.powf(RANGE * (f64::from(effort) - 0.5)));
        let rerank = (rerank_depth(options.k) as f64 * more.sqrt()) as usize;
        let rerank = options.rerank.unwrap_or(rerank.max(options.k));
        if let Some(probes) = options.probes {
            return Self { probes, rows: usize::MAX, rerank, buckets: probes };
        }
        // What passes a filter lies as if there were nothing else: as large a share must be looked at.
        let budget = scan_budget(matches, options.k) as f64 * more;
        let share = budget / matches.max(1) as f64;
        let rows = if share >= 0.5 { usize::MAX } else { (share * state.live as f64) as usize };
        Self { probes: usize::MAX, rows, rerank, buckets: (share * buckets as f64) as usize + 4 }
    }

    /// Four times as much.
    pub fn further(self) -> Self {
        Self {
            probes: self.probes,
            rows: self.rows.saturating_mul(4),
            rerank: self.rerank.saturating_mul(4),
            buckets: self.buckets.saturating_mul(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fall_with_size_and_small_indexes_scan_enough() {
        assert_eq!(scan_budget(50, 10), 100);
        assert_eq!(scan_budget(3_000, 10), 390);
        assert_eq!(scan_budget(3_000, 1_000), 3_000);
        let share = |items| scan_budget(items, 10) as f64 / items as f64;
        assert!(share(100_000) < 0.056 && share(1_000_000) < 0.033);
    }
}
