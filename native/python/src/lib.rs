//! Python bindings of `lookalike-core` and `lookalike-image`: borrow the buffers, release the GIL, map the errors.
//!
//! Nothing is decided here. `hasher.index` and `embedder.preprocess` are the documented faces; this module is private.

mod bell;
mod fanout;
mod filters;
mod front;
mod image;
mod metadata;
mod panics;
mod search_port;
mod signals;
mod syncs;
mod textbook;
mod writes;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use filters::{attributes_from_py, filter_from_py};
use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::index::StageSeconds;
use lookalike_core::input::NO_ID;
use lookalike_core::rotation::RotationKind;
use lookalike_core::threads::Stop;
use lookalike_core::{
    Batch, Error, Estimate, Family, HashIndex, IndexOptions, SearchOptions, SearchOutput, isa,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use panics::detached;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use signals::interruptible;

create_exception!(lookalike._native, DamagedError, PyValueError, "A stored index cannot be used.");

fn to_py(error: Error) -> PyErr {
    match error {
        Error::Invalid(message) => PyValueError::new_err(message),
        Error::TooManyTies { .. } => PyValueError::new_err(error.to_string()),
        Error::Damaged(message) => DamagedError::new_err(message),
        Error::Io { error, path } => os_error(&error, path),
        Error::Threads(error) => PyOSError::new_err(error.to_string()),
    }
}

fn os_error(error: &io::Error, path: PathBuf) -> PyErr {
    if error.raw_os_error().is_none() {
        return PyOSError::new_err(format!("{}: {error}", path.display()));
    }
    os_error_of(error, Some(path))
}

/// As Python's own: of the class that the number asks for, with `errno`, `strerror` and `filename`.
fn os_error_of(error: &io::Error, path: Option<PathBuf>) -> PyErr {
    let Some(number) = error.raw_os_error() else { return PyOSError::new_err(error.to_string()) };
    let text = |py: Python<'_>| -> PyResult<String> {
        py.import("os")?.call_method1("strerror", (number,))?.extract()
    };
    let text = Python::attach(text).unwrap_or_else(|_| error.to_string());
    match path {
        Some(path) => PyOSError::new_err((number, text, path.into_os_string())),
        None => PyOSError::new_err((number, text)),
    }
}

fn matrix<T>(values: Vec<T>, columns: usize, py: Python<'_>) -> PyResult<Bound<'_, PyArray2<T>>>
where
    T: numpy::Element,
{
    let rows = values.len() / columns;
    PyArray1::from_vec(py, values).reshape([rows, columns])
}

/// `(ids, products, scores, documents of the hits of each query, codes_scanned, buckets_probed, candidates_reranked,
/// seconds by stage)`.
type SearchTuple<'py> = (
    Bound<'py, PyArray2<u64>>,
    Bound<'py, PyArray2<u64>>,
    Bound<'py, PyArray2<f32>>,
    Vec<Vec<Bound<'py, PyBytes>>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyDict>,
);

/// `(ids of each query, codes_scanned, seconds by stage)`.
type CandidatesTuple<'py> = (Vec<Bound<'py, PyArray1<u64>>>, Bound<'py, PyArray1<u64>>, Bound<'py, PyDict>);

/// The live index.
#[pyclass(frozen, module = "lookalike._native")]
pub struct NativeIndex(Arc<HashIndex>);

impl NativeIndex {
    fn of(index: HashIndex) -> Self {
        Self(Arc::new(index))
    }

    fn shared(&self) -> Arc<HashIndex> {
        Arc::clone(&self.0)
    }
}

#[pymethods]
impl NativeIndex {
    #[staticmethod]
    #[pyo3(signature = (vectors, ids, products, *, attributes, documents, bits, family, tables, rerank, rotation, seed, threads))]
    #[allow(clippy::too_many_arguments)]
    fn build(
        py: Python<'_>,
        vectors: PyReadonlyArray2<'_, f32>,
        ids: PyReadonlyArray1<'_, u64>,
        products: PyReadonlyArray1<'_, u64>,
        attributes: Option<&Bound<'_, PyAny>>,
        documents: Option<Vec<PyBackedBytes>>,
        bits: usize,
        family: &str,
        tables: usize,
        rerank: &str,
        rotation: &str,
        seed: u64,
        threads: usize,
    ) -> PyResult<Self> {
        let family = known(Family::named(family), "family", family)?;
        let rerank = known(Rerank::named(rerank), "rerank", rerank)?;
        let rotation = known(RotationKind::named(rotation), "rotation", rotation)?;
        let dim = vectors.shape()[1];
        let options = IndexOptions { dim, bits, family, tables, rerank, rotation, seed };
        check_rows(&vectors, &ids)?;
        let (vectors, ids, products) = (vectors.as_slice()?, ids.as_slice()?, products.as_slice()?);
        let attributes = attributes_of(attributes, ids.len())?;
        let documents = borrowed(documents.as_ref());
        let items = Batch::new(vectors, ids, products).with_attributes(attributes).with_documents(documents);
        let build = |stop: &Stop| HashIndex::build_until(stop, options, items, threads);
        let built = interruptible(py, build)?.map_err(to_py)?;
        Ok(Self::of(built.expect("one that is stopped has returned already")))
    }

