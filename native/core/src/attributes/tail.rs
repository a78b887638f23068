//! The latest changes: few enough to be evaluated item by item and to be copied with each batch.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::ItemAttributes;
use super::base::Base;
use super::plan::{Plan, Test};
use super::terms::{CATEGORIES, NAMES, Terms};
use crate::filter::number;

/// A term of an item, with what a filter asks of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The term.
    pub term: u32,
    /// The attribute's name, [`CATEGORIES`] for a category.
    pub name: u32,
    /// The value's number; NaN if it is none.
    pub number: f64,
}

#[derive(Clone, Debug)]
struct Row {
    ordinal: u32,
    category: u32,
    start: u32,
    end: u32,
    live: bool,
}

/// Items inserted and removed since the last merge. They hide those of the base.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Terms that the base does not have.
    pub terms: Terms,
    /// Ordinals inserted or removed.
    pub touched: RoaringBitmap,
    rows: Vec<Row>,
    row_of: HashMap<u32, u32>,
    entries: Vec<Entry>,
}

impl Tail {
    /// No changes to a base whose terms end before `first_term`.
    pub fn new(first_term: u32) -> Self {
        Self {
            terms: Terms::starting_at(first_term),
            touched: RoaringBitmap::new(),
            rows: Vec::new(),
            row_of: HashMap::new(),
            entries: Vec::new(),
        }
    }

    /// How much there is to evaluate and merge.
    pub fn changes(&self) -> usize {
        self.rows.len().max(self.touched.len() as usize)
    }

    /// Takes an ordinal's item out.
    pub fn remove(&mut self, ordinal: u32) {
        self.touched.insert(ordinal);
        if let Some(row) = self.row_of.remove(&ordinal) {
            self.rows[row as usize].live = false;
        }
    }

    /// Gives an ordinal an item, in place of one it may have had.
    pub fn insert(&mut self, base: &Base, ordinal: u32, item: &ItemAttributes) {
        self.remove(ordinal);
        let start = self.entries.len() as u32;
        let mut category = CATEGORIES;
        for name in item.category() {
            category = self.intern(base, category, name);
            self.entries.push(Entry { term: category, name: CATEGORIES, number: f64::NAN });
        }
        for (name, value) in item.values() {
            let name = self.intern(base, NAMES, name);
            let term = self.intern(base, name, value);
            self.entries.push(Entry { term, name, number: number(value).unwrap_or(f64::NAN) });
        }
        self.row_of.insert(ordinal, self.rows.len() as u32);
        self.rows.push(Row { ordinal, category, start, end: self.entries.len() as u32, live: true });
    }

    fn intern(&mut self, base: &Base, parent: u32, text: &str) -> u32 {
        base.terms()
            .find(parent, text)
            .or_else(|| self.terms.find(parent, text))
            .unwrap_or_else(|| self.terms.push(parent, text))
    }

    /// The ordinal's deepest category ([`CATEGORIES`]: none) and its entries, unless it was removed.
    pub fn get(&self, ordinal: u32) -> Option<(u32, &[Entry])> {
        self.row_of.get(&ordinal).map(|row| self.content(&self.rows[*row as usize]))
    }

    fn content(&self, row: &Row) -> (u32, &[Entry]) {
        (row.category, &self.entries[row.start as usize..row.end as usize])
    }

    /// The items that are there: ordinal, deepest category, entries.
    pub fn items(&self) -> impl Iterator<Item = (u32, u32, &[Entry])> {
        self.rows.iter().filter(|row| row.live).map(|row| {
            let (category, entries) = self.content(row);
            (row.ordinal, category, entries)
        })
    }

    /// The items that pass.
    pub fn evaluate(&self, plan: &Plan) -> RoaringBitmap {
        let holds = |entries: &[Entry], test: &Test| match test {
            Test::Terms(terms) => entries.iter().any(|entry| terms.binary_search(&entry.term).is_ok()),
            Test::Range { name, min, max } => entries.iter().any(|entry| {
                entry.name == *name
                    && !entry.number.is_nan()
                    && min.is_none_or(|min| min <= entry.number)
                    && max.is_none_or(|max| entry.number <= max)
            }),
        };
        let passing = self.items().filter(|(_, _, entries)| plan.passes(|test| holds(entries, test)));
        let mut ordinals: Vec<u32> = passing.map(|(ordinal, _, _)| ordinal).collect();
        ordinals.sort_unstable();
        RoaringBitmap::from_sorted_iter(ordinals).expect("each ordinal has one item")
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        self.terms.bytes()
            + self.rows.capacity() * size_of::<Row>()
            + self.row_of.capacity() * 9
            + self.entries.capacity() * size_of::<Entry>()
    }
}
