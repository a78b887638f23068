//! What only writers need: where every item is, and which numbers are free.

use std::collections::HashMap;

use super::state::State;

/// The side of the index that its one writer at a time sees.
#[derive(Debug, Default)]
pub struct Writer {
    /// Ordinal of each findable item.
    ordinal_of: HashMap<u64, u32>,
    /// Buckets of each ordinal, laid out (ordinal, table).
    buckets_of: Vec<u32>,
    /// Ordinals whose rows are in no list any more.
    free: Vec<u32>,
    /// Removed rows still in each list.
    dead_in: Vec<u32>,
    /// Copies still in the lists of removed ordinals, where there are several tables.
    copies_left: HashMap<u32, usize>,
    tables: usize,
}

impl Writer {
    /// The writer's view of a snapshot.
    pub fn of(state: &State) -> Self {
        let tables = state.codebook.tables();
        let mut writer = Self {
            ordinal_of: HashMap::with_capacity(state.live),
            buckets_of: vec![u32::MAX; state.ordinals as usize * tables],
            dead_in: vec![0; state.lists.len()],
            tables,
            ..Self::default()
        };
        let per_table = state.lists.len() / tables;
        for (bucket, list) in state.lists.iter().enumerate() {
            for view in list.views(state.layout()) {
                for (ordinal, id) in view.ordinals.iter().zip(view.ids) {
                    writer.buckets_of[*ordinal as usize * tables + bucket / per_table] = bucket as u32;
                    if state.dead.contains(*ordinal) {
                        writer.dead_in[bucket] += 1;
                        *writer.copies_left.entry(*ordinal).or_default() += 1;
                    } else {
                        writer.ordinal_of.insert(*id, *ordinal);
                    }
                }
            }
        }
        let used = |ordinal: u32| writer.buckets_of[ordinal as usize * tables..][..tables].iter().any(|b| *b != u32::MAX);
        writer.free = (0..state.ordinals).filter(|ordinal| !used(*ordinal)).collect();
        writer
    }

    /// Takes an item out and returns its ordinal if it was there; `touched` gets the lists it is in.
    pub fn kill(&mut self, id: u64, touched: &mut Vec<u32>) -> Option<u32> {
        let ordinal = self.ordinal_of.remove(&id)?;
        let buckets = &self.buckets_of[ordinal as usize * self.tables..][..self.tables];
        touched.extend_from_slice(buckets);
        buckets.iter().for_each(|bucket| self.dead_in[*bucket as usize] += 1);
        self.copies_left.insert(ordinal, self.tables);
        Some(ordinal)
    }

    /// Gives an item a number; `buckets` are its lists, `next` the first number never given.
    pub fn place(&mut self, id: u64, buckets: &[u32], next: &mut u32) -> u32 {
        let ordinal = self.free.pop().unwrap_or_else(|| {
            *next += 1;
            *next - 1
        });
        let start = ordinal as usize * self.tables;
        if self.buckets_of.len() < start + self.tables {
            self.buckets_of.resize(start + self.tables, u32::MAX);
        }
        self.buckets_of[start..start + self.tables].copy_from_slice(buckets);
        self.ordinal_of.insert(id, ordinal);
        ordinal
    }

    /// Whether a list of `rows` rows should be rewritten without its removed ones.
    pub fn wants_compaction(&self, bucket: u32, rows: usize) -> bool {
        let dead = self.dead_in[bucket as usize] as usize;
        dead >= 8 && 5 * dead > rows || dead > 0 && dead == rows
    }

    /// Notes that removed rows have left a list; returns the ordinals that are free from now on.
    pub fn purge(&mut self, bucket: u32, ordinals: &[u32]) -> Vec<u32> {
        self.dead_in[bucket as usize] -= ordinals.len() as u32;
        let mut freed = Vec::new();
        for ordinal in ordinals {
            if let Some(left) = self.copies_left.get_mut(ordinal) {
                *left -= 1;
                if *left == 0 {
                    self.copies_left.remove(ordinal);
                    freed.push(*ordinal);
                }
            }
        }
        self.free.extend_from_slice(&freed);
        freed
    }
}
