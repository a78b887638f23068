//! Items in columns: as callers hand them in, and as the index goes on with them.

use super::bucket::NewRow;
use crate::attributes::ItemAttributes;
use crate::documents::{Documents, MAX_DOCUMENT_BYTES};
use crate::error::{Result, invalid};
use crate::input::{check_ids, unit_vectors};

/// Items to build an index of, or to add to one.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    vectors: &'a [f32],
    ids: &'a [u64],
    products: &'a [u64],
    attributes: Vec<ItemAttributes>,
    documents: Vec<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// Vectors laid out (item, dim), of any length but zero; ids, each once; the product of each item.
    pub fn new(vectors: &'a [f32], ids: &'a [u64], products: &'a [u64]) -> Self {
        Self { vectors, ids, products, ..Self::default() }
    }

    /// With the attributes of each item; none: no item has any.
    pub fn with_attributes(self, attributes: Vec<ItemAttributes>) -> Self {
        Self { attributes, ..self }
    }

    /// With the document of each item, of at most [`MAX_DOCUMENT_BYTES`] bytes, an empty one being none; none: no item
    /// has any.
    pub fn with_documents(self, documents: Vec<&'a [u8]>) -> Self {
        Self { documents, ..self }
    }

    /// The items, or why they are not acceptable.
    pub(super) fn checked(self, dim: usize) -> Result<Items> {
        let Self { vectors, ids, products, mut attributes, documents } = self;
        check_ids(ids, products)?;
        let vectors = unit_vectors("vector", vectors, ids.len(), dim)?;
        if !attributes.is_empty() && attributes.len() != ids.len() {
            return invalid(format!("{} ids but attributes of {} items", ids.len(), attributes.len()));
        }
        attributes.resize(ids.len(), ItemAttributes::default());
        check_documents(&documents, ids.len())?;
        let (errors, documents) = (vec![0.0; ids.len()], Documents::of(documents));
        Ok(Items { ids: ids.to_vec(), products: products.to_vec(), vectors, errors, attributes, documents })
    }
}

fn check_documents(documents: &[&[u8]], items: usize) -> Result<()> {
    if !documents.is_empty() && documents.len() != items {
        return invalid(format!("{items} ids but documents of {} items", documents.len()));
    }
    match documents.iter().position(|document| document.len() > MAX_DOCUMENT_BYTES) {
        Some(at) => invalid(format!(
            "document {at} has {} bytes; a document has at most {MAX_DOCUMENT_BYTES}",
            documents[at].len()
        )),
        None => Ok(()),
    }
}

/// Items in columns: ids, products, unit vectors laid out (item, dim), attributes.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// Item ids, each once.
    pub ids: Vec<u64>,
    /// Product of each item.
    pub products: Vec<u64>,
    /// Unit vectors.
    pub vectors: Vec<f32>,
    /// How far each vector is at most from the one that the item was added with.
    pub errors: Vec<f32>,
    /// Categories and attribute values.
    pub attributes: Vec<ItemAttributes>,
    /// Documents, by the place of their item here.
    pub documents: Documents,
}

impl Items {
    /// Item number `at` as a row with this ordinal.
    pub fn row(&self, dim: usize, at: usize, ordinal: u32) -> NewRow<'_> {
        NewRow {
            ordinal,
            id: self.ids[at],
            product: self.products[at],
            vector: &self.vectors[at * dim..][..dim],
            error: self.errors[at],
        }
    }
}
