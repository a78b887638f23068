//! The shards' hits as one list, encoded: the best of the whole collection.

use std::cmp::Ordering;
use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{DecodeError, Message};

use super::matching::Calibration;

/// The tag of `SearchResponse.hits`: field 1, with a length.
const HITS: u8 = 0x0a;
/// The tag of `Hit.score`: field 3, four bytes.
const SCORE: u8 = 0x1d;
/// The tag of `Hit.match_probability`: field 4, four bytes.
const MATCH_PROBABILITY: u8 = 0x25;
/// A field of four bytes with its tag.
const FLOAT_BYTES: usize = 5;

/// What to keep of the hits.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many hits at most.
    pub k: usize,
    /// Keep the best item of each product only. An item without a product is its own.
    pub group_by_product: bool,
    /// Hits below this cosine similarity are left out.
    pub min_score: f32,
    /// How likely they are right; none: they are given no probabilities.
    pub matching: Option<Matching>,
}

/// What to say of how likely hits are right.
#[derive(Clone, Copy, Debug)]
pub struct Matching {
    /// Of the collection.
    pub calibration: Calibration,
    /// Hits that are less likely are left out.
    pub min_probability: f32,
}

/// The merged hits of one vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The hits as field 1 of a `SearchResponse`, tags and lengths included: best first, equal scores by item id.
    pub hits: Bytes,
    /// How many there are.
    pub count: usize,
    /// The score of the first.
    pub best_score: Option<f32>,
    /// How likely the best of all hits is right, also where it was left out.
    pub best_match: Option<f32>,
}

/// What merging has to know of a `Hit`.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(bytes = "bytes", tag = "1")]
    product_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    item_id: Bytes,
    #[prost(float, tag = "3")]
    score: f32,
}

struct Candidate {
    head: Head,
    hit: Bytes,
    /// Whether the score that the shard sent is no cosine.
    is_rounded: bool,
}

impl Candidate {
    fn read(hit: Bytes) -> Result<Self, DecodeError> {
        let mut head = Head::decode(hit.clone())?;
        // Rounding may have left the bounds of a cosine by a little.
        let score = head.score.clamp(-1.0, 1.0);
        let is_rounded = score != head.score;
        head.score = score;
        Ok(Self { head, hit, is_rounded })
    }

    fn order(&self, other: &Self) -> Ordering {
        let (mine, others) = (&self.head, &other.head);
        let by_score =
            others.score.partial_cmp(&mine.score).expect("scores that are no numbers are left out");
        by_score.then_with(|| mine.item_id.cmp(&others.item_id))
    }

    fn put(&self, match_probability: Option<f32>, into: &mut BytesMut) {
        let score = self.is_rounded.then_some((SCORE, self.head.score));
        let probability = match_probability.map(|probability| (MATCH_PROBABILITY, probability));
        // Of a field that is there twice the last one counts.
        let extra = score.into_iter().chain(probability);
        into.put_u8(HITS);
        let size = self.hit.len() + extra.clone().count() * FLOAT_BYTES;
        prost::encode_length_delimiter(size, into).expect("a buffer that grows has room");
        into.put_slice(&self.hit);
        for (tag, value) in extra {
            into.put_u8(tag);
            into.put_f32_le(value);
        }
    }
}

/// The products of a search in the order of their best items. An item without a product is its own.
#[derive(Default)]
struct Products {
    places: HashMap<Bytes, usize>,
    scores: Vec<f32>,
}

impl Products {
    /// The place of a hit's product, and whether it is the first of it.
    fn place(&mut self, head: &Head) -> (usize, bool) {
        let next = self.scores.len();
        let place = if head.product_id.is_empty() {
            next
        } else {
            *self.places.entry(head.product_id.clone()).or_insert(next)
        };
        if place == next {
            self.scores.push(head.score);
        }
        (place, place == next)
    }
}

