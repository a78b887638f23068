//! The shards' hits as one list, encoded: the best of the whole collection.

use std::cmp::Ordering;
use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{DecodeError, Message};

/// The tag of `SearchResponse.hits`: field 1, with a length.
const HITS: u8 = 0x0a;
/// The tag of `Hit.score`: field 3, four bytes.
const SCORE: u8 = 0x1d;
/// A score's field with its tag.
const SCORE_BYTES: usize = 5;

/// What to keep of the hits.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many hits at most.
    pub k: usize,
    /// Keep the best item of each product only. An item without a product is its own.
    pub group_by_product: bool,
    /// Hits below this cosine similarity are left out.
    pub min_score: f32,
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

    fn put(&self, into: &mut BytesMut) {
        let extra = if self.is_rounded { SCORE_BYTES } else { 0 };
        into.put_u8(HITS);
        prost::encode_length_delimiter(self.hit.len() + extra, into).expect("a buffer that grows has room");
        into.put_slice(&self.hit);
        if self.is_rounded {
            // Of a field that is there twice the last one counts.
            into.put_u8(SCORE);
            into.put_f32_le(self.head.score);
        }
    }
}

/// Returns the best hits of several shards.
///
/// The result is that of one search over all rows, if every shard gave its k best (by product where grouped): a
/// product among the k best overall is among the k best of the shard that holds its best item. Every score that is
/// returned can be given as `min_score` to find its hit again.
///
/// # Errors
///
/// Bytes that are no `Hit`.
pub fn merge(hits: impl IntoIterator<Item = Bytes>, wanted: Wanted) -> Result<Merged, DecodeError> {
    let mut candidates = Vec::new();
    for hit in hits {
        let candidate = Candidate::read(hit)?;
        if candidate.head.score >= wanted.min_score {
            candidates.push(candidate);
        }
    }
    candidates.sort_unstable_by(Candidate::order);
    let mut seen = HashSet::new();
    let mut is_new = |head: &Head| {
        !wanted.group_by_product || head.product_id.is_empty() || seen.insert(head.product_id.clone())
    };
    let best: Vec<&Candidate> =
        candidates.iter().filter(|candidate| is_new(&candidate.head)).take(wanted.k).collect();
    let room = best.iter().map(|candidate| candidate.hit.len() + SCORE_BYTES + 6).sum();
    let mut encoded = BytesMut::with_capacity(room);
    best.iter().for_each(|candidate| candidate.put(&mut encoded));
    Ok(Merged {
        hits: encoded.freeze(),
        count: best.len(),
        best_score: best.first().map(|candidate| candidate.head.score),
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
        #[prost(string, tag = "7")]
        title: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Response {
        #[prost(message, repeated, tag = "1")]
        hits: Vec<Hit>,
    }

    fn hit(score: f32, item_id: &str, product_id: &str) -> Hit {
        Hit { product_id: product_id.into(), item_id: item_id.into(), score, title: "t".repeat(300) }
    }

    fn merged(hits: &[Hit], k: usize, group_by_product: bool, min_score: f32) -> Vec<Hit> {
        let wanted = Wanted { k, group_by_product, min_score };
        let merged = merge(hits.iter().map(|hit| hit.encode_to_vec().into()), wanted).unwrap();
        let hits = Response::decode(merged.hits).unwrap().hits;
        assert_eq!((merged.count, merged.best_score), (hits.len(), hits.first().map(|hit| hit.score)));
        hits
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
    fn what_is_no_hit_is_an_error() {
        let wanted = Wanted { k: 1, group_by_product: true, min_score: -1.0 };
        assert!(merge([Bytes::from_static(b"\x0a\xff")], wanted).is_err());
        assert_eq!(merge([], wanted).unwrap(), Merged::default());
    }
}
