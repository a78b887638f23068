//! Files that were made to mislead: parts that agree with each other behind a right checksum.

#[path = "common/counting.rs"]
mod counting;
#[path = "common/damage.rs"]
mod damage;
#[path = "common/parts.rs"]
mod parts;
#[path = "common/survives.rs"]
mod survives;

use std::fs;
use std::path::Path;

use counting::held_and_most;
use damage::{seal, store};
use lookalike_core::chunk::Rerank;
use lookalike_core::format::FILE_NAME;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Error, Family, HashIndex, IndexOptions};
use parts::{Parts, parts};
use survives::{ABSURD_BYTES, survives};

const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)];

const MARK: u64 = 0xA5C3_0000_0000_0000;

/// A stored index of 300 items whose ids, from [`MARK`] on, are found in its bytes nowhere else.
fn marked(folder: &Path, family: (Family, usize)) -> Vec<u8> {
    marked_as(folder, family, Rerank::F32)
}

fn marked_as(folder: &Path, (family, tables): (Family, usize), rerank: Rerank) -> Vec<u8> {
    let options =
        IndexOptions { dim: 10, bits: 128, family, tables, rerank, rotation: RotationKind::Random, seed: 3 };
    let mut rng = SplitMix64::new(5);
    let vectors: Vec<f32> = (0..300 * 10).map(|_| rng.next_bell()).collect();
    let ids: Vec<u64> = (MARK..MARK + 300).collect();
    HashIndex::build(options, Batch::new(&vectors, &ids, &[5; 300]), 1).unwrap().save(folder).unwrap();
    fs::read(folder.join(FILE_NAME)).unwrap()
}

/// The file with another id (or product) in the first `rows` of the rows of item 7.
fn renamed(good: &[u8], part: usize, to: u64, rows: usize) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let name = (MARK + 7).to_le_bytes();
    let found: Vec<usize> = (0..good.len() - 8).filter(|at| good[*at..].starts_with(&name)).collect();
    for at in &found[..rows] {
        bytes[at + 8 * part..][..8].copy_from_slice(&to.to_le_bytes());
    }
    seal(&mut bytes);
    bytes
}

#[test]
fn an_id_has_one_row_in_each_table_and_a_row_one_id() {
    let folder = tempfile::tempdir().unwrap();
    for (family, tables) in FAMILIES {
        let good = marked(folder.path(), (family, tables));
        assert!(survives(folder.path(), &renamed(&good, 0, MARK + 7_000, tables), "an id of its own"));
        let refused = |bytes: &[u8], part: &str| {
            store(folder.path(), bytes);
            let Err(Error::Damaged(message)) = HashIndex::open(folder.path()) else { panic!("it is opened") };
            assert!(message.contains(part), "{family:?}: {message}");
        };
        refused(&renamed(&good, 0, MARK + 8, tables), "two items with one id");
        refused(&renamed(&good, 0, u64::MAX, tables), "no item can have");
        refused(&renamed(&good, 1, u64::MAX, tables), "no item can have");
        if tables > 1 {
            refused(&renamed(&good, 0, MARK + 7_000, 1), "another id in another table");
        }
    }
}

#[test]
fn rows_nearer_to_their_item_than_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for rerank in [Rerank::Int8, Rerank::F16] {
        let good = marked_as(folder.path(), FAMILIES[0], rerank);
        let id = (MARK + 7).to_le_bytes();
        let record = (0..good.len() - 8).find(|at| good[*at..].starts_with(&id)).unwrap();
        for error in [-1e-3, f32::NAN, f32::NEG_INFINITY, 0.0, 0.25, f32::INFINITY] {
            let mut bytes = good.clone();
            bytes[record + 16..][..4].copy_from_slice(&error.to_le_bytes());
            seal(&mut bytes);
            assert_eq!(survives(folder.path(), &bytes, "an error"), error >= 0.0, "{rerank:?} {error}");
        }
    }
}

