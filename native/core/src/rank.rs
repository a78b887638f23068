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
    /// Where whoever ranks it has its row.
    pub place: u32,
}

fn by_rank(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// Keeps the best `k` hits, or with `group` the best hit of each of the `k` best products, in order. Returns how many
/// of these `k` there are.
///
/// With `ties` it also keeps what equals them: with `group` every hit with the score of its product's best, and every
/// product whose best has the score of the last one's.
pub fn keep_best(hits: &mut Vec<Hit>, k: usize, group: bool, ties: bool) -> usize {
    let mut places = hits.len();
    if group {
        places = keep_best_of_each_product(hits, ties);
    }
    if !ties {
        if hits.len() > k {
            hits.select_nth_unstable_by(k - 1, by_rank);
            hits.truncate(k);
        }
    } else if places > k {
        let least = if group {
            least_of_products(hits, k)
        } else {
            hits.select_nth_unstable_by(k - 1, by_rank).1.score
        };
        hits.retain(|hit| hit.score.total_cmp(&least).is_ge());
    }
    hits.sort_unstable_by(by_rank);
    places.min(k)
}

/// Keeps the best hit of each product, with `ties` also those that equal it, product after product. Returns how many
/// products there are.
fn keep_best_of_each_product(hits: &mut Vec<Hit>, ties: bool) -> usize {
    hits.sort_unstable_by(|a, b| a.product.cmp(&b.product).then_with(|| by_rank(a, b)));
    let (mut products, mut best) = (0, None);
    hits.retain(|hit| {
        let first = best.is_none_or(|best: Hit| best.product != hit.product);
        if first {
            products += 1;
            best = Some(*hit);
        }
        first || ties && best.is_some_and(|best| best.score.total_cmp(&hit.score).is_eq())
    });
    products
}

/// The `k`-th best score of the products of `hits`, product after product, each with one score.
fn least_of_products(hits: &[Hit], k: usize) -> f32 {
    let products = hits.chunk_by(|a, b| a.product == b.product);
    let mut scores: Vec<f32> = products.map(|hits| hits[0].score).collect();
    *scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(score: f32, id: u64, product: u64) -> Hit {
        Hit { score, id, product, place: 0 }
    }

    #[test]
    fn ties_go_to_the_smaller_id() {
        let mut hits = vec![hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.1, 1, 3)];
        assert_eq!(keep_best(&mut hits, 2, false, false), 2);
        assert_eq!(hits, [hit(0.7, 5, 2), hit(0.5, 2, 1)]);
    }

    #[test]
    fn products_keep_their_best_item() {
        let mut hits = vec![hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.9, 6, 1)];
        assert_eq!(keep_best(&mut hits, 5, true, false), 2);
        assert_eq!(hits, [hit(0.9, 6, 1), hit(0.7, 5, 2)]);
    }

    #[test]
    fn ties_of_the_last_place_come_along() {
        let all = [hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.1, 1, 3), hit(0.5, 4, 4)];
        let mut hits = all.to_vec();
        assert_eq!(keep_best(&mut hits, 2, false, true), 2);
        assert_eq!(hits, [hit(0.7, 5, 2), hit(0.5, 2, 1), hit(0.5, 4, 4), hit(0.5, 9, 1)]);
        let mut hits = all.to_vec();
        assert_eq!(keep_best(&mut hits, 9, false, true), 5);
        assert_eq!(hits.len(), 5);
    }

    #[test]
    fn ties_within_and_between_products_come_along() {
        let all =
            [hit(0.5, 9, 1), hit(0.5, 2, 1), hit(0.7, 5, 2), hit(0.6, 3, 2), hit(0.4, 1, 1), hit(0.5, 4, 4)];
        let mut hits = all.to_vec();
        assert_eq!(keep_best(&mut hits, 2, true, true), 2);
        assert_eq!(hits, [hit(0.7, 5, 2), hit(0.5, 2, 1), hit(0.5, 4, 4), hit(0.5, 9, 1)]);
        let mut hits = all.to_vec();
        assert_eq!(keep_best(&mut hits, 1, true, true), 1);
        assert_eq!(hits, [hit(0.7, 5, 2)]);
    }
}
