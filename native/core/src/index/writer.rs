//! What only writers need: where every item is, and which numbers are free.

use std::collections::{BTreeMap, HashMap};

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
    /// Rows that removed ordinals still have in lists.
    rows_left: HashMap<u32, usize>,
    tables: usize,
}

impl Writer {
    /// The writer's view of a snapshot.
    pub fn of(state: &State) -> Self {
        let tables = state.codebook.tables();
        let mut writer = Self {
            ordinal_of: HashMap::with_capacity(state.live),
            buckets_of: vec![u32::MAX; state.ordinals as usize * tables],
            tables,
            ..Self::default()
        };
        let per_table = state.lists.len() / tables;
        for (bucket, list) in state.lists.iter().enumerate() {
            for run in list.runs() {
                let view = run.chunk().view(state.layout());
                for (row, ordinal) in view.ordinals.iter().enumerate() {
                    writer.buckets_of[*ordinal as usize * tables + bucket / per_table] = bucket as u32;
                    if run.is_live(row) {
                        writer.ordinal_of.insert(view.record(state.layout(), row).id(), *ordinal);
                    } else {
                        *writer.rows_left.entry(*ordinal).or_default() += 1;
                    }
                }
            }
        }
        let used = writer.buckets_of.chunks_exact(tables).map(|b| b.iter().any(|b| *b != u32::MAX));
        writer.free = used.zip(0..).filter(|(used, _)| !used).map(|(_, ordinal)| ordinal).collect();
        writer
    }

    /// Takes items out; their ordinals by list, ascending, and how many there were.
    pub fn kill(&mut self, ids: &[u64]) -> (BTreeMap<u32, Vec<u32>>, Vec<u32>) {
        let mut by_list: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut ordinals = Vec::new();
        for ordinal in ids.iter().filter_map(|id| self.ordinal_of.remove(id)) {
            ordinals.push(ordinal);
            self.rows_left.insert(ordinal, self.tables);
            for bucket in &self.buckets_of[ordinal as usize * self.tables..][..self.tables] {
                by_list.entry(*bucket).or_default().push(ordinal);
            }
        }
        by_list.values_mut().for_each(|ordinals| ordinals.sort_unstable());
        (by_list, ordinals)
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

    /// Notes that removed rows have left a list: an ordinal without rows can be given again.
    pub fn purge(&mut self, ordinals: &[u32]) {
        for ordinal in ordinals {
            if let Some(left) = self.rows_left.get_mut(ordinal) {
                *left -= 1;
                if *left == 0 {
                    self.rows_left.remove(ordinal);
                    self.free.push(*ordinal);
                }
            }
        }
    }
}
