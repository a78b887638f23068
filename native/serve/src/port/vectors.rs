//! The vectors as they were written, for exact searches of an index that keeps them rounded.

use lookalike_core::threads::Stop;

/// Some of the rows that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Their numbers: the ids of the index.
    pub numbers: Vec<u64>,
    /// Their item ids.
    pub item_ids: Vec<String>,
    /// Their products.
    pub products: Vec<u64>,
    /// Their vectors, laid out (row, dimension).
    pub vectors: Vec<f32>,
}

/// Where the vectors of a generation are read from. It is asked in the thread of exact searches alone.
pub trait Vectors: Send + Sync {
    /// Hands the rows of these numbers that there are to `take`, in parts, until `stop` is set.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, for the log.
    fn read(&self, numbers: &[u64], stop: &Stop, take: &mut (dyn FnMut(Rows) + Send)) -> Result<(), String>;
}
