//! How space is cut into buckets: the hash families behind one interface.

use crate::cells::{Cells, CoarseScratch};
use crate::planes::Planes;
use crate::probe::{Probe, ProbeSequence};

/// A hash family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// One table of spherical cells around trained centroids.
    #[default]
    Learned,
    /// Tables of hyperplane signs.
    Hyperplane,
}

/// A trained family.
#[derive(Clone, Debug)]
pub enum Partition {
    /// See [`Family::Learned`].
    Learned(Cells),
    /// See [`Family::Hyperplane`].
    Hyperplane(Planes),
}

impl Partition {
    /// Number of tables.
    pub fn tables(&self) -> usize {
        match self {
            Self::Learned(_) => 1,
            Self::Hyperplane(planes) => planes.tables,
        }
    }

    /// Buckets in each table.
    pub fn buckets(&self) -> usize {
        match self {
            Self::Learned(cells) => cells.count(),
            Self::Hyperplane(planes) => 1 << planes.per_table,
        }
    }

    /// The bucket of `x` in every table.
    pub fn assign(&self, x: &[f32]) -> Vec<u32> {
        match self {
            Self::Learned(cells) => vec![cells.nearest(x, &mut CoarseScratch::default()).0],
            Self::Hyperplane(planes) => planes.buckets(x),
        }
    }

    /// Starts one sequence for each table, best bucket first.
    pub fn start(&self, query: &[f32], margins: &mut Vec<f32>, sequences: &mut Vec<ProbeSequence>) {
        sequences.resize_with(self.tables(), ProbeSequence::default);
        match self {
            Self::Learned(cells) => {
                let similarities = cells.similarities(query).enumerate();
                sequences[0].start_ranked(
                    similarities.map(|(cell, similarity)| Probe { score: -similarity, bucket: cell as u32 }),
                );
            }
            Self::Hyperplane(planes) => {
                planes.margins(query, margins);
                for (sequence, margins) in sequences.iter_mut().zip(margins.chunks_exact(planes.per_table)) {
                    sequence.start(margins);
                }
            }
        }
    }
}
