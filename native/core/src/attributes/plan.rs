//! A filter with its texts looked up in the dictionary.

use super::terms::{CATEGORIES, NAMES};
use crate::filter::{Condition, Filter};

/// What an item must have.
#[derive(Debug)]
pub enum Test {
    /// One of these terms, ascending.
    Terms(Vec<u32>),
    /// A number of this attribute.
    Range {
        /// The attribute's name.
        name: u32,
        /// Least number.
        min: Option<f64>,
        /// Greatest number.
        max: Option<f64>,
    },
}

/// A filter as tests.
#[derive(Debug)]
pub struct Plan {
    /// All must hold.
    pub all: Vec<Test>,
    /// One must hold, unless there are none.
    pub any: Vec<Test>,
    /// None may hold.
    pub none: Vec<Test>,
}

impl Plan {
    /// Looks up a filter's texts with `find(parent, text)`.
    pub fn new(filter: &Filter, find: impl Fn(u32, &str) -> Option<u32>) -> Self {
        let tests = |conditions: &[Condition]| conditions.iter().map(|c| test(c, &find)).collect();
        Self { all: tests(filter.all()), any: tests(filter.any()), none: tests(filter.none()) }
    }

    /// Whether an item passes, given which tests it passes.
    pub fn passes(&self, holds: impl Fn(&Test) -> bool) -> bool {
        self.all.iter().all(&holds)
            && (self.any.is_empty() || self.any.iter().any(&holds))
            && !self.none.iter().any(&holds)
    }
}

fn test(condition: &Condition, find: &impl Fn(u32, &str) -> Option<u32>) -> Test {
    let value = |name: &str, value: &str| find(find(NAMES, name)?, value);
    let category = |path: &[String]| path.iter().try_fold(CATEGORIES, |parent, name| find(parent, name));
    match condition {
        Condition::InCategory(path) => Test::Terms(category(path).into_iter().collect()),
        Condition::InCategories(paths) => one_of(paths.iter().filter_map(|path| category(path))),
        Condition::Equals { name, value: text } => Test::Terms(value(name, text).into_iter().collect()),
        Condition::In { name, values } => one_of(values.iter().filter_map(|text| value(name, text))),
        Condition::Range { name, min, max } => match find(NAMES, name) {
            Some(name) => Test::Range { name, min: *min, max: *max },
            None => Test::Terms(Vec::new()),
        },
    }
}

fn one_of(terms: impl Iterator<Item = u32>) -> Test {
    let mut terms: Vec<u32> = terms.collect();
    terms.sort_unstable();
    terms.dedup();
    Test::Terms(terms)
}
