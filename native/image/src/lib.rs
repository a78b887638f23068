//! Decoded pictures as a network's input, without Python: resize, place on a white square, normalise.
//!
//! The numbers are those of Pillow's antialiased resize, to the bit: [`weights`] says how they come about, [`kernels`]
//! computes them for every instruction set alike, and [`resize`] keeps only the rows that it still needs. [`square`]
//! puts the result in place.

#![deny(clippy::undocumented_unsafe_blocks, missing_docs, unsafe_op_in_unsafe_fn)]

pub mod kernels;
pub mod resize;
pub mod square;
pub mod weights;

/// Bytes of a pixel: red, green, blue, and one that means nothing.
pub const PIXEL: usize = 4;
/// Channels of a network's input.
pub const CHANNELS: usize = 3;
