//! Categories and attributes of the items, and which items pass a filter.
//!
//! Immutable bitmaps of all items (the base) are shared between snapshots; the latest changes (the tail)
//! are kept apart, evaluated item by item, and merged when there are too many. Items go by ordinal.

mod base;
mod codec;
mod numbers;
mod plan;
mod postings;
mod rows;
mod tail;
mod terms;
mod words;

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::error::{Result, invalid};
use crate::filter::Filter;
use base::Base;
use plan::Plan;
use tail::Tail;

pub use words::to_words;

/// Most levels of a category path.
pub const MAX_CATEGORY_DEPTH: usize = 16;

/// The tail is merged once it has this many changes ...
const LEAST_MERGE: u64 = 1024;
/// ... and at least this share of all items, so that copying the base costs each change the same.
const MERGE_SHARE: u64 = 256;
/// A batch that is far larger than the tail may grow is merged in parts of at least this many.
const LEAST_BATCH_PART: u64 = 1 << 16;

/// What filters can ask of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemAttributes {
    category: Vec<String>,
    values: Vec<(String, String)>,
}

impl ItemAttributes {
    /// A category path from the root down (empty: no category) and attributes by name, in any order.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the path is deeper than [`MAX_CATEGORY_DEPTH`] or a name is there twice.
    pub fn new(category: Vec<String>, mut values: Vec<(String, String)>) -> Result<Self> {
        if category.len() > MAX_CATEGORY_DEPTH {
            return invalid(format!(
                "a category path has at most {MAX_CATEGORY_DEPTH} levels, not {}",
                category.len()
            ));
        }
        values.sort_unstable();
        if let Some(pair) = values.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return invalid(format!("attribute {:?} has two values; an item has one of each", pair[0].0));
        }
        Ok(Self { category, values })
    }

    /// The category path from the root down; empty: no category.
    pub fn category(&self) -> &[String] {
        &self.category
    }

    /// Attribute names and values, by name.
    pub fn values(&self) -> &[(String, String)] {
        &self.values
    }
}

/// The attributes of all items, by ordinal. Clones are cheap and independent.
#[derive(Clone, Debug)]
pub struct Attributes {
    base: Arc<Base>,
    tail: Arc<Tail>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self::from_base(Base::default())
    }
}

impl Attributes {
    fn from_base(base: Base) -> Self {
        Self { tail: Arc::new(Tail::new(base.terms().next())), base: Arc::new(base) }
    }

    /// Gives each ordinal its item's attributes, in place of those it may have had.
    ///
    /// Items without any must be inserted too: they pass filters that only exclude.
    pub fn insert<'a>(&mut self, items: impl IntoIterator<Item = (u32, &'a ItemAttributes)>) {
        let mut part = self.largest_part();
        for (ordinal, item) in items {
            Arc::make_mut(&mut self.tail).insert(self.base.terms(), ordinal, item);
            if self.tail.changes() as u64 >= part {
                self.merge();
                part = self.largest_part();
            }
        }
        self.merge_if_long();
    }

    /// Removes the items of these ordinals; ordinals without one are passed over.
    pub fn remove(&mut self, ordinals: impl IntoIterator<Item = u32>) {
        let mut ordinals = ordinals.into_iter().peekable();
        if ordinals.peek().is_some() {
            let tail = Arc::make_mut(&mut self.tail);
            ordinals.for_each(|ordinal| tail.remove(ordinal));
            self.merge_if_long();
        }
    }

    fn largest_part(&self) -> u64 {
        LEAST_BATCH_PART.max(self.base.live().len() / 2)
    }

    fn merge_if_long(&mut self) {
        if self.tail.changes() as u64 >= LEAST_MERGE.max(self.base.live().len() / MERGE_SHARE) {
            self.merge();
        }
    }

    fn merge(&mut self) {
        let base = Arc::make_mut(&mut self.base);
        base.merge(&self.tail);
        self.tail = Arc::new(Tail::new(base.terms().next()));
    }

    /// The ordinals whose items pass.
    pub fn evaluate(&self, filter: &Filter) -> RoaringBitmap {
        let find = |parent, text: &str| {
            self.base.terms().find(parent, text).or_else(|| self.tail.terms.find(parent, text))
        };
        let plan = Plan::new(filter, find);
        let mut passing = self.base.evaluate(&plan);
        if self.tail.changes() > 0 {
            passing -= &self.tail.touched;
            passing |= self.tail.evaluate(&plan);
        }
        passing
    }

    /// The attributes of an ordinal; none for one without an item.
    pub fn get(&self, ordinal: u32) -> ItemAttributes {
        if !self.tail.touched.contains(ordinal) {
            return codec::item_of(self.base.row(ordinal), |term| self.term(term));
        }
        self.tail.get(ordinal).map_or_else(ItemAttributes::default, |item| {
            let row = [&[item.category], item.values].concat();
            codec::item_of(&row, |term| self.term(term))
        })
    }

    fn term(&self, term: u32) -> (u32, &str) {
        let terms = if term < self.base.terms().next() { self.base.terms() } else { &self.tail.terms };
        (terms.parent(term), terms.text(term))
    }

    /// Memory in use, about; what snapshots share counts in each.
    pub fn bytes(&self) -> usize {
        self.base.bytes() + self.tail.bytes()
    }

    /// Appends the stored form.
    pub fn serialise(&self, out: &mut Vec<u8>) {
        let mut merged = self.clone();
        if merged.tail.changes() > 0 {
            merged.merge();
        }
        codec::write(&merged.base, out);
    }

    /// Reads the stored form of the items with these ordinals.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] if the bytes are anything else.
    pub fn deserialise(bytes: &[u8], items: &RoaringBitmap) -> Result<Self> {
        codec::read(bytes, items).map(Self::from_base)
    }
}
