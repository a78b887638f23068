//! A damaged file is always refused with a typed error, never read wrongly and never a panic.

#[path = "common/counting.rs"]
mod counting;
#[path = "common/damage.rs"]
mod damage;
#[path = "common/parts.rs"]
mod parts;
#[path = "common/stored.rs"]
mod stored;
#[path = "common/survives.rs"]
mod survives;

use std::fs;
use std::path::Path;

use damage::{seal, store};
use lookalike_core::chunk::Rerank;
use lookalike_core::format::{FILE_NAME, VERSION};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Error, Family, HashIndex, IndexOptions, SearchOptions};
use parts::{Parts, parts};
use stored::{FAMILIES, varied};
use survives::survives;
use xxhash_rust::xxh3::xxh3_64;

fn saved(folder: &Path, items: u64, (family, tables): (Family, usize)) -> HashIndex {
    let options = IndexOptions {
        dim: 10,
        bits: 128,
        family,
        tables,
        rerank: Rerank::F32,
        rotation: RotationKind::Random,
        seed: 3,
    };
    let mut rng = SplitMix64::new(5);
    let vectors: Vec<f32> = (0..items * 10).map(|_| rng.next_bell()).collect();
    let ids: Vec<u64> = (0..items).collect();
    let index = HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 1).unwrap();
    index.save(folder).unwrap();
    index
}

fn is_damaged(folder: &Path, bytes: &[u8]) -> bool {
    store(folder, bytes);
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
            if field == 4 {
                continue; // any seed is possible
            }
            for value in [1u64, 7, 23, 301, 1 << 20, 1 << 40, u64::MAX] {
                let mut bad = good.clone();
                bad[16 + 8 * field..][..8].copy_from_slice(&value.to_le_bytes());
                // Any number of items of one index may have been trained on.
                if bad == good || field == 10 && value <= u64::from(u32::MAX) {
                    continue;
                }
                let sum = xxh3_64(&bad[..body]);
                bad[body..].copy_from_slice(&sum.to_le_bytes());
                assert!(is_damaged(folder.path(), &bad), "{family:?}, field {field} = {value}");
            }
        }
    }
}

#[test]
fn other_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), 300, FAMILIES[0]);
    let good = fs::read(folder.path().join(FILE_NAME)).unwrap();
    for version in [0, 1, VERSION - 1, VERSION + 1, 1 << 30] {
        let mut other = good.clone();
        other[8..12].copy_from_slice(&version.to_le_bytes());
        // With the checksum of its own, as the other program wrote it, and without.
        for sealed in [false, true] {
            if sealed {
                let body = other.len() - 8;
                let sum = xxh3_64(&other[..body]);
                other[body..].copy_from_slice(&sum.to_le_bytes());
            }
            store(folder.path(), &other);
            let error = HashIndex::open(folder.path()).unwrap_err();
            assert!(matches!(error, Error::Damaged(_)));
            let message = error.to_string();
            let expected =
                format!("format version {version}, this program reads {VERSION}; rebuild the index");
            assert!(message.contains(&expected), "{message}");
        }
    }
}

/// The smallest file that the first format version could have: an index without items of one dimension.
#[test]
fn the_first_version_is_named_even_where_its_file_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = b"LKHASHIX\x01\0\0\0\0\0\0\0".to_vec();
    // dim, bits, tables, seed, items, trained_on, cells, metric, family, then the mean.
    for field in [1u64, 64, 1, 0, 0, 0, 0, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(0f32.to_le_bytes());
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    store(folder.path(), &bytes);
    let message = HashIndex::open(folder.path()).unwrap_err().to_string();
    let expected = format!("format version 1, this program reads {VERSION}; rebuild the index");
    assert!(message.contains(&expected), "{message}");
}

const INTERESTING: [u32; 14] = [
    0,
    1,
    2,
    31,
    0xFF,
    0x7FFF_FFFF,
    0x8000_0000,
    u32::MAX - 1,
    u32::MAX,
    0x7FC0_0000, // NaN
    0x7F80_0000, // infinity
    0xFF7F_FFFF, // -f32::MAX
    0xFC00_7C00, // half-precision infinities
    0x0000_0001,
];

