//! Order of results: score downwards, then id upwards, so that ties are the same everywhere.

use std::cmp::Ordering;

/// One scored item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Cosine with the query.
    pub score: f32,
    /// The item.
    pub id: u64,
    /// The product it belongs to.
    pub product: u64,
}

fn by_rank(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// Keeps the best hit of each product.
pub fn keep_best_of_each_product(hits: &mut Vec<Hit>) {
    hits.sort_unstable_by(|a, b| a.product.cmp(&b.product).then_with(|| by_rank(a, b)));
    hits.dedup_by_key(|hit| hit.product);
}

/// Keeps the best `k` hits, in order.
pub fn keep_top(hits: &mut Vec<Hit>, k: usize) {
    if hits.len() > k && k > 0 {
        hits.select_nth_unstable_by(k - 1, by_rank);
    }
    hits.truncate(k);
    hits.sort_unstable_by(by_rank);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(score: f32, id: u64, product: u64) -> Hit {
        Hit { score, id, product }
    }

    #[test]
    fn ties_go_to_the_smaller_id() {
        let mut hits = vec![hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.1, 1, 3)];
        keep_top(&mut hits, 2);
        assert_eq!(hits, [hit(0.7, 5, 2), hit(0.5, 2, 1)]);
    }

    #[test]
    fn products_keep_their_best_item() {
        let mut hits = vec![hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.9, 6, 1)];
        keep_best_of_each_product(&mut hits);
        keep_top(&mut hits, 5);
        assert_eq!(hits, [hit(0.9, 6, 1), hit(0.7, 5, 2)]);
    }
}