/// Returns the best hits of several shards.
///
/// The result is that of one search over all rows, if every shard gave its k best (by product where grouped): a
/// product among the k best overall is among the k best of the shard that holds its best item. Every score that is
/// returned can be given as `min_score` to find its hit again. Probabilities need `matching::DEPTH` of each shard, if
/// that is more than k, and are those of the hits' products.
///
/// # Errors
///
/// Bytes that are no `Hit`.
pub fn merge(hits: impl IntoIterator<Item = Bytes>, wanted: Wanted) -> Result<Merged, DecodeError> {
    let mut candidates = Vec::new();
    for hit in hits {
        let candidate = Candidate::read(hit)?;
        if !candidate.head.score.is_nan() {
            candidates.push(candidate);
        }
    }
    candidates.sort_unstable_by(Candidate::order);
    let are_products_asked_for = wanted.group_by_product || wanted.matching.is_some();
    let mut products = Products::default();
    let mut places = Vec::with_capacity(candidates.len());
    candidates.retain(|candidate| {
        let (place, is_first) =
            if are_products_asked_for { products.place(&candidate.head) } else { (0, true) };
        let is_kept = is_first || !wanted.group_by_product;
        if is_kept {
            places.push(place);
        }
        is_kept
    });
    let found = wanted.matching.as_ref().map(|matching| matching.calibration.probabilities(&products.scores));
    let probability = |place: usize| found.as_ref().map(|found| found.of(place, products.scores[place]));
    let min_probability = wanted.matching.map_or(0.0, |matching| matching.min_probability);
    let best: Vec<_> = candidates
        .iter()
        .zip(places)
        .take(wanted.k)
        .take_while(|(candidate, _)| candidate.head.score >= wanted.min_score)
        .map(|(candidate, place)| (candidate, probability(place)))
        .filter(|(_, probability)| probability.is_none_or(|probability| probability >= min_probability))
        .collect();
    let room = best.iter().map(|(candidate, _)| candidate.hit.len() + 2 * FLOAT_BYTES + 6).sum();
    let mut encoded = BytesMut::with_capacity(room);
    best.iter().for_each(|(candidate, probability)| candidate.put(*probability, &mut encoded));
    Ok(Merged {
        hits: encoded.freeze(),
        count: best.len(),
        best_score: best.first().map(|(candidate, _)| candidate.head.score),
        best_match: candidates.first().and_then(|_| probability(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Hit {
        #[prost(string, tag = "1")]
        product_id: String,
        #[prost(string, tag = "2")]
        item_id: String,
        #[prost(float, tag = "3")]
        score: f32,
        #[prost(float, optional, tag = "4")]
        match_probability: Option<f32>,
        #[prost(string, tag = "7")]
        title: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Response {
        #[prost(message, repeated, tag = "1")]
        hits: Vec<Hit>,
    }

    fn hit(score: f32, item_id: &str, product_id: &str) -> Hit {
        let (product_id, item_id) = (product_id.into(), item_id.into());
        Hit { product_id, item_id, score, title: "t".repeat(300), match_probability: None }
    }

    const CALIBRATION: Calibration =
        Calibration { slope: 20.0, threshold: 0.3, density_weight: 0.5, density: 0.2 };

    fn merged(hits: &[Hit], k: usize, group_by_product: bool, min_score: f32) -> Vec<Hit> {
        merged_as(hits, Wanted { k, group_by_product, min_score, matching: None }).0
    }

    fn merged_as(hits: &[Hit], wanted: Wanted) -> (Vec<Hit>, Option<f32>) {
        let merged = merge(hits.iter().map(|hit| hit.encode_to_vec().into()), wanted).unwrap();
        let hits = Response::decode(merged.hits).unwrap().hits;
        assert_eq!((merged.count, merged.best_score), (hits.len(), hits.first().map(|hit| hit.score)));
        (hits, merged.best_match)
    }

    fn likely(k: usize, group_by_product: bool, min_score: f32, min_probability: f32) -> Wanted {
        let matching = Some(Matching { calibration: CALIBRATION, min_probability });
        Wanted { k, group_by_product, min_score, matching }
    }

    #[test]
    fn a_product_shows_its_best_item_and_items_without_one_stand_for_themselves() {
        let hits = [hit(0.7, "a", "p"), hit(0.6, "b", ""), hit(0.8, "c", "p"), hit(0.6, "aa", "")];
        assert_eq!(merged(&hits, 9, true, -1.0), [hits[2].clone(), hits[3].clone(), hits[1].clone()]);
        assert_eq!(merged(&hits, 2, false, -1.0), [hits[2].clone(), hits[0].clone()]);
        assert_eq!(merged(&hits, 9, false, 0.7), [hits[2].clone(), hits[0].clone()]);
    }

    #[test]
    fn scores_are_cosines_and_are_found_again() {
        let hits = [hit(1.000_000_2, "b", ""), hit(1.0, "a", ""), hit(-1.5, "c", ""), hit(f32::NAN, "d", "")];
        let found = merged(&hits, 9, true, f32::NEG_INFINITY);
        let scores: Vec<_> = found.iter().map(|hit| (hit.item_id.as_str(), hit.score)).collect();
        assert_eq!(scores, [("a", 1.0), ("b", 1.0), ("c", -1.0)]);
        assert_eq!(found[1].title, hits[0].title);
        assert_eq!(merged(&hits, 9, true, 1.0).len(), 2);
    }

    #[test]
    fn items_are_as_likely_as_their_products() {
        let hits = [hit(0.7, "a", "p"), hit(0.6, "b", ""), hit(0.8, "c", "p"), hit(0.55, "d", "q")];
        let (grouped, best) = merged_as(&hits, likely(9, true, -1.0, 0.0));
        let (items, _) = merged_as(&hits, likely(9, false, -1.0, 0.0));
        let of = |hits: &[Hit], id: &str| {
            hits.iter().find(|hit| hit.item_id == id).and_then(|hit| hit.match_probability)
        };
        assert_eq!((of(&items, "a"), of(&items, "c")), (best, best));
        assert!(
            ["b", "c", "d"].iter().all(|id| of(&items, id) == of(&grouped, id) && of(&items, id).is_some())
        );
        let scores = [0.8, 0.6, 0.55];
        let expected = CALIBRATION.probabilities(&scores);
        assert_eq!(
            grouped.iter().map(|hit| hit.match_probability).collect::<Vec<_>>(),
            [Some(expected.of(0, 0.8)), Some(expected.of(1, 0.6)), Some(expected.of(2, 0.55))]
        );
    }

    #[test]
    fn what_is_left_out_competes_all_the_same() {
        let hits = [hit(0.8, "a", "p"), hit(0.79, "b", "q"), hit(0.5, "c", "r")];
        let (all, best) = merged_as(&hits, likely(9, true, -1.0, 0.0));
        assert_eq!(merged_as(&hits, likely(1, true, -1.0, 0.0)), (all[..1].to_vec(), best));
        assert_eq!(merged_as(&hits, likely(9, true, 0.795, 0.0)), (all[..1].to_vec(), best));
        assert_eq!(merged_as(&hits, likely(9, true, -1.0, 0.1)), (all[..2].to_vec(), best));
        assert_eq!(merged_as(&hits, likely(9, true, -1.0, 0.9)), (vec![], best));
        assert_eq!(merged_as(&[], likely(9, true, -1.0, 0.0)), (vec![], None));
    }

    #[test]
    fn what_is_no_hit_is_an_error() {
        let wanted = Wanted { k: 1, group_by_product: true, min_score: -1.0, matching: None };
        assert!(merge([Bytes::from_static(b"\x0a\xff")], wanted).is_err());
        assert_eq!(merge([], wanted).unwrap(), Merged::default());
    }
}
