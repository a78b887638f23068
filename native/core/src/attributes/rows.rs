//! The terms of each item by ordinal, in pages shared between snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Ordinals in a page: the most that changing one row has to copy.
const PAGE: u32 = 1024;

#[derive(Debug)]
struct Page {
    ends: Vec<u32>,
    terms: Vec<u32>,
}

impl Page {
    fn row(&self, slot: usize) -> &[u32] {
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.terms[start as usize..self.ends[slot] as usize]
    }
}

/// A list of terms for each ordinal; empty for ordinals never set.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pages: BTreeMap<u32, Arc<Page>>,
}

impl Rows {
    /// The terms of an ordinal.
    pub fn get(&self, ordinal: u32) -> &[u32] {
        self.pages.get(&(ordinal / PAGE)).map_or(&[], |page| page.row((ordinal % PAGE) as usize))
    }

    /// Sets the terms of some ordinals, which are ascending and each there once.
    pub fn set(&mut self, rows: &[(u32, &[u32])]) {
        for group in rows.chunk_by(|a, b| a.0 / PAGE == b.0 / PAGE) {
            let number = group[0].0 / PAGE;
            let old = self.pages.get(&number);
            // Items without any term need no page.
            if old.is_none() && group.iter().all(|(_, terms)| terms.is_empty()) {
                continue;
            }
            let mut page = Page { ends: Vec::with_capacity(PAGE as usize), terms: Vec::new() };
            page.terms.reserve_exact(
                old.map_or(0, |old| old.terms.len()) + group.iter().map(|row| row.1.len()).sum::<usize>(),
            );
            let mut changes = group.iter().peekable();
            for slot in 0..PAGE {
                let changed = changes.next_if(|(ordinal, _)| ordinal % PAGE == slot);
                let terms =
                    changed.map_or_else(|| old.map_or(&[][..], |old| old.row(slot as usize)), |row| row.1);
                page.terms.extend_from_slice(terms);
                page.ends.push(page.terms.len() as u32);
            }
            page.terms.shrink_to_fit();
            self.pages.insert(number, Arc::new(page));
        }
    }

    /// Memory in use.
    pub fn bytes(&self) -> usize {
        self.pages.values().map(|page| (page.ends.capacity() + page.terms.capacity()) * 4 + 64).sum()
    }
}
