//! How space is cut into buckets: the hash families behind one interface.

use crate::bitset::Bitset;
use crate::cells::{Cells, CoarseScratch};
use crate::cross_polytope::{CrossPolytopeScratch, CrossPolytopes};
use crate::kernels::dot::dot;
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
    /// Tables of nearest signed axes after random rotations.
    CrossPolytope,
}

impl Family {
    const ALL: [Self; 3] = [Self::Learned, Self::Hyperplane, Self::CrossPolytope];

    /// The family of this [`Family::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// The name used in settings and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Hyperplane => "hyperplane",
            Self::CrossPolytope => "cross_polytope",
        }
    }
}

/// A trained family.
#[derive(Clone, Debug)]
pub enum Partition {
    /// See [`Family::Learned`].
    Learned(Cells),
    /// See [`Family::Hyperplane`].
    Hyperplane(Planes),
    /// See [`Family::CrossPolytope`].
    CrossPolytope(CrossPolytopes),
}

/// The buckets of one query over all tables, in the order in which to probe them. Reusable.
#[derive(Debug, Default)]
pub struct ProbeOrder {
    margins: Vec<f32>,
    polytopes: CrossPolytopeScratch,
    sequences: Vec<ProbeSequence>,
    coarse: CoarseScratch,
    /// Cells best first, with the similarity of their centroids.
    ranked: Vec<(f32, u32)>,
    at: usize,
    /// Similarity of the query to the one centre of all buckets that are not cells.
    base: f32,
}

impl Partition {
    /// Number of tables.
    pub fn tables(&self) -> usize {
        match self {
            Self::Learned(_) => 1,
            Self::Hyperplane(planes) => planes.tables,
            Self::CrossPolytope(polytopes) => polytopes.tables(),
        }
    }

    /// Buckets in each table.
    pub fn buckets(&self) -> usize {
        match self {
            Self::Learned(cells) => cells.count(),
            Self::Hyperplane(planes) => 1 << planes.per_table,
            Self::CrossPolytope(polytopes) => polytopes.buckets(),
        }
    }

    /// The bucket of `x` in every table, numbered over all tables.
    pub fn assign(&self, x: &[f32], order: &mut ProbeOrder, out: &mut [u32]) {
        let of_tables = match self {
            Self::Learned(cells) => {
                out[0] = cells.nearest(x, &mut order.coarse).0;
                return;
            }
            Self::Hyperplane(planes) => planes.buckets(x),
            Self::CrossPolytope(polytopes) => polytopes.assign(x, &mut order.polytopes),
        };
        let per_table = self.buckets();
        for (table, (out, bucket)) in out.iter_mut().zip(of_tables).enumerate() {
            *out = (table * per_table) as u32 + bucket;
        }
    }

    /// Starts with the buckets of `query`; about `wanted` of them will be visited.
    pub fn start(&self, query: &[f32], mean: &[f32], wanted: usize, order: &mut ProbeOrder) {
        match self {
            Self::Learned(cells) => {
                order.at = 0;
                order.ranked.clear();
                order.ranked.extend_from_slice(cells.rank(query, wanted, &mut order.coarse));
            }
            Self::Hyperplane(planes) => {
                order.base = dot(query, mean);
                order.sequences.resize_with(self.tables(), ProbeSequence::default);
                planes.margins(query, &mut order.margins);
                let margins = order.margins.chunks_exact(planes.per_table);
                for (sequence, margins) in order.sequences.iter_mut().zip(margins) {
                    sequence.start(margins);
                }
            }
            Self::CrossPolytope(polytopes) => {
                order.base = dot(query, mean);
                polytopes.start(query, &mut order.polytopes, &mut order.sequences);
            }
        }
    }

    /// The next bucket, numbered over all tables, and the similarity of the query to its centre.
    pub fn next(&self, query: &[f32], order: &mut ProbeOrder) -> Option<(u32, f32)> {
        match self {
            Self::Learned(cells) => {
                if order.at == order.ranked.len() && order.at < cells.count() {
                    order.rank_more(cells, query);
                }
                let (similarity, cell) = *order.ranked.get(order.at)?;
                order.at += 1;
                Some((cell, similarity))
            }
            Self::Hyperplane(_) | Self::CrossPolytope(_) => {
                let first = |s: &ProbeSequence| s.peek().map(|probe: Probe| probe.score);
                let scores = order.sequences.iter().map(first).enumerate();
                let best = scores.filter_map(|(table, score)| Some((table, score?)));
                let (table, _) = best.min_by(|a, b| a.1.total_cmp(&b.1))?;
                let bucket = order.sequences[table].peek()?.bucket;
                order.sequences[table].advance();
                Some(((table * self.buckets()) as u32 + bucket, order.base))
            }
        }
    }
}

impl ProbeOrder {
    /// Appends as many cells again, as too few were asked for: where the cells near a query are small.
    fn rank_more(&mut self, cells: &Cells, query: &[f32]) {
        let mut known = Bitset::default();
        self.ranked.iter().for_each(|(_, cell)| {
            known.insert(*cell);
        });
        let before = self.ranked.len();
        let mut wanted = 2 * before + 8;
        // The codes that cells are found by may find the same ones again.
        while self.ranked.len() == before {
            let ranked = cells.rank(query, wanted, &mut self.coarse);
            self.ranked.extend(ranked.iter().filter(|(_, cell)| !known.contains(*cell)));
            wanted *= 2;
        }
    }
}
