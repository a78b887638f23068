//! The inner loops, each once in plain Rust and once for every instruction set that is worth it; [`crate::isa`]
//! chooses. All variants of a kernel give the same bits.

pub mod coarse;
pub mod dot;
pub mod hadamard;
pub mod prefetch;
pub mod scan;
pub mod signs;
