//! What is fixed for the life of an index, and what one search asks for.

use crate::chunk::{Layout, Rerank};
use crate::error::{Result, invalid};
use crate::filter::Filter;
use crate::input::{MAX_DIM, check_bits};
use crate::partition::Family;
use crate::rotation::RotationKind;

/// Most bucket tables.
pub const MAX_TABLES: usize = 64;

/// Most dimensions of a learned rotation, whose matrix has the square of them.
pub const MAX_LEARNED_DIM: usize = 4_096;

/// Most ids that a search may exclude: the candidates of every query are as many more.
pub const MAX_EXCLUDED: usize = 1_024;

/// What is fixed for the life of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// Vector dimension, 1 to 16,384.
    pub dim: usize,
    /// Code width: a multiple of 64 from 64 to 2,048.
    pub bits: usize,
    /// Hash family of the buckets.
    pub family: Family,
    /// Bucket tables: 1 to 64 of hyperplanes, 1 of cells.
    pub tables: usize,
    /// What the final scores are computed from.
    pub rerank: Rerank,
    /// Rotation of the codes; a learned one needs fewer bits than dimensions.
    pub rotation: RotationKind,
    /// Seed of the rotation and the buckets.
    pub seed: u64,
}

impl IndexOptions {
    /// Shape of the stored rows.
    pub fn layout(&self) -> Layout {
        Layout { dim: self.dim, bits: self.bits, rerank: self.rerank }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option is out of range.
    pub fn check(&self) -> Result<()> {
        check_bits(self.bits)?;
        if !(1..=MAX_DIM).contains(&self.dim) {
            return invalid(format!("the dimension must be 1 to {MAX_DIM}, not {}", self.dim));
        }
        if !(1..=MAX_TABLES).contains(&self.tables) {
            return invalid(format!("tables must be 1 to {MAX_TABLES}, not {}", self.tables));
        }
        if self.family == Family::Learned && self.tables != 1 {
            return invalid(format!("the learned family has 1 table, not {}", self.tables));
        }
        if self.rotation == RotationKind::Learned && (self.bits >= self.dim || self.dim > MAX_LEARNED_DIM) {
            return invalid(format!(
                "a learned rotation needs fewer bits than dimensions, and {MAX_LEARNED_DIM} dimensions at most: \
                 not {} bits of {} dimensions",
                self.bits, self.dim
            ));
        }
        Ok(())
    }
}

/// What rows are estimated from before the best are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimate {
    /// The query's rotated coordinates against the signs of a row's (RaBitQ: Gao & Long, SIGMOD 2024).
    #[default]
    Asymmetric,
    /// The signs of both: their Hamming distance.
    Hamming,
}

impl Estimate {
    const ALL: [Self; 2] = [Self::Asymmetric, Self::Hamming];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asymmetric => "asymmetric",
            Self::Hamming => "hamming",
        }
    }

    /// The estimate of this [`Estimate::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|estimate| estimate.name() == name)
    }
}

/// What one search asks for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Results per query, at least 1.
    pub k: usize,
    /// Buckets to visit; `None`: until the automatic number of rows is reached.
    pub probes: Option<usize>,
    /// Candidates whose score is computed; `None`: automatic.
    pub rerank: Option<usize>,
    /// Whether to return the best item of each of the k best products.
    pub group: bool,
    /// Whether to score every stored vector instead of hashing.
    pub exact: bool,
    /// How much work to do where `probes` or `rerank` do not say, 0 to 1; `None`: 0.5.
    pub effort: Option<f32>,
    /// Which items may be found; `None`: all.
    pub filter: Option<Filter>,
    /// Ids of items that are not to be found, at most [`MAX_EXCLUDED`]; others of their products still are.
    pub exclude: Vec<u64>,
    /// Whether to return what equals the last of the `k` results as well: rows then have more than `k` places.
    ///
    /// With `group`, every item that equals the best of its product comes along too. A search that is not exact
    /// returns those of them that it scores.
    pub ties: bool,
    /// What rows are estimated from before the best are scored.
    pub estimate: Estimate,
    /// Whether to return the documents of the results.
    pub documents: bool,
}

impl SearchOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if an option is out of range.
    pub fn check(&self) -> Result<()> {
        if self.k == 0 {
            return invalid("k must be at least 1, not 0");
        }
        if self.probes == Some(0) {
            return invalid("probes must be at least 1, not 0");
        }
        if self.exclude.len() > MAX_EXCLUDED {
            return invalid(format!("exclude takes at most {MAX_EXCLUDED} ids, not {}", self.exclude.len()));
        }
        if self.effort.is_some_and(|effort| !(0.0..=1.0).contains(&effort)) {
            return invalid(format!("effort must be 0 to 1, not {}", self.effort.unwrap_or_default()));
        }
        match self.rerank {
            Some(depth) if depth < self.k => {
                invalid(format!("rerank must be at least k ({}), not {depth}", self.k))
            }
            _ => Ok(()),
        }
    }
}
