//! The fast path of a served search, on tokio and tonic, next to the engine and without Python.

#![deny(missing_docs, unsafe_code)]

pub mod fanout;
pub mod port;
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1;
