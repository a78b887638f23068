//! Writes as they pass through the gateway and into a shard, read from their encoded messages.
//!
//! Whatever is well formed is read here, without an object for each field. Of anything else these functions say only
//! that it is not plain; the caller then decodes it in full, and says what is wrong with it.
//!
//! | module | reads | for |
//! |---|---|---|
//! | [`upsert`] | `UpsertItem` | the gateway: what it sends to a shard |
//! | [`row`] | `Mutations` | a shard: what it stores of each item, and what its index keeps |
//!
//! Messages come from an encoder of Protocol Buffers, not from the network as they are: texts are UTF-8, and the
//! entries of a map have distinct keys.

#![deny(clippy::undocumented_unsafe_blocks, missing_docs, unsafe_op_in_unsafe_fn)]

mod item;
pub mod row;
mod unit;
pub mod upsert;
mod wire;

/// Limits of the contract; sizes are in bytes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Limits {
    pub id: usize,
    pub title: usize,
    pub image_uri: usize,
    pub category_levels: usize,
    pub category_name: usize,
    pub attributes: usize,
    pub attribute_name: usize,
    pub attribute_value: usize,
}

/// What the vectors of a collection are like.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// Values of each.
    pub dimension: usize,
    /// The model that they all come from.
    pub model_version: &'a [u8],
}
