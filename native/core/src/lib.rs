//! Hashed nearest-neighbour search for unit vectors: the engine of Lookalike, without Python.
//!
//! One query runs through these modules, in this order:
//!
//! | step | module |
//! |---|---|
//! | check and normalise the vectors | [`input`] |
//! | random rotation, look-up table | [`rotation`], [`kernels::scan`] |
//! | which items a filter lets through | [`filter`], [`attributes`] |
//! | buckets in query-directed order | [`partition`] ([`cells`], [`planes`] or [`cross_polytope`]), [`probe`] |
//! | estimates from the sign codes | [`kernels::scan`], [`codebook`] |
//! | scores of the best, top k | [`kernels::dot`], [`rank`] |
//! | their documents | [`documents`] |
//!
//! [`index`] puts them together and keeps the index live under adds and removals; its rows lie in
//! [`chunk`]s of shared [`memory`], and [`format`] stores them. All arithmetic in bulk is done by [`kernels`], for
//! which [`isa`] chooses the instruction set once per process.

#![deny(clippy::undocumented_unsafe_blocks, missing_docs, unsafe_op_in_unsafe_fn)]

#[cfg(target_endian = "big")]
compile_error!("stored rows are little-endian and used as they lie in memory");

pub mod attributes;
mod bitset;
mod bounds;
pub mod cells;
pub mod chunk;
pub mod codebook;
pub mod cross_polytope;
pub mod documents;
pub mod error;
pub mod filter;
pub mod format;
pub mod index;
pub mod input;
pub mod isa;
pub mod kernels;
pub mod memory;
mod orthonormal;
pub mod partition;
pub mod planes;
pub mod probe;
pub mod quantise;
pub mod rank;
pub mod rng;
pub mod rotation;
mod spectrum;
pub mod syncs;
pub mod threads;

pub use error::Error;
pub use index::options::{Estimate, IndexOptions, SearchOptions};
pub use index::{Batch, ExactCandidates, HashIndex, SearchOutput, Stats};
pub use partition::Family;
