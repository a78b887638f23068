//! Metadata of calls between HTTP's headers and Python's pairs.

use http::{HeaderMap, HeaderName, HeaderValue};
use lookalike_serve::front::binary;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

const BINARY: &str = "-bin";
/// What is of the transport, not of the caller.
const TRANSPORT: [&str; 3] = ["te", "content-type", "user-agent"];
const TRANSPORT_PREFIX: &str = "grpc-";

/// Text, or bytes where the name ends in `-bin`.
#[derive(IntoPyObject)]
pub enum Value<'py> {
    Text(Bound<'py, PyString>),
    Bytes(Bound<'py, PyBytes>),
}

/// A caller's own metadata; what is not as it should be is left out.
pub fn pairs_of<'py, 'a>(py: Python<'py>, headers: &'a HeaderMap) -> Vec<(&'a str, Value<'py>)> {
    let mut pairs = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with(TRANSPORT_PREFIX) || TRANSPORT.contains(&name) {
            continue;
        }
        if name.ends_with(BINARY) {
            let values = value.as_bytes().split(|byte| *byte == b',').filter_map(binary::decoded);
            pairs.extend(values.map(|value| (name, Value::Bytes(PyBytes::new(py, &value)))));
        } else if let Ok(value) = value.to_str() {
            pairs.push((name, Value::Text(PyString::new(py, value))));
        }
    }
    pairs
}

/// Trailers as they are sent.
pub fn trailers_of(pairs: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<Vec<(HeaderName, HeaderValue)>> {
    let invalid = |name: &str| PyValueError::new_err(format!("{name:?} cannot be sent as metadata"));
    let sent = |(name, value): (String, Bound<'_, PyAny>)| {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&name))?;
        let value = if name.ends_with(BINARY) {
            binary::encoded(value.extract()?)
        } else {
            HeaderValue::from_str(value.extract()?).map_err(|_| invalid(&name))?
        };
        Ok((key, value))
    };
    pairs.into_iter().map(sent).collect()
}
