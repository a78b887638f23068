//! One attribute's numeric values in order, with range-encoded bitmaps (Chan and Ioannidis, "Bitmap
//! Index Design and Evaluation", SIGMOD 1998): bitmap `i` holds all items up to bound `i`, so a range
//! is the difference of two bitmaps and what lies between its ends and the nearest bounds.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::postings::{Postings, bitmap_bytes, union};

/// Bitmaps of one attribute: 1/8 byte for each item and bitmap, 1/32 of the items to walk at each end.
const STEPS: u64 = 32;
/// With fewer items than this, walking them all is fast enough.
const LEAST_ITEMS: u64 = 8192;

#[derive(Clone, Debug)]
struct Step {
    upper: f64,
    at_most: Arc<RoaringBitmap>,
}

/// The order of an attribute's numbers. Needs each item to have one value.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Numbers and the terms that stand for them, ascending.
    terms: Vec<(f64, u32)>,
    steps: Vec<Step>,
    /// Items inserted since the bounds were chosen, and those there were then.
    inserted: u64,
    chosen_for: u64,
}

/// The items of the first `terms` terms; none: no items.
#[derive(Default)]
struct Bound<'a> {
    terms: usize,
    items: Option<&'a RoaringBitmap>,
}

/// An item that got or lost a number.
pub struct Change {
    /// The item.
    pub ordinal: u32,
    /// The number.
    pub number: f64,
    /// Whether the item got it.
    pub insert: bool,
}

impl Numbers {
    /// Adds terms that are not there yet.
    pub fn add_terms(&mut self, new: impl Iterator<Item = (f64, u32)>) {
        self.terms.extend(new);
        // Merge sort takes a sorted run with a short tail in linear time.
        self.terms.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }

    /// Follows changes that the postings (by term) already show; an ordinal's removal comes before its insertion.
    pub fn update(&mut self, changes: &[Change], postings: &[Postings]) {
        self.inserted += changes.iter().filter(|change| change.insert).count() as u64;
        if self.inserted >= LEAST_ITEMS && self.inserted > self.chosen_for / 2 {
            self.choose_steps(postings);
            return;
        }
        for step in &mut self.steps {
            let at_most = Arc::make_mut(&mut step.at_most);
            for change in changes.iter().filter(|change| change.number <= step.upper) {
                if change.insert {
                    at_most.insert(change.ordinal);
                } else {
                    at_most.remove(change.ordinal);
                }
            }
        }
    }

    /// Chooses bounds with equally many items between them.
    pub fn choose_steps(&mut self, postings: &[Postings]) {
        let of = |term: u32| &postings[term as usize];
        let items: u64 = self.terms.iter().map(|(_, term)| of(*term).len()).sum();
        (self.inserted, self.chosen_for) = (0, items);
        self.steps.clear();
        if items < LEAST_ITEMS {
            return;
        }
        let mut at_most = RoaringBitmap::new();
        let (mut passed, mut next) = (0, items / STEPS);
        for same in self.terms.chunk_by(|a, b| a.0 == b.0) {
            for (_, term) in same {
                passed += of(*term).len();
                of(*term).for_each(|ordinal| {
                    at_most.insert(ordinal);
                });
            }
            if passed >= next {
                self.steps.push(Step { upper: same[0].0, at_most: Arc::new(at_most.clone()) });
                next = passed + items / STEPS;
            }
        }
    }

    /// The items with `min <= number <= max`; an absent bound does not bind.
    pub fn range(&self, min: Option<f64>, max: Option<f64>, postings: &[Postings]) -> RoaringBitmap {
        let first = min.map_or(0, |min| self.terms.partition_point(|(number, _)| *number < min));
        let end =
            max.map_or(self.terms.len(), |max| self.terms.partition_point(|(number, _)| *number <= max));
        if first >= end {
            return RoaringBitmap::new();
        }
        let (low, high) = (self.nearest_bound(first), self.nearest_bound(end));
        if end - first <= low.terms.abs_diff(first) + high.terms.abs_diff(end) {
            return self.walk(first, end, postings);
        }
        let mut items = self.items_below(end, &high, postings);
        if first > 0 {
            items -= self.items_below(first, &low, postings);
        }
        items
    }

    /// The bound with the fewest terms between it and the first `end` terms.
    fn nearest_bound(&self, end: usize) -> Bound<'_> {
        let none = Bound { terms: 0, items: None };
        let after = end
            .checked_sub(1)
            .map_or(0, |last| self.steps.partition_point(|step| step.upper < self.terms[last].0));
        // The last bound below, and the first at or above the last of these terms.
        let near = &self.steps[after.saturating_sub(1)..self.steps.len().min(after + 1)];
        let bounds = near.iter().map(|step| Bound {
            terms: self.terms.partition_point(|(number, _)| *number <= step.upper),
            items: Some(&*step.at_most),
        });
        bounds.chain([none]).min_by_key(|bound| bound.terms.abs_diff(end)).unwrap_or_default()
    }

    /// The items of the first `end` terms, from those up to a bound.
    fn items_below(&self, end: usize, bound: &Bound<'_>, postings: &[Postings]) -> RoaringBitmap {
        let mut items = bound.items.cloned().unwrap_or_default();
        if bound.terms < end {
            items |= self.walk(bound.terms, end, postings);
        } else {
            items -= self.walk(end, bound.terms, postings);
        }
        items
    }

    fn walk(&self, from: usize, to: usize, postings: &[Postings]) -> RoaringBitmap {
        union(self.terms[from..to].iter().map(|(_, term)| &postings[*term as usize]))
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        let steps = self.steps.iter().map(|step| bitmap_bytes(&step.at_most));
        self.terms.capacity() * 16 + steps.sum::<usize>()
    }
}
