//! Writes as they pass through the gateway and into a shard: read without the GIL, handed over as Python objects.

use lookalike_writes::row::{self, Row};
use lookalike_writes::{Limits, Vectors, upsert};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::panics::detached;

/// The limits of the contract, in the order of `Limits`.
#[derive(FromPyObject)]
pub struct PyLimits(usize, usize, usize, usize, usize, usize, usize, usize);

impl From<PyLimits> for Limits {
    fn from(limits: PyLimits) -> Self {
        Self {
            id: limits.0,
            title: limits.1,
            image_uri: limits.2,
            category_levels: limits.3,
            category_name: limits.4,
            attributes: limits.5,
            attribute_name: limits.6,
            attribute_value: limits.7,
        }
    }
}

/// An encoded `Mutations` of each encoded `UpsertItem`; `None` for those that are not plain.
#[pyfunction]
pub fn mutations_of<'py>(
    py: Python<'py>,
    upserts: Vec<PyBackedBytes>,
    dimension: usize,
    model_version: &str,
    limits: PyLimits,
) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let limits = limits.into();
    let vectors = Vectors { dimension, model_version: model_version.as_bytes() };
    let mutations: Vec<_> =
        detached(py, || upserts.iter().map(|upsert| upsert::mutation(upsert, &vectors, &limits)).collect())?;
    Ok(mutations.into_iter().map(|one| one.map(|bytes| PyBytes::new(py, &bytes))).collect())
}

/// `(item_id, product_id, item, category, attributes, document, if_version)` of each row, and their vectors.
type RowsTuple<'py> = (Vec<Bound<'py, PyTuple>>, Bound<'py, PyArray2<f32>>);

/// The rows that an encoded `Mutations` writes, with their vectors `(n, dimension)`; `None` where it is not plain.
#[pyfunction]
pub fn rows_of<'py>(
    py: Python<'py>,
    mutations: PyBackedBytes,
    dimension: usize,
    limits: PyLimits,
) -> PyResult<Option<RowsTuple<'py>>> {
    let limits = limits.into();
    let Some((rows, vectors)) = detached(py, || {
        let (rows, vectors) = row::rows(&mutations, dimension, &limits)?;
        let floats: Vec<f32> = vectors.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Some((rows, floats))
    })?
    else {
        return Ok(None);
    };
    let vectors = PyArray1::from_vec(py, vectors).reshape([rows.len(), dimension])?;
    let rows = rows.iter().map(|row| row_tuple(py, row)).collect::<PyResult<_>>()?;
    Ok(Some((rows, vectors)))
}

fn row_tuple<'py>(py: Python<'py>, row: &Row<'_>) -> PyResult<Bound<'py, PyTuple>> {
    let category = row.category.iter().map(|name| text(py, name)).collect::<PyResult<Vec<_>>>()?;
    let attributes = PyDict::new(py);
    for (name, value) in &row.attributes {
        attributes.set_item(text(py, name)?, text(py, value)?)?;
    }
    (
        text(py, row.item_id)?,
        text(py, row.product_id)?,
        PyBytes::new(py, row.item),
        PyTuple::new(py, category)?,
        attributes,
        PyBytes::new(py, &row.document),
        row.if_version,
    )
        .into_pyobject(py)
}

fn text<'py>(py: Python<'py>, utf8: &[u8]) -> PyResult<Bound<'py, PyString>> {
    PyString::from_bytes(py, utf8)
}
