//! A load generator for unary gRPC calls that knows nothing of their messages.
//!
//! Requests are bytes that somebody has encoded before ([`requests`]); [`run`] sends them as fast as a number of
//! callers can, or at random times of a given rate ([`arrivals`]) whatever the answers do. Latency is measured from
//! the moment at which a request was due ([`record`]), so that a server that stalls cannot hide what waits
//! meanwhile ("coordinated omission"). [`echo`] is a server that only answers.

#![deny(missing_docs, unsafe_code)]

pub mod arrivals;
pub mod echo;
pub mod grpc;
#[cfg(feature = "postgres")]
pub mod postgres;
#[path = "../../serve/tests/common/raw.rs"]
mod raw;
pub mod record;
pub mod requests;
pub mod run;
