//! The anatomy of a stored index.

use lookalike_core::chunk::{Layout, Rerank};

/// Where the parts of a file lie that [`varied`] made.
pub struct Parts {
    pub mean: usize,
    pub partition: usize,
    pub lists: usize,
    pub attributes: usize,
    pub rows: usize,
    pub documents: usize,
}

pub fn parts(bytes: &[u8]) -> Parts {
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let header: Vec<usize> = (0..13).map(|field| u64_at(16 + 8 * field)).collect();
    let [dim, bits, family, tables, _, width, _, _, removed, _, _, per_table, learned_rotation] = header[..]
    else {
        unreachable!()
    };
    let (mean, partition) = (160, 160 + 4 * (dim + learned_rotation * dim * dim));
    let (size, lists) = match family {
        _ if per_table == 0 => (0, 1),
        0 => {
            let [directions, groups] = [u64_at(partition), u64_at(partition + 8)];
            (16 + 4 * dim * (per_table + directions) + 4 * groups, per_table)
        }
        1 => (4 * tables * per_table * (dim + 1), tables << per_table),
        _ => (0, tables * per_table),
    };
    let (start, lists) = (partition + size, 4 * lists);
    let attributes = start + lists + 4 * removed;
    let rows = (attributes + 8 + u64_at(attributes)).next_multiple_of(64);
    let rerank = [Rerank::Int8, Rerank::F16, Rerank::F32].into_iter().find(|rerank| rerank.width() == width);
    let layout = Layout { dim, bits, rerank: rerank.unwrap() };
    let counts = bytes[start..start + lists].as_chunks().0.iter().map(|count| u32::from_le_bytes(*count));
    let documents = rows + counts.flat_map(|rows| layout.chunk_bytes(rows as usize)).sum::<usize>();
    Parts { mean, partition, lists: start, attributes, rows, documents }
}
