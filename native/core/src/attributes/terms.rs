//! The dictionary: categories, attribute names and values as the nodes of one tree, each with a number.
//!
//! A category's parent is the category above it; a value's parent is its attribute's name. So equal
//! texts in different places are different terms, and paths need no separator.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The root above the top categories.
pub const CATEGORIES: u32 = 0;
/// The root above the attribute names.
pub const NAMES: u32 = 1;
/// The number of the first term below the roots.
pub const FIRST_TERM: u32 = 2;

/// Terms with consecutive numbers. A term's parent always has a lower number.
#[derive(Clone, Debug)]
pub struct Terms {
    first: u32,
    parents: Vec<u32>,
    ends: Vec<usize>,
    text: String,
    index: HashTable<u32>,
}

impl Terms {
    /// No terms; the first will have the number `first`.
    pub fn starting_at(first: u32) -> Self {
        Self { first, parents: Vec::new(), ends: Vec::new(), text: String::new(), index: HashTable::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// The number that the next term will get.
    pub fn next(&self) -> u32 {
        self.first + self.parents.len() as u32
    }

    /// All terms as (number, parent, text), ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &str)> {
        (self.first..self.next()).map(|term| (term, self.parent(term), self.text(term)))
    }

    /// The term's parent; only for a term held here.
    pub fn parent(&self, term: u32) -> u32 {
        self.parents[(term - self.first) as usize]
    }

    /// The term's own text; only for a term held here.
    pub fn text(&self, term: u32) -> &str {
        let at = (term - self.first) as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start..self.ends[at]]
    }

    /// The number of a term, if it is held here.
    pub fn find(&self, parent: u32, text: &str) -> Option<u32> {
        let same = |term: &u32| self.parent(*term) == parent && self.text(*term) == text;
        self.index.find(hash(parent, text), same).copied()
    }

    /// Appends a term that is not held yet and returns its number.
    pub fn push(&mut self, parent: u32, text: &str) -> u32 {
        let term = self.next();
        // Postings changes are packed with 31 bits for the term.
        assert!(term < 1 << 31, "at most 2^31 terms");
        self.parents.push(parent);
        self.text.push_str(text);
        self.ends.push(self.text.len());
        let Self { first, parents, ends, text: all, index } = self;
        let rehash = |term: &u32| {
            let at = (term - *first) as usize;
            let start = if at == 0 { 0 } else { ends[at - 1] };
            hash(parents[at], &all[start..ends[at]])
        };
        index.insert_unique(hash(parent, text), term, rehash);
        term
    }

    /// Memory in use.
    pub fn bytes(&self) -> usize {
        self.parents.capacity() * 4
            + self.ends.capacity() * 8
            + self.text.capacity()
            + self.index.allocation_size()
    }
}

fn hash(parent: u32, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), u64::from(parent))
}
