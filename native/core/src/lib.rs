//! Hashed nearest-neighbour search for unit vectors: the engine of Lookalike, without Python.
//!
//! One query runs through these modules, in this order:
//!
//! | step | module |
//! |---|---|
//! | check and normalise the vectors | [`input`] |
//! | random rotation, sign code | [`rotation`], [`codes`] |
//! | buckets in query-directed order | [`partition`] ([`cells`] or [`planes`]), [`probe`], [`buckets`] |
//! | Hamming scan of the candidates | [`hamming`] |
//! | exact cosine of the best, top k | [`dot`], [`rank`] |
//!
//! [`index`] puts them together and keeps the index live under adds and removals; [`format`]
//! stores it. [`isa`] chooses the instruction set once per process.

#![deny(clippy::undocumented_unsafe_blocks, missing_docs, unsafe_op_in_unsafe_fn)]

pub mod attributes;
pub mod buckets;
pub mod cells;
pub mod codes;
pub mod dot;
pub mod error;
pub mod filter;
pub mod format;
pub mod hamming;
pub mod index;
pub mod input;
pub mod isa;
pub mod partition;
pub mod planes;
pub mod probe;
pub mod rank;
pub mod rng;
pub mod rotation;
pub mod rows;
pub mod threads;

pub use error::Error;
pub use index::{HashIndex, IndexOptions, SearchOptions, SearchOutput, Stats};
pub use partition::Family;
