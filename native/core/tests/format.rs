//! A damaged file is always refused with a typed error, never read wrongly and never a panic.

use std::fs;
use std::path::Path;

use lookalike_core::chunk::Rerank;
use lookalike_core::format::FILE_NAME;
use lookalike_core::rng::SplitMix64;
use lookalike_core::{Error, Family, HashIndex, IndexOptions, SearchOptions};
use xxhash_rust::xxh3::xxh3_64;

const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)];

fn saved(folder: &Path, items: u64, (family, tables): (Family, usize)) -> HashIndex {
    let options = IndexOptions { dim: 10, bits: 128, family, tables, rerank: Rerank::F32, seed: 3 };
    let mut rng = SplitMix64::new(5);
    let vectors: Vec<f32> = (0..items * 10).map(|_| rng.next_bell()).collect();
    let ids: Vec<u64> = (0..items).collect();
    let index = HashIndex::build(options, &vectors, &ids, &ids, Vec::new(), 1).unwrap();
    index.save(folder).unwrap();
    index
}

fn is_damaged(folder: &Path, bytes: &[u8]) -> bool {
    fs::write(folder.join(FILE_NAME), bytes).unwrap();
    matches!(HashIndex::open(folder), Err(Error::Damaged(_)))
}

#[test]
fn round_trip_answers_the_same_and_leaves_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    for (items, family) in [0, 1, 150, 700].iter().flat_map(|n| FAMILIES.map(|family| (*n, family))) {
        let index = saved(folder.path(), items, family);
        index.remove(&[3, 600]);
        index.save(folder.path()).unwrap();
        let reopened = HashIndex::open(folder.path()).unwrap();
        assert_eq!(reopened.options(), index.options());
        let queries = [0.3, -1.0, 0.5, 0.1, 0.9, -0.2, 0.4, 0.0, 0.7, 0.6];
        for k in [1, 20] {
            let options = SearchOptions { k, ..Default::default() };
            let (a, b) = (
                index.search(&queries, &options, 1).unwrap(),
                reopened.search(&queries, &options, 1).unwrap(),
            );
            assert_eq!((a.ids, a.scores, a.codes_scanned), (b.ids, b.scores, b.codes_scanned));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), 300, FAMILIES[0]);
    let good = fs::read(folder.path().join(FILE_NAME)).unwrap();
    let mut rng = SplitMix64::new(8);
    for trial in 0..600 {
        let at = if trial < 150 { trial } else { rng.next_u64() as usize % good.len() };
        let mut bad = good.clone();
        bad[at] ^= 1 << (rng.next_u64() % 8);
        assert!(is_damaged(folder.path(), &bad), "flip at {at}");
        assert!(is_damaged(folder.path(), &good[..at]), "cut at {at}");
    }
    assert!(is_damaged(folder.path(), &[good.as_slice(), &[0]].concat()));
    assert!(!is_damaged(folder.path(), &good));
    fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    assert!(matches!(HashIndex::open(folder.path()), Err(Error::Damaged(_))));
}

#[test]
fn absurd_headers_with_a_right_checksum_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        saved(folder.path(), 300, family);
        let good = fs::read(folder.path().join(FILE_NAME)).unwrap();
        let body = good.len() - 8;
        for field in 0..12 {
            if field == 4 || field == 10 {
                continue; // any seed and any training size is possible
            }
            for value in [1u64, 7, 23, 301, 1 << 20, 1 << 40, u64::MAX] {
                let mut bad = good.clone();
                bad[16 + 8 * field..][..8].copy_from_slice(&value.to_le_bytes());
                if bad == good {
                    continue;
                }
                let sum = xxh3_64(&bad[..body]);
                bad[body..].copy_from_slice(&sum.to_le_bytes());
                assert!(is_damaged(folder.path(), &bad), "{family:?}, field {field} = {value}");
            }
        }
    }
    saved(folder.path(), 300, FAMILIES[0]);
    let good = fs::read(folder.path().join(FILE_NAME)).unwrap();
    let mut newer = good;
    newer[8] = 3;
    fs::write(folder.path().join(FILE_NAME), &newer).unwrap();
    let error = HashIndex::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("format version 3"), "{error}");
}
