//! Between roaring bitmaps and plain bit arrays.

use roaring::RoaringBitmap;

/// The ordinals below `ordinals` as bits, ordinal `i` as bit `i % 64` of word `i / 64`; others are left out.
pub fn to_words(bitmap: &RoaringBitmap, ordinals: usize) -> Vec<u64> {
    let mut words = vec![0; ordinals.div_ceil(64)];
    // Iterating costs a nanosecond for each ordinal. The portable format holds dense stretches as they are
    // needed here (roaring specification, github.com/RoaringBitmap/RoaringFormatSpec).
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("a vector takes every byte");
    Portable { bytes: &bytes }.write_to(&mut words);
    if !ordinals.is_multiple_of(64) {
        let last = words.len() - 1;
        words[last] &= (1 << (ordinals % 64)) - 1;
    }
    words
}

const COOKIE_WITHOUT_RUNS: u32 = 12346;
const WORDS_PER_CONTAINER: usize = 1024;
const MAX_ARRAY: usize = 4096;

/// A serialised bitmap, as it comes from the serialiser; it is not checked.
struct Portable<'a> {
    bytes: &'a [u8],
}

impl Portable<'_> {
    fn write_to(mut self, words: &mut [u64]) {
        let cookie = self.u32();
        let (containers, runs) = if cookie == COOKIE_WITHOUT_RUNS {
            (self.u32() as usize, &[][..])
        } else {
            let containers = (cookie >> 16) as usize + 1;
            (containers, self.take(containers.div_ceil(8)))
        };
        let keys = self.take(containers * 4);
        if runs.is_empty() || containers >= 4 {
            self.take(containers * 4); // offsets of the containers, which follow each other anyway
        }
        for (at, description) in keys.as_chunks::<4>().0.iter().enumerate() {
            let key = u16::from_le_bytes([description[0], description[1]]) as usize;
            let count = u16::from_le_bytes([description[2], description[3]]) as usize + 1;
            let start = (key * WORDS_PER_CONTAINER).min(words.len());
            let words = &mut words[start..];
            if runs.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
                for _ in 0..self.u16() {
                    let (first, more) = (self.u16(), self.u16());
                    (first..=first + more).for_each(|bit| set(words, bit));
                }
            } else if count > MAX_ARRAY {
                let container = self.take(WORDS_PER_CONTAINER * 8);
                for (word, bytes) in words.iter_mut().zip(container.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
            } else {
                let values = self.take(count * 2).as_chunks().0;
                values.iter().for_each(|value| set(words, u16::from_le_bytes(*value)));
            }
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take(2).try_into().expect("2 bytes"))
    }
}

impl<'a> Portable<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }
}

fn set(words: &mut [u64], bit: u16) {
    if let Some(word) = words.get_mut(bit as usize / 64) {
        *word |= 1 << (bit % 64);
    }
}

/// The ordinals whose bits are set.
pub(super) fn from_words(words: &[u64]) -> RoaringBitmap {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    RoaringBitmap::from_lsb0_bytes(0, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_the_ordinals_in_range(
            sparse in prop::collection::vec(0u32..300_000, 0..50),
            dense in prop::collection::vec((0u32..300_000, 1u32..70_000, 1usize..4), 0..4),
            compress: bool,
            ordinals in 0usize..300_000,
        ) {
            let mut bitmap: RoaringBitmap = sparse.into_iter().collect();
            for (first, count, step) in dense {
                bitmap.extend((first..first + count).step_by(step));
            }
            if compress {
                bitmap.optimize();
            }
            let words = to_words(&bitmap, ordinals);
            let in_range: RoaringBitmap = bitmap.iter().filter(|o| (*o as usize) < ordinals).collect();
            prop_assert_eq!(words.len(), ordinals.div_ceil(64));
            // Bitmaps that hold the same in other containers are not equal.
            prop_assert!(from_words(&words).iter().eq(in_range.iter()));
        }
    }
}
