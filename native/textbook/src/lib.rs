//! Plain sign codes and exhaustive search by Hamming distance: the yardsticks that the engine is compared with.
//!
//! Nothing here is part of a served search. The kernels follow the rules of [`lookalike_core::kernels`]: one result
//! on every instruction set.

#![deny(clippy::undocumented_unsafe_blocks, missing_docs, unsafe_op_in_unsafe_fn)]

pub mod codes;
pub mod hamming;
