//! Stored indexes to damage.

use std::fs;
use std::path::Path;

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::format::FILE_NAME;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions};

/// Families, and tables for each.
pub const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)];

/// The files of indexes of every family and form, with attributes, documents and removed rows; `folder` is overwritten.
///
/// Of those with buckets, about the `kept` last items are left.
pub fn varied(folder: &Path, kept: usize) -> Vec<Vec<u8>> {
    let mut rng = SplitMix64::new(6);
    let reranks = [Rerank::Int8, Rerank::F16, Rerank::F32];
    let kinds = FAMILIES.into_iter().cycle().zip(reranks).chain([(FAMILIES[0], Rerank::Int8); 3]);
    let shapes = [(300, 10, 128), (260, 5, 64), (330, 12, 192), (100, 7, 64), (2300, 3, 64), (280, 70, 64)];
    let stored = kinds.zip(shapes).map(|(((family, tables), rerank), (items, dim, bits))| {
        let rotation = if bits < dim { RotationKind::Learned } else { RotationKind::Random };
        let options = IndexOptions { dim, bits, family, tables, rerank, rotation, seed: 3 };
        let vectors: Vec<f32> = (0..items * dim).map(|_| rng.next_bell()).collect();
        let ids: Vec<u64> = (0..items as u64).collect();
        let attributes = ids.iter().map(|id| {
            let values =
                [("price".to_owned(), (id % 9).to_string()), ("brand".to_owned(), format!("b{}", id % 3))];
            let category = ["a", "b", "c"].map(str::to_owned)[..*id as usize % 4].to_vec();
            ItemAttributes::new(category, values[..*id as usize % 3].to_vec()).unwrap()
        });
        let documents: Vec<Vec<u8>> = ids.iter().map(|id| vec![*id as u8; *id as usize % 4 * 5]).collect();
        let batch = Batch::new(&vectors, &ids, &ids)
            .with_attributes(attributes.collect())
            .with_documents(documents.iter().map(Vec::as_slice).collect());
        let index = HashIndex::build(options, batch, 1).unwrap();
        if index.stats().buckets_per_table > 0 {
            index.remove(&ids[..ids.len().saturating_sub(kept)]);
        }
        index.remove(&[3, 5, 50, 51, 52]);
        index.save(folder).unwrap();
        fs::read(folder.join(FILE_NAME)).unwrap()
    });
    stored.collect()
}