    #[staticmethod]
    fn open(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        detached(py, || HashIndex::open(&folder))?.map(Self::of).map_err(to_py)
    }

    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        detached(py, || self.0.save(&folder))?.map_err(to_py)
    }

    #[pyo3(signature = (vectors, ids, products, *, attributes, documents))]
    fn add(
        &self,
        py: Python<'_>,
        vectors: PyReadonlyArray2<'_, f32>,
        ids: PyReadonlyArray1<'_, u64>,
        products: PyReadonlyArray1<'_, u64>,
        attributes: Option<&Bound<'_, PyAny>>,
        documents: Option<Vec<PyBackedBytes>>,
    ) -> PyResult<()> {
        check_dim(self.0.options().dim, vectors.shape()[1])?;
        check_rows(&vectors, &ids)?;
        let (vectors, ids, products) = (vectors.as_slice()?, ids.as_slice()?, products.as_slice()?);
        let attributes = attributes_of(attributes, ids.len())?;
        let documents = borrowed(documents.as_ref());
        let items = Batch::new(vectors, ids, products).with_attributes(attributes).with_documents(documents);
        detached(py, || self.0.add(items))?.map_err(to_py)
    }

    fn remove(&self, py: Python<'_>, ids: PyReadonlyArray1<'_, u64>) -> PyResult<usize> {
        let ids = ids.as_slice()?;
        detached(py, || self.0.remove(ids))
    }

    fn documents<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let ids = ids.as_slice()?;
        let documents = detached(py, || self.0.documents(ids))?;
        Ok(documents.into_iter().map(|one| one.map(|bytes| PyBytes::new(py, &bytes))).collect())
    }

    fn wait_for_rebuild(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.wait_for_rebuild())
    }

    fn sample<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let vectors = detached(py, || self.0.snapshot().sample(count))?;
        matrix(vectors, self.0.options().dim, py)
    }

    #[pyo3(signature = (queries, *, k, probes, rerank, effort, filter, exclude, group, ties, documents, estimate, exact, threads))]
    #[allow(clippy::too_many_arguments)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        k: usize,
        probes: Option<usize>,
        rerank: Option<usize>,
        effort: Option<f32>,
        filter: Option<&Bound<'py, PyAny>>,
        exclude: Option<PyReadonlyArray1<'py, u64>>,
        group: bool,
        ties: bool,
        documents: bool,
        estimate: &str,
        exact: bool,
        threads: usize,
    ) -> PyResult<SearchTuple<'py>> {
        check_dim(self.0.options().dim, queries.shape()[1])?;
        let filter = filter.map(filter_from_py).transpose()?;
        let estimate = known(Estimate::named(estimate), "estimate", estimate)?;
        let exclude = ids_of(exclude.as_ref())?;
        let options = SearchOptions {
            k,
            probes,
            rerank,
            group,
            exact,
            effort,
            filter,
            exclude,
            ties,
            estimate,
            documents,
        };
        let queries = queries.as_slice()?;
        let out = detached(py, || self.0.search(queries, &options, threads))?.map_err(to_py)?;
        let found = if documents { documents_of(&out, py) } else { Vec::new() };
        Ok((
            matrix(out.ids, out.width, py)?,
            matrix(out.products, out.width, py)?,
            matrix(out.scores, out.width, py)?,
            found,
            PyArray1::from_vec(py, out.codes_scanned),
            PyArray1::from_vec(py, out.buckets_probed),
            PyArray1::from_vec(py, out.candidates_reranked),
            seconds_of(out.seconds, py)?,
        ))
    }

    #[pyo3(signature = (queries, *, k, filter, exclude, group, threads))]
    #[allow(clippy::too_many_arguments)]
    fn exact_candidates<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        k: usize,
        filter: Option<&Bound<'py, PyAny>>,
        exclude: Option<PyReadonlyArray1<'py, u64>>,
        group: bool,
        threads: usize,
    ) -> PyResult<CandidatesTuple<'py>> {
        check_dim(self.0.options().dim, queries.shape()[1])?;
        let filter = filter.map(filter_from_py).transpose()?;
        let exclude = ids_of(exclude.as_ref())?;
        let options = SearchOptions { k, filter, exclude, group, ..SearchOptions::default() };
        let queries = queries.as_slice()?;
        let out = detached(py, || self.0.exact_candidates(queries, &options, threads))?.map_err(to_py)?;
        let ids = out.ids.into_iter().map(|ids| PyArray1::from_vec(py, ids)).collect();
        Ok((ids, PyArray1::from_vec(py, out.codes_scanned), seconds_of(out.seconds, py)?))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, options) = (self.0.stats(), self.0.options());
        let out = PyDict::new(py);
        out.set_item("items", stats.items)?;
        out.set_item("dead_rows", stats.dead_rows)?;
        out.set_item("dim", options.dim)?;
        out.set_item("bits", options.bits)?;
        out.set_item("family", options.family.name())?;
        out.set_item("tables", options.tables)?;
        out.set_item("rerank", options.rerank.name())?;
        out.set_item("rotation", options.rotation.name())?;
        out.set_item("seed", options.seed)?;
        out.set_item("trained_on", stats.trained_on)?;
        out.set_item("buckets_per_table", stats.buckets_per_table)?;
        out.set_item("code_bytes", stats.code_bytes)?;
        out.set_item("vector_bytes", stats.vector_bytes)?;
        out.set_item("bucket_bytes", stats.bucket_bytes)?;
        out.set_item("attribute_bytes", stats.attribute_bytes)?;
        out.set_item("document_bytes", stats.document_bytes)?;
        out.set_item("recall_by_effort", PyTuple::new(py, stats.recall_by_effort)?)?;
        out.set_item("rebuilding", stats.rebuilding)?;
        out.set_item("failed_rebuilds", stats.failed_rebuilds)?;
        Ok(out)
    }
}

