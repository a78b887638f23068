//! Panics of the engine as ordinary exceptions.
//!
//! A panic is a defect of the engine. PyO3 would raise it as a `BaseException`, which passes every handler of a service
//! and ends its thread. The engine keeps whole where one strikes: a search shares nothing that it could leave half done,
//! and a write publishes its snapshot last.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::create_exception;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

create_exception!(
    lookalike._native,
    EnginePanicError,
    PyRuntimeError,
    "The engine met a state that it should never be in. The call had no effect."
);

/// Does `work` without the GIL.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    // See the module for why nothing is left half done.
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|panic| to_py(&*panic))
}

/// The exception of what a panic carries. The panic hook has already reported where it struck.
pub fn to_py(panic: &(dyn Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    EnginePanicError::new_err(format!(
        "the engine has panicked: {}",
        text.unwrap_or("for a reason without text")
    ))
}
