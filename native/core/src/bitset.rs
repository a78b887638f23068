//! A set of small numbers, one bit each.

/// Numbers from 0 on. Grows as needed.
#[derive(Clone, Debug, Default)]
pub struct Bitset {
    words: Vec<u64>,
    count: usize,
}

impl Bitset {
    /// The set with these words, bit `i % 64` of word `i / 64` for number `i`.
    pub fn from_words(words: Vec<u64>) -> Self {
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, count }
    }

    /// Adds a number; false if it was there.
    pub fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1u64 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    /// Whether a number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_counts_once() {
        let mut set = Bitset::default();
        assert!(set.insert(70) && !set.insert(70) && set.insert(3));
        assert!(set.contains(70) && !set.contains(69) && !set.contains(1_000_000));
        assert_eq!(set.len(), 2);
        assert_eq!(Bitset::from_words(vec![1 << 5 | 1, 2]).len(), 3);
    }
}
