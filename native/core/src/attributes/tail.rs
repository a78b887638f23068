//! The latest changes: few enough to be evaluated item by item and to be copied with each batch.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::ItemAttributes;
use super::plan::{Plan, Test};
use super::terms::{CATEGORIES, NAMES, Terms};
use crate::filter::number;

/// An item of the tail.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its ordinal.
    pub ordinal: u32,
    /// Its deepest category; [`CATEGORIES`]: none.
    pub category: u32,
    /// Its categories, from the top down, then its values.
    pub terms: &'a [u32],
    /// Its values.
    pub values: &'a [u32],
    /// The attribute of each value.
    names: &'a [u32],
    /// The number of each value; NaN where it is not a number.
    numbers: &'a [f64],
}

impl Item<'_> {
    fn holds(&self, test: &Test) -> bool {
        match test {
            Test::Terms(terms) => match &terms[..] {
                [term] => self.terms.contains(term),
                terms => self.terms.iter().any(|term| terms.binary_search(term).is_ok()),
            },
            Test::Range { name, min, max } => {
                let number = self.names.iter().position(|own| own == name).map(|at| self.numbers[at]);
                number.is_some_and(|number| {
                    !number.is_nan()
                        && min.is_none_or(|min| min <= number)
                        && max.is_none_or(|max| number <= max)
                })
            }
        }
    }
}

/// Where a row's columns start and end.
#[derive(Clone, Debug)]
struct Row {
    ordinal: u32,
    category: u32,
    terms: (u32, u32),
    values: (u32, u32),
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
    /// Of all rows: categories and values, then for each value its attribute and number.
    row_terms: Vec<u32>,
    names: Vec<u32>,
    numbers: Vec<f64>,
}

impl Tail {
    /// No changes to a base whose terms end before `first_term`.
    pub fn new(first_term: u32) -> Self {
        Self {
            terms: Terms::starting_at(first_term),
            touched: RoaringBitmap::new(),
            rows: Vec::new(),
            row_of: HashMap::new(),
            row_terms: Vec::new(),
            names: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// How much there is to evaluate and merge.
    pub fn changes(&self) -> usize {
        self.rows.len().max(self.touched.len() as usize)
    }

    /// Removes an ordinal's item.
    pub fn remove(&mut self, ordinal: u32) {
        self.touched.insert(ordinal);
        if let Some(row) = self.row_of.remove(&ordinal) {
            self.rows[row as usize].live = false;
        }
    }

    /// Gives an ordinal an item, in place of one it may have had; `base` is the dictionary before the tail's.
    pub fn insert(&mut self, base: &Terms, ordinal: u32, item: &ItemAttributes) {
        self.remove(ordinal);
        let (first_term, first_value) = (self.row_terms.len() as u32, self.names.len() as u32);
        let mut category = CATEGORIES;
        for name in item.category() {
            category = self.intern(base, category, name);
            self.row_terms.push(category);
        }
        for (name, value) in item.values() {
            let name = self.intern(base, NAMES, name);
            let term = self.intern(base, name, value);
            self.row_terms.push(term);
            self.names.push(name);
            self.numbers.push(number(value).unwrap_or(f64::NAN));
        }
        self.row_of.insert(ordinal, self.rows.len() as u32);
        self.rows.push(Row {
            ordinal,
            category,
            terms: (first_term, self.row_terms.len() as u32),
            values: (first_value, self.names.len() as u32),
            live: true,
        });
    }

    fn intern(&mut self, base: &Terms, parent: u32, text: &str) -> u32 {
        base.find(parent, text)
            .or_else(|| self.terms.find(parent, text))
            .unwrap_or_else(|| self.terms.push(parent, text))
    }

    /// The ordinal's item, unless it was removed.
    pub fn get(&self, ordinal: u32) -> Option<Item<'_>> {
        self.row_of.get(&ordinal).map(|row| self.item(&self.rows[*row as usize]))
    }

    fn item(&self, row: &Row) -> Item<'_> {
        let terms = &self.row_terms[row.terms.0 as usize..row.terms.1 as usize];
        let values = row.values.0 as usize..row.values.1 as usize;
        Item {
            ordinal: row.ordinal,
            category: row.category,
            terms,
            values: &terms[terms.len() - values.len()..],
            names: &self.names[values.clone()],
            numbers: &self.numbers[values],
        }
    }

    /// The items that are there.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.rows.iter().filter(|row| row.live).map(|row| self.item(row))
    }

    /// The items that pass.
    pub fn evaluate(&self, plan: &Plan) -> RoaringBitmap {
        let passing = self.items().filter(|item| plan.passes(|test| item.holds(test)));
        let mut ordinals: Vec<u32> = passing.map(|item| item.ordinal).collect();
        ordinals.sort_unstable();
        RoaringBitmap::from_sorted_iter(ordinals).expect("each ordinal has one item")
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        self.terms.bytes()
            + self.rows.capacity() * size_of::<Row>()
            + self.row_of.capacity() * 9
            + (self.row_terms.capacity() + self.names.capacity()) * 4
            + self.numbers.capacity() * 8
    }
}
