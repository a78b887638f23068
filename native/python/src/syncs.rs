//! The times of fsyncs, for what keeps rows in SQLite.

use std::sync::Arc;

use lookalike_core::syncs;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How long the fsyncs of files that SQLite has open took.
#[pyclass(frozen, module = "lookalike._native")]
pub struct SyncTimes(Arc<syncs::SyncTimes>);

#[pymethods]
impl SyncTimes {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Watches a file until SQLite closes it; `file` is its address, which nothing else may use meanwhile.
    fn watch(&self, file: usize) -> PyResult<()> {
        // SAFETY: the one caller, `hasher.rows.syncs`, passes on what SQLite returned for an open connection, before
        // anybody else has it.
        let is_open = unsafe { syncs::watch(file as *mut syncs::File, self.0.clone()) };
        if is_open { Ok(()) } else { Err(PyValueError::new_err("the file is not open")) }
    }

    fn take(&self) -> Vec<f64> {
        self.0.take().iter().map(std::time::Duration::as_secs_f64).collect()
    }
}
