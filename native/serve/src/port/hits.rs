//! Results as they are sent: documents of the index with a score each.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use lookalike_core::index::StageSeconds;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// Of `Hit.item_id`.
const ITEM_ID_FIELD: u64 = 2;
/// The tag of `Hit.score`, and its size with its four bytes.
const SCORE_TAG: u8 = 0x1d;
const SCORE_BYTES: usize = 5;

/// One result of a vector.
pub struct Hit<'a> {
    /// Its cosine.
    pub score: f32,
    /// An encoded `Hit` without a score.
    pub document: &'a [u8],
}

/// The results of one vector, best first.
pub struct Hits<'a> {
    /// At most `k`.
    pub hits: Vec<Hit<'a>>,
    /// Rows that the vector was compared with.
    pub scanned: u64,
}

/// A result's place in the order of the contract: by score, then by item id.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its cosine.
    pub score: f32,
    /// Its item id.
    pub item_id: &'a [u8],
    /// Its id in the index.
    pub number: u64,
}

impl Ord for Place<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then_with(|| (self.item_id, self.number).cmp(&(other.item_id, other.number)))
    }
}

impl PartialOrd for Place<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place<'_> {}

/// The item id of a document, which begins with the ids of the product, if it has one, and of the item.
pub fn item_id(mut document: &[u8]) -> &[u8] {
    while let (Ok(tag), Ok(size)) = (decode_varint(&mut document), decode_varint(&mut document)) {
        let Some((value, rest)) = document.split_at_checked(size as usize) else { break };
        match (tag >> 3, tag & 7) {
            (ITEM_ID_FIELD, 2) => return value,
            (..ITEM_ID_FIELD, 2) => document = rest,
            _ => break,
        }
    }
    &[]
}

/// The encoded `HasherServiceSearchResponse` of results out of `total` items.
///
/// # Errors
///
/// Its size, if that is above `most`: it may be a thousand times that, and is not written.
pub fn encoded(
    results: &[Hits],
    total: u64,
    position: u64,
    seconds: StageSeconds,
    most: usize,
) -> Result<Bytes, usize> {
    let timing = [seconds.hash, seconds.probe, seconds.scan, seconds.rerank];
    let timing_bytes = timing.len() * 9;
    let sizes: Vec<usize> = results.iter().map(|result| result.size(total)).collect();
    let with_length = |size: usize| 1 + encoded_len_varint(size as u64) + size;
    let size: usize = sizes.iter().map(|size| with_length(*size)).sum();
    let size = size + number_size(total) + number_size(position) + with_length(timing_bytes);
    if size > most {
        return Err(size);
    }
    let mut out = BytesMut::with_capacity(size);
    for (result, size) in results.iter().zip(sizes) {
        out.put_u8(0x0a);
        encode_varint(size as u64, &mut out);
        result.encode(total, &mut out);
    }
    for (tag, value) in [(0x10, total), (0x18, position)] {
        put_number(tag, value, &mut out);
    }
    out.put_u8(0x22);
    encode_varint(timing_bytes as u64, &mut out);
    for (tag, seconds) in [0x09, 0x11, 0x19, 0x21].into_iter().zip(timing) {
        out.put_u8(tag);
        out.put_f64_le(seconds);
    }
    Ok(out.freeze())
}

fn number_size(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

fn put_number(tag: u8, value: u64, out: &mut BytesMut) {
    if value != 0 {
        out.put_u8(tag);
        encode_varint(value, out);
    }
}

impl Hits<'_> {
    /// Rows that are no longer found are looked at too.
    fn scanned(&self, total: u64) -> u64 {
        self.scanned.min(total)
    }

    /// Its bytes as part of an answer, without their number.
    pub fn size(&self, total: u64) -> usize {
        let hit = |hit: &Hit| {
            let size = hit.document.len() + SCORE_BYTES;
            1 + encoded_len_varint(size as u64) + size
        };
        self.hits.iter().map(hit).sum::<usize>() + number_size(self.scanned(total))
    }

    fn encode(&self, total: u64, out: &mut BytesMut) {
        for hit in &self.hits {
            out.put_u8(0x0a);
            encode_varint((hit.document.len() + SCORE_BYTES) as u64, out);
            out.put_slice(hit.document);
            out.put_u8(SCORE_TAG);
            out.put_f32_le(hit.score);
        }
        put_number(0x10, self.scanned(total), out);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::v1::HasherServiceSearchResponse;

    #[test]
    fn ids_are_found_in_documents() {
        assert_eq!(item_id(b"\x0a\x02p1\x12\x03abc\x2a\x00"), b"abc");
        assert_eq!(item_id(b"\x12\x03abc"), b"abc");
        for without in [&b""[..], b"\x0a\x02p1", b"\x2a\x02p1\x12\x03abc", b"\x12\x09abc", b"\x1d\0\0\0\0"] {
            assert_eq!(item_id(without), b"");
        }
    }

    #[test]
    fn an_answer_is_encoded_as_its_message() {
        let document = [b"\x12\x84\x01".as_slice(), &[b'x'; 132]].concat();
        let hit = |score| Hit { score, document: &document };
        let results =
            [Hits { hits: vec![hit(0.5), hit(0.0)], scanned: 300 }, Hits { hits: vec![], scanned: 0 }];
        let seconds = StageSeconds { hash: 1.0, probe: 2.0, scan: 0.0, rerank: 4.0 };
        let bytes = encoded(&results, 200, 7, seconds, 1 << 16).unwrap();
        assert_eq!(encoded(&results, 200, 7, seconds, bytes.len()).as_ref(), Ok(&bytes));
        assert_eq!(encoded(&results, 200, 7, seconds, bytes.len() - 1), Err(bytes.len()));
        let answer = HasherServiceSearchResponse::decode(bytes).unwrap();
        assert_eq!((answer.codes_total, answer.position), (200, 7));
        let timing = answer.timing.unwrap();
        assert_eq!([timing.hash_seconds, timing.probe_seconds, timing.rerank_seconds], [1.0, 2.0, 4.0]);
        let [first, second] = answer.results.try_into().unwrap();
        assert_eq!((first.codes_scanned, second.codes_scanned), (200, 0));
        assert_eq!((first.hits.len(), second.hits.len()), (2, 0));
        assert_eq!(first.hits[0], [&document[..], b"\x1d", &0.5f32.to_le_bytes()].concat());
    }
}