/// Attributes of far more items, and far more scattered ones, than there are rows.
#[test]
fn attributes_of_items_that_are_not_there_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let good = marked(folder.path(), FAMILIES[0]);
    let Parts { attributes, rows, .. } = parts(&good);
    let with = |ordinals: u32, stored: &[u32]| {
        let mut bytes = good[..attributes].to_vec();
        bytes[16 + 8 * 9..][..8].copy_from_slice(&u64::from(ordinals).to_le_bytes());
        bytes.extend((4 * stored.len() as u64).to_le_bytes());
        bytes.extend(stored.iter().flat_map(|value| value.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        bytes.extend(&good[rows..]);
        seal(&mut bytes);
        bytes
    };
    // No terms, one run of items, no rows of attributes.
    assert_eq!(with(300, &[0, 1, 0, 300, 0]), good);
    for items in [301, 1 << 20, u32::MAX] {
        assert!(!survives(folder.path(), &with(items, &[0, 1, 0, items, 0]), &format!("{items} items")));
    }
    // A category, then runs of one item, and the row of each: all in pages of their own.
    let mut stored = vec![1, 0, 4, u32::from_le_bytes(*b"shoe"), 300_000];
    stored.extend((0..300_000).flat_map(|at| [at * 1024, 1]));
    stored.push(300_000);
    stored.extend((0..300_000).flat_map(|at| [at * 1024, 1, 2]));
    assert!(!survives(folder.path(), &with(299_999 * 1024 + 1, &stored), "scattered items"));
}

/// Lengths of documents that add up, but to others than those of the items that there are.
#[test]
fn documents_are_those_of_items_that_are_there_and_no_longer_than_one_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let options = IndexOptions {
        dim: 10,
        bits: 128,
        family: Family::Learned,
        tables: 1,
        rerank: Rerank::F32,
        rotation: RotationKind::Random,
        seed: 3,
    };
    let mut rng = SplitMix64::new(5);
    let vectors: Vec<f32> = (0..300 * 10).map(|_| rng.next_bell()).collect();
    let ids: Vec<u64> = (0..300).collect();
    let documents: Vec<Vec<u8>> = ids.iter().map(|id| vec![*id as u8; 5]).collect();
    let batch =
        Batch::new(&vectors, &ids, &ids).with_documents(documents.iter().map(Vec::as_slice).collect());
    let index = HashIndex::build(options, batch, 1).unwrap();
    index.remove(&[1, 2]);
    index.save(folder.path()).unwrap();
    let good = fs::read(folder.path().join(FILE_NAME)).unwrap();
    let at = parts(&good).documents;
    assert_eq!(good.len() - 8, at + 300 * 4 + 298 * 5);
    let with = |lengths: &[(usize, u32)]| {
        let mut bytes = good.clone();
        for (ordinal, length) in lengths {
            bytes[at + 4 * ordinal..][..4].copy_from_slice(&length.to_le_bytes());
        }
        seal(&mut bytes);
        store(folder.path(), &bytes);
        match HashIndex::open(folder.path()) {
            Ok(index) => Ok(index),
            Err(Error::Damaged(message)) => Err(message),
            Err(error) => panic!("{error}"),
        }
    };
    let refused = |lengths: &[(usize, u32)], why: &str| {
        let message = with(lengths).expect_err("it is opened");
        assert!(message.contains(why), "{message}");
    };
    let index = with(&[]).unwrap();
    assert_eq!(index.documents(&[0, 1, 299]), [Some(vec![0; 5]), None, Some(vec![43; 5])]);
    // The bytes of two neighbours, divided otherwise.
    let index = with(&[(0, 0), (3, 10)]).unwrap();
    assert_eq!(index.documents(&[0, 3]), [Some(vec![]), Some(vec![0, 0, 0, 0, 0, 3, 3, 3, 3, 3])]);
    refused(&[(0, 0), (1, 5)], "an item that does not exist");
    refused(&[(0, 4)], "not the length");
    refused(&[(0, 6)], "not the length");
    refused(&[(7, u32::MAX), (8, 10)], "too long");
    refused(&[(7, (1 << 24) + 1)], "too long");
    let mut bytes = good.clone();
    bytes.splice(at + 300 * 4..at + 300 * 4, [1, 2, 3]);
    seal(&mut bytes);
    assert!(!survives(folder.path(), &bytes, "three more bytes"));
    bytes.truncate(at + 299 * 4);
    seal(&mut bytes);
    assert!(!survives(folder.path(), &bytes, "without the last lengths"));
}

/// A file like `good` with other contents between two parts, and as many lists of which only the first have rows.
fn with_lists(good: &[u8], per_table: u64, partition: &[u8], lists: usize) -> Vec<u8> {
    let at = parts(good);
    let mut bytes = good[..at.mean].to_vec();
    bytes[16 + 8 * 11..][..8].copy_from_slice(&per_table.to_le_bytes());
    bytes.extend([&good[at.mean..at.partition], partition].concat());
    let end = bytes.len() + 4 * lists;
    bytes.extend(&good[at.lists..at.attributes]);
    bytes.resize(end, 0);
    bytes.extend(&good[at.attributes..at.attributes + 28]);
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    bytes.extend(&good[at.rows..]);
    seal(&mut bytes);
    bytes
}

#[test]
fn empty_buckets_take_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let good = marked(folder.path(), (Family::Hyperplane, 1));
    for planes in [12, 17, 21, 24] {
        let bytes = with_lists(&good, planes, &vec![0; 44 * planes as usize], 1 << planes);
        store(folder.path(), &bytes);
        let (before, _) = held_and_most();
        let opened = HashIndex::open(folder.path()).is_ok();
        let held = held_and_most().1.saturating_sub(before);
        assert_eq!(opened, planes <= 20, "{planes} planes");
        assert!(held < ABSURD_BYTES, "{held} bytes held with {planes} planes");
    }
    // As many groups as cells, each of which takes the room of a whole block of codes.
    let good = marked(folder.path(), FAMILIES[0]);
    for cells in [1u32 << 15, 1 << 18, 1 << 20] {
        let sizes = [1, u64::from(cells) + 1].map(u64::to_le_bytes);
        let floats = vec![0.1f32; 10 * (cells as usize + 1)];
        let groups: Vec<u32> = (0..=cells).collect();
        let floats = floats.iter().flat_map(|value| value.to_le_bytes());
        let groups = groups.iter().flat_map(|value| value.to_le_bytes());
        let partition: Vec<u8> = sizes.into_iter().flatten().chain(floats).chain(groups).collect();
        let bytes = with_lists(&good, cells.into(), &partition, cells as usize);
        let (before, _) = held_and_most();
        store(folder.path(), &bytes);
        let opened = HashIndex::open(folder.path()).is_ok();
        let held = held_and_most().1.saturating_sub(before);
        assert_eq!(opened, cells < 1 << 18, "{cells} cells");
        assert!(held < ABSURD_BYTES, "{held} bytes held with {cells} cells");
    }
}
