//! The fast path of a served search, on tokio and tonic, next to the engine and without Python.

pub mod fanout;
pub mod port;
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1;
