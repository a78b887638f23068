//! What the gateway makes of an item with a vector.

use crate::item::Item;
use crate::unit::append_unit;
use crate::wire::{Fields, Value, field_size, once, put_bytes, put_header, put_varint};
use crate::{Limits, Vectors};

const FLOAT_BYTES: usize = 4;

/// Returns an encoded `Mutations` that holds just one encoded `UpsertItem` with a vector, which is brought to unit
/// length; `None` where the item is not plain: it has a photo, or anything about it breaks the contract.
///
/// Encoded messages of one kind are merged by writing them one after the other.
pub fn mutation(upsert: &[u8], vectors: &Vectors<'_>, limits: &Limits) -> Option<Vec<u8>> {
    let (mut item, mut embedding, mut if_version) = (None, None, None);
    for field in Fields(upsert) {
        match field? {
            (1, Value::Bytes(value)) => once(&mut item, value)?,
            (3, Value::Bytes(value)) => once(&mut embedding, value)?,
            (4, Value::Varint(value)) => once(&mut if_version, value)?,
            _ => return None,
        }
    }
    let item = item?;
    if !Item::read(item)?.keeps_to(limits) {
        return None;
    }
    let values = values_of(embedding?, vectors)?;
    let row = field_size(item.len()) + field_size(values.len());
    let mut version = Vec::new();
    if let Some(value) = if_version {
        put_varint(&mut version, 3 << 3);
        put_varint(&mut version, value);
    }
    let mut mutation = Vec::with_capacity(row + 32);
    put_header(&mut mutation, 2, field_size(row) + version.len());
    put_header(&mut mutation, 1, row);
    put_bytes(&mut mutation, 1, item);
    put_header(&mut mutation, 2, values.len());
    append_unit(values, &mut mutation)?;
    mutation.extend(version);
    Some(mutation)
}

/// The packed values of an encoded `Embedding` of the right model and dimension.
fn values_of<'a>(embedding: &'a [u8], vectors: &Vectors<'_>) -> Option<&'a [u8]> {
    let (mut values, mut model) = (None, None);
    for field in Fields(embedding) {
        match field? {
            (1, Value::Bytes(value)) => once(&mut values, value)?,
            (2, Value::Bytes(value)) => once(&mut model, value)?,
            _ => return None,
        }
    }
    let right_model = model.is_none_or(|model| model.is_empty() || model == vectors.model_version);
    values.filter(|values| right_model && values.len() == vectors.dimension * FLOAT_BYTES)
}