/// One random alteration of a kind that fuzzers make.
fn alter(bytes: &mut Vec<u8>, other: &[u8], rng: &mut SplitMix64) {
    let Parts { rows, documents, .. } = parts(other);
    let mut below = |n: usize| rng.next_u64() as usize % n.max(1);
    // Mostly in what describes the rows or the documents, else in these.
    let (start, length) = match below(8) {
        0 => (16, bytes.len()),
        1 => (documents.min(bytes.len().saturating_sub(32)).max(16), bytes.len()),
        _ => (16, bytes.len().min(rows)),
    };
    let at = start + below(length.saturating_sub(start + 16));
    match below(7) {
        0 => bytes[at] ^= 1 << below(8),
        1 => bytes[at] = below(256) as u8,
        2 | 3 => {
            let at = at / 4 * 4;
            bytes[at..at + 4].copy_from_slice(&INTERESTING[below(INTERESTING.len())].to_le_bytes());
        }
        4 => {
            let at = at / 4 * 4;
            let old = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let new = old.wrapping_add(below(9) as u32).wrapping_sub(4);
            bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
        }
        5 => {
            let count = below(200).min(bytes.len() - at).min(other.len());
            let from = below(other.len() - count + 1);
            bytes[at..at + count].copy_from_slice(&other[from..from + count]);
        }
        _ => match below(3) {
            0 => bytes.truncate(at.max(40)),
            1 => drop(bytes.drain(at..at + below(64).min(bytes.len() - at - 16))),
            _ => drop(bytes.splice(at..at, vec![0; 4 * below(40)])),
        },
    }
}

#[test]
fn random_damage_behind_a_right_checksum_is_refused_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let files = varied(folder.path(), usize::MAX);
    let mut rng = SplitMix64::new(31);
    let mut opened = 0;
    for trial in 0..2500 {
        let mut bytes = files[trial % files.len()].clone();
        let other = &files[rng.next_u64() as usize % files.len()];
        for _ in 0..1 + rng.next_u64() % 3 {
            alter(&mut bytes, other, &mut rng);
        }
        seal(&mut bytes);
        opened += usize::from(survives(folder.path(), &bytes, &format!("trial {trial}")));
    }
    // Else the alterations never reach what lies behind the checks, or no check works.
    assert!((250..2250).contains(&opened), "{opened} of 2500 files opened");
}

#[test]
fn absurd_parts_behind_a_right_checksum_are_refused_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    for (file, good) in varied(folder.path(), usize::MAX).iter().enumerate() {
        let Parts { mean, partition, lists, attributes, rows, documents } = parts(good);
        let altered = |at: usize, value: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + value.len()].copy_from_slice(value);
            seal(&mut bytes);
            bytes
        };
        assert!(survives(folder.path(), good, "nothing altered"), "file {file}");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0, 1e-45] {
            // Every float of the mean, and of centroids, directions, normals and offsets.
            for range in [mean..partition, partition + 16..lists] {
                let mut bytes = good.clone();
                let end = range.end.max(range.start);
                let floats = bytes[range.start.min(end)..end].as_chunks_mut::<4>().0;
                let count = floats.len();
                floats[..count / 2].fill(value.to_le_bytes());
                seal(&mut bytes);
                survives(folder.path(), &bytes, &format!("file {file}, {value} in {range:?}"));
            }
        }
        for value in [0u64, 1, 2, 33, 1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 40, u64::MAX] {
            for field in 0..12 {
                let bytes = altered(16 + 8 * field, &value.to_le_bytes());
                survives(folder.path(), &bytes, &format!("file {file}, field {field} = {value}"));
            }
            for at in [partition, partition + 8, attributes] {
                let opened = survives(folder.path(), &altered(at, &value.to_le_bytes()), "a length");
                assert!(!opened || at != attributes, "file {file}: attributes of {value} bytes");
            }
            for at in (lists..attributes).step_by(4).take(12) {
                let opened = survives(folder.path(), &altered(at, &(value as u32).to_le_bytes()), "a list");
                assert!(
                    !opened || altered(at, &(value as u32).to_le_bytes()) == *good,
                    "file {file}, list at {at}"
                );
            }
            for at in (attributes + 8..rows).step_by(4).take(60) {
                survives(folder.path(), &altered(at, &(value as u32).to_le_bytes()), "attributes");
            }
            for at in (documents..good.len() - 8).step_by(4).take(12) {
                let bytes = altered(at, &(value as u32).to_le_bytes());
                let opened = survives(folder.path(), &bytes, "the length of a document");
                assert!(!opened || bytes == *good, "file {file}, length at {at}");
            }
        }
    }
}