fn seconds_of(seconds: StageSeconds, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("hash", seconds.hash)?;
    out.set_item("probe", seconds.probe)?;
    out.set_item("scan", seconds.scan)?;
    out.set_item("rerank", seconds.rerank)?;
    Ok(out)
}

fn known<T>(found: Option<T>, what: &str, name: &str) -> PyResult<T> {
    found.ok_or_else(|| PyValueError::new_err(format!("there is no {what} {name:?}")))
}

fn attributes_of(attributes: Option<&Bound<'_, PyAny>>, items: usize) -> PyResult<Vec<ItemAttributes>> {
    attributes.map_or(Ok(Vec::new()), |attributes| attributes_from_py(attributes, items))
}

fn borrowed(documents: Option<&Vec<PyBackedBytes>>) -> Vec<&[u8]> {
    documents.map_or(Vec::new(), |documents| documents.iter().map(|document| &**document).collect())
}

fn documents_of<'py>(found: &SearchOutput, py: Python<'py>) -> Vec<Vec<Bound<'py, PyBytes>>> {
    let rows = found.ids.chunks(found.width).enumerate();
    let documents = rows.map(|(row, ids)| {
        let hits = ids.iter().take_while(|id| **id != NO_ID).count();
        (0..hits).map(|at| PyBytes::new(py, found.document(row * found.width + at))).collect()
    });
    documents.collect()
}

fn ids_of(ids: Option<&PyReadonlyArray1<'_, u64>>) -> PyResult<Vec<u64>> {
    Ok(ids.map(|ids| ids.as_slice()).transpose()?.unwrap_or_default().to_vec())
}

fn check_dim(expected: usize, found: usize) -> PyResult<()> {
    if expected == found {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("this index holds vectors of dimension {expected}, not {found}")))
}

fn check_rows(vectors: &PyReadonlyArray2<'_, f32>, ids: &PyReadonlyArray1<'_, u64>) -> PyResult<()> {
    let (rows, ids) = (vectors.shape()[0], ids.shape()[0]);
    if rows == ids {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("{rows} vectors but {ids} ids")))
}

/// The instruction set in use.
#[pyfunction]
fn active_isa() -> &'static str {
    isa::active().name()
}

/// The instruction sets this machine can run, slowest first.
#[pyfunction]
fn available_isas() -> Vec<&'static str> {
    isa::available().iter().map(|isa| isa.name()).collect()
}

/// Forces one instruction set for the whole process; `None` undoes it.
#[pyfunction]
#[pyo3(signature = (name))]
fn force_isa(name: Option<&str>) -> PyResult<()> {
    isa::force(name).map_err(to_py)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::fanout::{NativeFanout, NativeSearch, merge_hits};
    #[pymodule_export]
    use super::front::{NativeCall, NativeFront};
    #[pymodule_export]
    use super::image::square_input;
    #[pymodule_export]
    use super::panics::EnginePanicError;
    #[pymodule_export]
    use super::search_port::SearchPort;
    #[pymodule_export]
    use super::syncs::SyncTimes;
    #[pymodule_export]
    use super::textbook::{dot_product, encode, hamming_distances, hamming_top_k, rotate};
    #[pymodule_export]
    use super::writes::{mutations_of, rows_of};
    #[pymodule_export]
    use super::{DamagedError, NativeIndex, active_isa, available_isas, force_isa};
}
