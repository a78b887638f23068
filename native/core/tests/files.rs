//! What a save leaves in its folder, and what is taken for an index.

use std::fs::{self, File};
use std::path::Path;

use lookalike_core::chunk::Rerank;
use lookalike_core::format::FILE_NAME;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Error, Family, HashIndex, IndexOptions};

fn index() -> HashIndex {
    let (family, rerank, rotation) = (Family::Learned, Rerank::F32, RotationKind::Random);
    let options = IndexOptions { dim: 2, bits: 64, family, tables: 1, rerank, rotation, seed: 1 };
    HashIndex::build(options, Batch::new(&[1.0, 0.0, 0.0, 1.0], &[1, 2], &[1, 2]), 1).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_save_removes_what_cut_off_ones_left_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".index.lkx.17.0.tmp", ".index.lkx.00ff.tmp", "other.tmp", ".index.lkx.bak"] {
        fs::write(folder.path().join(name), "half an index").unwrap();
    }
    fs::create_dir(folder.path().join(".index.lkx.folder.tmp")).unwrap();
    let written = File::create(folder.path().join(".index.lkx.01.tmp")).unwrap();
    written.lock().unwrap();
    index().save(folder.path()).unwrap();
    let others = [".index.lkx.bak", ".index.lkx.folder.tmp"];
    let rest = [FILE_NAME, "other.tmp"];
    assert_eq!(names(folder.path()), [&[".index.lkx.01.tmp"], &others[..], &rest[..]].concat());
    drop(written);
    index().save(folder.path()).unwrap();
    assert_eq!(names(folder.path()), [&others[..], &rest[..]].concat());
}

#[test]
fn saves_at_once_leave_one_whole_index() {
    let folder = tempfile::tempdir().unwrap();
    let index = index();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| index.save(folder.path()).unwrap()));
        }
    });
    assert_eq!(names(folder.path()), [FILE_NAME]);
    assert_eq!(HashIndex::open(folder.path()).unwrap().stats().items, 2);
}

#[test]
fn a_folder_in_place_of_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(FILE_NAME)).unwrap();
    let error = HashIndex::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
}
