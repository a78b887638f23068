//! An encoded `Item`.

use crate::Limits;
use crate::wire::{Fields, Value, field_size, once, put_bytes, put_header};

/// Where the fields of an `Item` lie.
#[derive(Debug, Default)]
pub struct Item<'a> {
    pub item_id: &'a [u8],
    pub product_id: &'a [u8],
    title: &'a [u8],
    image_uri: &'a [u8],
    /// As it is encoded; `None`: the item has none.
    category: Option<&'a [u8]>,
    /// From the top down.
    pub names: Vec<&'a [u8]>,
    /// Name and value, by name.
    pub attributes: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Item<'a> {
    /// Reads an item; `None` where it is anything but plain.
    pub fn read(encoded: &'a [u8]) -> Option<Self> {
        let (mut item_id, mut product_id, mut title, mut image_uri) = (None, None, None, None);
        let mut item = Self::default();
        for field in Fields(encoded) {
            let (number, Value::Bytes(value)) = field? else {
                return None;
            };
            match number {
                1 => once(&mut item_id, value)?,
                2 => once(&mut product_id, value)?,
                3 => once(&mut title, value)?,
                4 => once(&mut item.category, value)?,
                5 => item.attributes.push(entry(value)?),
                6 => once(&mut image_uri, value)?,
                _ => return None,
            }
        }
        item.item_id = item_id.unwrap_or_default();
        item.product_id = product_id.unwrap_or_default();
        item.title = title.unwrap_or_default();
        item.image_uri = image_uri.unwrap_or_default();
        for name in Fields(item.category.unwrap_or_default()) {
            let (1, Value::Bytes(name)) = name? else {
                return None;
            };
            item.names.push(name);
        }
        item.attributes.sort_unstable();
        Some(item)
    }

    /// Whether it keeps to the contract.
    pub fn keeps_to(&self, limits: &Limits) -> bool {
        !self.item_id.is_empty()
            && self.item_id.len() <= limits.id
            && self.product_id.len() <= limits.id
            && self.title.len() <= limits.title
            && self.image_uri.len() <= limits.image_uri
            && self.names.len() <= limits.category_levels
            && self.names.iter().all(|name| (1..=limits.category_name).contains(&name.len()))
            && self.attributes.len() <= limits.attributes
            && self.attributes.iter().all(|(name, value)| {
                (1..=limits.attribute_name).contains(&name.len()) && value.len() <= limits.attribute_value
            })
    }

    /// The encoded `Hit` without its score, as `hasher.documents` has it.
    pub fn document(&self) -> Vec<u8> {
        let mut document = Vec::with_capacity(
            self.product_id.len() + self.item_id.len() + self.title.len() + self.image_uri.len() + 128,
        );
        put_text(&mut document, 1, self.product_id);
        put_text(&mut document, 2, self.item_id);
        if let Some(category) = self.category {
            put_bytes(&mut document, 5, category);
        }
        for (name, value) in &self.attributes {
            put_header(&mut document, 6, field_size(name.len()) + field_size(value.len()));
            put_bytes(&mut document, 1, name);
            put_bytes(&mut document, 2, value);
        }
        put_text(&mut document, 7, self.title);
        put_text(&mut document, 8, self.image_uri);
        document
    }
}

/// Appends a text; an empty one is left out.
fn put_text(into: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        put_bytes(into, number, value);
    }
}

/// Reads an entry of the attributes.
fn entry(encoded: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut name, mut content) = (None, None);
    for field in Fields(encoded) {
        let (number, Value::Bytes(value)) = field? else {
            return None;
        };
        match number {
            1 => once(&mut name, value)?,
            2 => once(&mut content, value)?,
            _ => return None,
        }
    }
    Some((name.unwrap_or_default(), content.unwrap_or_default()))
}
