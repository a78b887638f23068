//! The transport of the services and the fast path of a served search, on tokio and tonic, without Python.

#![deny(missing_docs, unsafe_code)]

pub mod caller;
pub mod failure;
pub mod fanout;
pub mod front;
mod inflating;
pub mod io;
pub mod messages;
pub mod port;
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1;
pub mod wire;
