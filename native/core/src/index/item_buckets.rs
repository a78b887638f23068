//! The bucket of each item's row in every table, by ordinal, in pages shared between snapshots.

use std::sync::Arc;

use super::bucket::Bucket;
use crate::chunk::Layout;

/// Entries of a page, about: what placing one item has to copy.
const PAGE: usize = 1024;

/// The buckets of all items that can be found; what it says of other ordinals has no meaning.
#[derive(Clone, Debug, Default)]
pub struct ItemBuckets {
    tables: usize,
    /// Bucket numbers, laid out (ordinal, table).
    pages: Vec<Arc<Vec<u32>>>,
}

impl ItemBuckets {
    /// Takes the bucket numbers of consecutive ordinals, laid out (ordinal, table).
    pub fn new(numbers: &[u32], tables: usize) -> Self {
        let page = |numbers: &[u32]| {
            let mut page = numbers.to_vec();
            page.resize(items_of_page(tables) * tables, u32::MAX);
            Arc::new(page)
        };
        Self { tables, pages: numbers.chunks(items_of_page(tables) * tables).map(page).collect() }
    }

    /// Looks where the rows of all items lie, whose ordinals are below `ordinals`.
    pub fn of(buckets: &[Bucket], layout: &Layout, tables: usize, ordinals: u32) -> Self {
        let mut numbers = vec![u32::MAX; ordinals as usize * tables];
        let per_table = buckets.len() / tables;
        for (number, bucket) in buckets.iter().enumerate() {
            for ordinal in bucket.runs().flat_map(|run| run.chunk().view(layout).ordinals) {
                numbers[*ordinal as usize * tables + number / per_table] = number as u32;
            }
        }
        Self::new(&numbers, tables)
    }

    /// The bucket of an item in every table.
    pub fn get(&self, ordinal: u32) -> &[u32] {
        let (page, at) = self.at(ordinal);
        &self.pages[page][at..at + self.tables]
    }

    /// Sets the bucket of an item in every table.
    pub fn set(&mut self, ordinal: u32, numbers: &[u32]) {
        let (page, at) = self.at(ordinal);
        let size = items_of_page(self.tables) * self.tables;
        while self.pages.len() <= page {
            self.pages.push(Arc::new(vec![u32::MAX; size]));
        }
        Arc::make_mut(&mut self.pages[page])[at..at + self.tables].copy_from_slice(numbers);
    }

    fn at(&self, ordinal: u32) -> (usize, usize) {
        let items = items_of_page(self.tables);
        (ordinal as usize / items, ordinal as usize % items * self.tables)
    }
}

fn items_of_page(tables: usize) -> usize {
    (PAGE / tables).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_keep_what_they_were() {
        for tables in [1, 3, 64] {
            let numbers = |ordinal: u32, round: u32| -> Vec<u32> {
                (0..tables as u32).map(|table| ordinal * 64 + table + round).collect()
            };
            let first: Vec<u32> = (0..1500).flat_map(|ordinal| numbers(ordinal, 0)).collect();
            let old = ItemBuckets::new(&first, tables);
            let mut new = old.clone();
            (1000..4000).for_each(|ordinal| new.set(ordinal, &numbers(ordinal, 7)));
            for ordinal in 0..4000 {
                let round = if ordinal < 1000 { 0 } else { 7 };
                assert_eq!(new.get(ordinal), numbers(ordinal, round));
                if ordinal < 1500 {
                    assert_eq!(old.get(ordinal), numbers(ordinal, 0));
                }
            }
        }
    }
}
