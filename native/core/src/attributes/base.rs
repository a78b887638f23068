//! The merged store: bitmaps by term, numbers in order, and each item's terms.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::numbers::{Change, Numbers};
use super::plan::{Plan, Test};
use super::postings::{Postings, bitmap_bytes, union};
use super::rows::Rows;
use super::tail::{Item, Tail};
use super::terms::{CATEGORIES, FIRST_TERM, NAMES, Terms};
use crate::filter::number;

/// Unused terms tolerated before the dictionary is rebuilt, in addition to one per used term.
const UNUSED_TERMS: usize = 1 << 16;

/// A row: the deepest category ([`CATEGORIES`]: none), then the values; or nothing at all.
#[derive(Clone, Debug)]
pub struct Base {
    terms: Arc<Terms>,
    /// By term.
    postings: Vec<Postings>,
    /// By attribute name.
    numbers: BTreeMap<u32, Arc<Numbers>>,
    rows: Rows,
    live: RoaringBitmap,
    used_terms: usize,
}

impl Default for Base {
    fn default() -> Self {
        Self::from_rows(Terms::starting_at(FIRST_TERM), RoaringBitmap::new(), &[])
    }
}

impl Base {
    /// Builds the store of the items in `live` from the rows of those with terms, by ascending ordinal.
    pub fn from_rows(terms: Terms, live: RoaringBitmap, rows: &[(u32, &[u32])]) -> Self {
        let mut base = Self {
            postings: Vec::new(),
            numbers: BTreeMap::new(),
            rows: Rows::default(),
            live,
            used_terms: 0,
            terms: Arc::new(terms),
        };
        base.rows.set(rows);
        let mut ends = vec![0; base.terms.next() as usize + 1];
        for (_, row) in rows {
            base.with_ancestors(row).for_each(|term| ends[term as usize + 1] += 1);
        }
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let starts = ends.clone();
        let mut ordinals = vec![0; ends[ends.len() - 1]];
        for (ordinal, row) in rows {
            base.with_ancestors(row).for_each(|term| {
                ordinals[ends[term as usize]] = *ordinal;
                ends[term as usize] += 1;
            });
        }
        base.postings =
            starts.windows(2).map(|w| Postings::from_sorted(ordinals[w[0]..w[1]].to_vec())).collect();
        base.used_terms = base.postings.iter().filter(|postings| !postings.is_empty()).count();
        base.register_numbers(FIRST_TERM);
        for numbers in base.numbers.values_mut() {
            Arc::make_mut(numbers).choose_steps(&base.postings);
        }
        base
    }

    /// The dictionary.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The items there are.
    pub fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    /// An item's row.
    pub fn row(&self, ordinal: u32) -> &[u32] {
        if self.live.contains(ordinal) { self.rows.get(ordinal) } else { &[] }
    }

