//! Rotations, plain codes and Hamming search: what tests and benchmarks compare the engine with.

use lookalike_core::input::{MAX_DIM, check_bits};
use lookalike_core::kernels::dot;
use lookalike_core::rotation::RandomRotation;
use lookalike_textbook::codes::{EncodeScratch, Encoder};
use lookalike_textbook::hamming;
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::{matrix, to_py};

/// Rotates every row: `(n, d)` to `(n, bits)`.
#[pyfunction]
#[pyo3(signature = (vectors, *, bits, seed))]
pub fn rotate<'py>(
    py: Python<'py>,
    vectors: PyReadonlyArray2<'py, f32>,
    bits: usize,
    seed: u64,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let dim = check_shape(&vectors, bits)?;
    let values = vectors.as_slice()?;
    let out = py.detach(|| {
        let rotation = RandomRotation::new(dim, bits, seed);
        let mut out = vec![0.0; values.len() / dim * bits];
        let mut scratch = Vec::new();
        for (row, out) in values.chunks_exact(dim).zip(out.chunks_exact_mut(bits)) {
            rotation.apply(row, &mut scratch, out);
        }
        out
    });
    matrix(out, bits, py)
}

/// Codes of every row around the origin: `(n, d)` to `(n, bits / 64)`.
#[pyfunction]
#[pyo3(signature = (vectors, *, bits, seed))]
pub fn encode<'py>(
    py: Python<'py>,
    vectors: PyReadonlyArray2<'py, f32>,
    bits: usize,
    seed: u64,
) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let dim = check_shape(&vectors, bits)?;
    let values = vectors.as_slice()?;
    let out = py.detach(|| {
        let encoder = Encoder::new(dim, bits, seed);
        let mut out = vec![0; values.len() / dim * encoder.words()];
        let mut scratch = EncodeScratch::default();
        for (row, code) in values.chunks_exact(dim).zip(out.chunks_exact_mut(encoder.words())) {
            encoder.encode(row, &mut scratch, code);
        }
        out
    });
    matrix(out, bits / 64, py)
}

fn check_shape(vectors: &PyReadonlyArray2<'_, f32>, bits: usize) -> PyResult<usize> {
    check_bits(bits).map_err(to_py)?;
    match vectors.shape()[1] {
        dim @ 1..=MAX_DIM => Ok(dim),
        dim => Err(PyValueError::new_err(format!("the dimension must be 1 to {MAX_DIM}, not {dim}"))),
    }
}

/// Hamming distances of one code `(words,)` to many `(n, words)`.
#[pyfunction]
pub fn hamming_distances<'py>(
    py: Python<'py>,
    query: PyReadonlyArray1<'py, u64>,
    codes: PyReadonlyArray2<'py, u64>,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let (query, shape) = (query.as_slice()?, codes.shape());
    if query.is_empty() || query.len() != shape[1] {
        return Err(PyValueError::new_err(format!(
            "query has {} words, codes have {}; both need the same number, at least 1",
            query.len(),
            shape[1]
        )));
    }
    let mut out = vec![0; shape[0]];
    let codes = codes.as_slice()?;
    py.detach(|| hamming::distances(query, codes, &mut out));
    Ok(PyArray1::from_vec(py, out))
}

/// The `k` nearest codes `(n, words)` of each query `(q, words)`: distances and rows, `(q, k)`.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn hamming_top_k<'py>(
    py: Python<'py>,
    queries: PyReadonlyArray2<'py, u64>,
    codes: PyReadonlyArray2<'py, u64>,
    k: usize,
) -> PyResult<(Bound<'py, PyArray2<i32>>, Bound<'py, PyArray2<i64>>)> {
    let (words, [rows, width]) = (queries.shape()[1], [codes.shape()[0], codes.shape()[1]]);
    if words == 0 || words != width {
        return Err(PyValueError::new_err(format!(
            "queries have {words} words, codes have {width}; both need the same number, at least 1"
        )));
    }
    if i32::try_from(64 * words).is_err() {
        return Err(PyValueError::new_err(format!(
            "codes have {words} words; their bits must be fewer than 2**31"
        )));
    }
    if k == 0 || u32::try_from(rows).is_err() {
        return Err(PyValueError::new_err("k must be at least 1, with fewer than 2**32 codes"));
    }
    let (count, queries, codes) = (queries.shape()[0], queries.as_slice()?, codes.as_slice()?);
    let (mut distances, mut numbers) = (vec![i32::MAX; count * k], vec![-1; count * k]);
    py.detach(|| {
        let found = hamming::top_k(queries, codes, words, k);
        let out = distances.chunks_exact_mut(k).zip(numbers.chunks_exact_mut(k));
        for (found, (distances, numbers)) in found.into_iter().zip(out) {
            for ((distance, row), (d, n)) in found.into_iter().zip(distances.iter_mut().zip(numbers)) {
                (*d, *n) = (distance as i32, row as i64);
            }
        }
    });
    Ok((matrix(distances, k, py)?, matrix(numbers, k, py)?))
}

/// The dot product of two vectors in the engine's lane order.
#[pyfunction]
#[pyo3(name = "dot")]
pub fn dot_product(a: PyReadonlyArray1<'_, f32>, b: PyReadonlyArray1<'_, f32>) -> PyResult<f32> {
    let (a, b) = (a.as_slice()?, b.as_slice()?);
    if a.len() != b.len() {
        return Err(PyValueError::new_err(format!("lengths differ: {} and {}", a.len(), b.len())));
    }
    Ok(dot::dot(a, b))
}
