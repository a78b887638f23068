//! Files that are wrong behind a right checksum: what `open` must make of them.

use std::fs;
use std::path::Path;

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::format::{FILE_NAME, VERSION};
use lookalike_core::{Batch, Error, HashIndex, SearchOptions};
use xxhash_rust::xxh3::xxh3_64;

/// Gives the bytes the start and the checksum of an index file, so that all between is looked at.
pub fn seal(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(24), 0);
    let body = bytes.len() - 8;
    bytes[..8].copy_from_slice(b"LKHASHIX");
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let sum = xxh3_64(&bytes[..body]);
    bytes[body..].copy_from_slice(&sum.to_le_bytes());
}

/// Replaces the index file in a folder. To write into it would change what an index that was opened before has mapped.
pub fn store(folder: &Path, bytes: &[u8]) {
    let new = folder.join("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, folder.join(FILE_NAME)).unwrap();
}

/// Opens an index file. One that opens is searched, changed, rebuilt where that is due, and searched again.
///
/// Panics if it is refused for another reason than damage.
pub fn open_and_use(folder: &Path, bytes: &[u8]) -> bool {
    store(folder, bytes);
    let index = match HashIndex::open(folder) {
        Ok(index) => index,
        Err(Error::Damaged(_)) => return false,
        Err(error) => panic!("{error}"),
    };
    let dim = index.options().dim;
    let vectors: Vec<f32> = (0..2 * dim).map(|i| ((i * 7 % 11) as f32) - 4.5).collect();
    let search = || search_in_every_way(&index, &vectors);
    search();
    let batch = Batch::new(&vectors, &[1, 7], &[2, 2])
        .with_attributes(vec![ItemAttributes::default(); 2])
        .with_documents(vec![b"one", b"seven"]);
    index.add(batch).unwrap();
    index.remove(&[7, 8, 9, 10, 20]);
    index.wait_for_rebuild();
    assert_eq!(index.stats().failed_rebuilds, 0);
    search();
    assert_eq!(index.documents(&[1, 7]), [Some(b"one".to_vec()), None]);
    true
}

fn search_in_every_way(index: &HashIndex, queries: &[f32]) {
    let price = Condition::Range { name: "price".into(), min: Some(3.0), max: None };
    let brand = Condition::Equals { name: "brand".into(), value: "b1".into() };
    let none_of = |condition| Filter::new(vec![], vec![], vec![condition]).unwrap();
    let filters = [None, Some(none_of(price)), Some(none_of(brand)), Some(Filter::default())];
    for filter in filters {
        let automatic = SearchOptions { k: 5, filter, documents: true, ..Default::default() };
        for options in [
            SearchOptions { group: true, effort: Some(0.9), ..automatic.clone() },
            SearchOptions { probes: Some(3), rerank: Some(20), ..automatic.clone() },
            SearchOptions { exact: true, ..automatic.clone() },
            automatic,
        ] {
            let out = index.search(queries, &options, 1).unwrap();
            assert_eq!(out.ids.len(), 10);
            // Every byte of a document can be read.
            let sum = (0..10).flat_map(|at| out.document(at)).map(|byte| u64::from(*byte)).sum::<u64>();
            assert!(sum < u64::MAX);
            index.exact_candidates(queries, &options, 1).unwrap();
        }
    }
}