    /// All terms that a row's item is found by: those of the row and the categories above.
    fn with_ancestors<'a>(&'a self, row: &'a [u32]) -> impl Iterator<Item = u32> {
        let (category, values) = row.split_first().map_or((CATEGORIES, &[][..]), |(c, values)| (*c, values));
        let above = |term: &u32| Some(self.terms.parent(*term)).filter(|parent| *parent != CATEGORIES);
        let deepest = Some(category).filter(|term| *term != CATEGORIES);
        std::iter::successors(deepest, above).chain(values.iter().copied())
    }

    /// Enters the numeric values among the terms from `first` on.
    fn register_numbers(&mut self, first: u32) {
        let mut new: BTreeMap<u32, Vec<(f64, u32)>> = BTreeMap::new();
        for (term, name, text) in self.terms.iter().skip((first - FIRST_TERM) as usize) {
            if let Some(number) = self.is_name(name).then(|| number(text)).flatten() {
                new.entry(name).or_default().push((number, term));
            }
        }
        for (name, terms) in new {
            Arc::make_mut(self.numbers.entry(name).or_default()).add_terms(terms.into_iter());
        }
    }

    fn is_name(&self, term: u32) -> bool {
        term >= FIRST_TERM && self.terms.parent(term) == NAMES
    }

    /// Applies the tail's changes.
    pub fn merge(&mut self, tail: &Tail) {
        if !tail.terms.is_empty() {
            let first = self.terms.next();
            let terms = Arc::make_mut(&mut self.terms);
            for (number, parent, text) in tail.terms.iter() {
                assert_eq!(terms.push(parent, text), number, "terms keep their numbers");
            }
            self.postings.resize_with(terms.next() as usize, Postings::default);
            self.register_numbers(first);
        }
        let mut items: Vec<_> = tail.items().collect();
        items.sort_unstable_by_key(|item| item.ordinal);
        self.change_postings(self.changes(tail, &items));

        self.live -= &tail.touched;
        self.live.extend(items.iter().map(|item| item.ordinal));
        let mut flat = Vec::new();
        let mut ends = Vec::with_capacity(items.len());
        for item in &items {
            if !item.terms.is_empty() {
                flat.push(item.category);
                flat.extend(item.values);
            }
            ends.push(flat.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rows: Vec<(u32, &[u32])> = items
            .iter()
            .zip(starts.zip(&ends))
            .map(|(item, (from, to))| (item.ordinal, &flat[from..*to]))
            .collect();
        self.rows.set(&rows);
        if self.terms.len() > 2 * self.used_terms + UNUSED_TERMS {
            *self = self.without_unused_terms();
        }
    }

    /// What the tail changes, sorted by term, removals first, then by ordinal.
    fn changes(&self, tail: &Tail, items: &[Item<'_>]) -> Vec<PostingChange> {
        let mut changes = Vec::new();
        for ordinal in &self.live & &tail.touched {
            let terms = self.with_ancestors(self.rows.get(ordinal));
            changes.extend(terms.map(|term| PostingChange::new(term, false, ordinal)));
        }
        for item in items {
            changes.extend(item.terms.iter().map(|term| PostingChange::new(*term, true, item.ordinal)));
        }
        changes.sort_unstable();
        changes
    }

    fn change_postings(&mut self, changes: Vec<PostingChange>) {
        let mut numeric: BTreeMap<u32, Vec<Change>> = BTreeMap::new();
        for group in changes.chunk_by(|a, b| a.term() == b.term()) {
            let term = group[0].term();
            let (removed, inserted) = group.split_at(group.partition_point(|change| !change.insert()));
            let postings = &mut self.postings[term as usize];
            let was_used = !postings.is_empty();
            postings.change(
                removed.iter().map(PostingChange::ordinal),
                inserted.iter().map(PostingChange::ordinal),
            );
            self.used_terms = self.used_terms + usize::from(!postings.is_empty()) - usize::from(was_used);
            let name = self.terms.parent(term);
            if !self.numbers.contains_key(&name) {
                continue;
            }
            if let Some(number) = number(self.terms.text(term)) {
                numeric.entry(name).or_default().extend(group.iter().map(|change| Change {
                    ordinal: change.ordinal(),
                    number,
                    insert: change.insert(),
                }));
            }
        }
        for (name, mut changes) in numeric {
            changes.sort_by_key(|change| change.insert);
            let numbers = self.numbers.get_mut(&name).expect("it was looked up above");
            Arc::make_mut(numbers).update(&changes, &self.postings);
        }
    }

    /// The same items with a dictionary of only what they use.
    fn without_unused_terms(&self) -> Self {
        let mut keep: Vec<bool> = self.postings.iter().map(|postings| !postings.is_empty()).collect();
        for term in
            (FIRST_TERM..self.terms.next()).rev().filter(|term| self.terms.parent(*term) >= FIRST_TERM)
        {
            let parent = self.terms.parent(term) as usize;
            keep[parent] |= keep[term as usize];
        }
        let mut renumbered: Vec<u32> = (0..self.terms.next()).collect();
        let mut terms = Terms::starting_at(FIRST_TERM);
        for (term, parent, text) in self.terms.iter().filter(|(term, _, _)| keep[*term as usize]) {
            renumbered[term as usize] = terms.push(renumbered[parent as usize], text);
        }
        let with_terms = self.live.iter().map(|ordinal| (ordinal, self.rows.get(ordinal)));
        let rows: Vec<(u32, Vec<u32>)> = with_terms
            .filter(|(_, row)| !row.is_empty())
            .map(|(ordinal, row)| (ordinal, row.iter().map(|term| renumbered[*term as usize]).collect()))
            .collect();
        let borrowed: Vec<(u32, &[u32])> = rows.iter().map(|(ordinal, row)| (*ordinal, &row[..])).collect();
        Self::from_rows(terms, self.live.clone(), &borrowed)
    }

    /// The items that pass.
    pub fn evaluate(&self, plan: &Plan) -> RoaringBitmap {
        let mut sets: Vec<Cow<'_, RoaringBitmap>> = plan.all.iter().map(|test| self.select(test)).collect();
        match &plan.any[..] {
            [] => {}
            [test] => sets.push(self.select(test)),
            tests => {
                let mut any = RoaringBitmap::new();
                tests.iter().for_each(|test| any |= &*self.select(test));
                sets.push(Cow::Owned(any));
            }
        }
        sets.sort_by_key(|set| set.len());
        let mut sets = sets.into_iter();
        let mut passing = sets.next().unwrap_or(Cow::Borrowed(&self.live)).into_owned();
        sets.for_each(|set| passing &= &*set);
        plan.none.iter().for_each(|test| passing -= &*self.select(test));
        passing
    }

    fn select(&self, test: &Test) -> Cow<'_, RoaringBitmap> {
        let postings = |term: &u32| self.postings.get(*term as usize);
        match test {
            Test::Terms(terms) => match &terms[..] {
                [term] => postings(term).map_or_else(Cow::default, Postings::bitmap),
                _ => Cow::Owned(union(terms.iter().filter_map(postings))),
            },
            Test::Range { name, min, max } => {
                let numbers = self.numbers.get(name);
                Cow::Owned(numbers.map_or_else(RoaringBitmap::new, |n| n.range(*min, *max, &self.postings)))
            }
        }
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        self.terms.bytes()
            + self.postings.capacity() * size_of::<Postings>()
            + self.postings.iter().map(Postings::bytes).sum::<usize>()
            + self.numbers.values().map(|numbers| numbers.bytes()).sum::<usize>()
            + self.rows.bytes()
            + bitmap_bytes(&self.live)
    }
}

/// Term (31 bits), whether it is an insertion, ordinal (32 bits), so packed that sorting is fast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PostingChange(u64);

impl PostingChange {
    fn new(term: u32, insert: bool, ordinal: u32) -> Self {
        Self(u64::from(term) << 33 | u64::from(insert) << 32 | u64::from(ordinal))
    }

    fn term(&self) -> u32 {
        (self.0 >> 33) as u32
    }

    fn insert(&self) -> bool {
        self.0 >> 32 & 1 == 1
    }

    fn ordinal(&self) -> u32 {
        self.0 as u32
    }
}
