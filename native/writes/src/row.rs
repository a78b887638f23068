//! What a shard stores of items, and what its index keeps of them.

use crate::Limits;
use crate::item::Item;
use crate::unit::append_unit;
use crate::wire::{Fields, Value, once};

const FLOAT_BYTES: usize = 4;

/// An item to write.
#[derive(Debug)]
pub struct Row<'a> {
    /// UTF-8.
    pub item_id: &'a [u8],
    /// UTF-8; empty: the item is a product of its own.
    pub product_id: &'a [u8],
    /// The encoded `Item`.
    pub item: &'a [u8],
    /// Full path from the top down, UTF-8.
    pub category: Vec<&'a [u8]>,
    /// Name and value, by name, UTF-8.
    pub attributes: Vec<(&'a [u8], &'a [u8])>,
    /// The encoded `Hit` without its score.
    pub document: Vec<u8>,
    /// The version that the row must have; 0: there must be none.
    pub if_version: Option<u64>,
}

/// Items to write, with their vectors at unit length, one after the other, as little-endian float32.
pub type Rows<'a> = (Vec<Row<'a>>, Vec<u8>);

/// Reads an encoded `Mutations`; `None` where it is not plain: it deletes something, or anything about it breaks the
/// contract.
pub fn rows<'a>(mutations: &'a [u8], dimension: usize, limits: &Limits) -> Option<Rows<'a>> {
    let (mut rows, mut vectors) = (Vec::new(), Vec::with_capacity(mutations.len()));
    for field in Fields(mutations) {
        match field? {
            // The model, which the caller has looked at.
            (1, Value::Bytes(_)) => {}
            (2, Value::Bytes(mutation)) => {
                let (row, vector) = row(mutation, limits)?;
                if vector.len() != dimension * FLOAT_BYTES {
                    return None;
                }
                append_unit(vector, &mut vectors)?;
                rows.push(row);
            }
            _ => return None,
        }
    }
    Some((rows, vectors))
}

/// Reads an encoded `Mutation` that writes an item, and returns its vector with it.
fn row<'a>(mutation: &'a [u8], limits: &Limits) -> Option<(Row<'a>, &'a [u8])> {
    let (mut upsert, mut if_version) = (None, None);
    for field in Fields(mutation) {
        match field? {
            (1, Value::Bytes(value)) => once(&mut upsert, value)?,
            (3, Value::Varint(value)) => once(&mut if_version, value)?,
            _ => return None,
        }
    }
    let (mut encoded, mut vector) = (None, None);
    for field in Fields(upsert?) {
        match field? {
            (1, Value::Bytes(value)) => once(&mut encoded, value)?,
            (2, Value::Bytes(value)) => once(&mut vector, value)?,
            _ => return None,
        }
    }
    let item = Item::read(encoded?)?;
    if !item.keeps_to(limits) {
        return None;
    }
    let document = item.document();
    let row = Row {
        item_id: item.item_id,
        product_id: item.product_id,
        item: encoded?,
        category: item.names,
        attributes: item.attributes,
        document,
        if_version,
    };
    Some((row, vector?))
}
