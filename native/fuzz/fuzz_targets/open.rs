//! Any bytes as a stored index, with the checksum put right so that what lies behind it is reached.

#![no_main]

#[path = "../../core/tests/common/damage.rs"]
mod damage;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for the file"));

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    damage::seal(&mut bytes);
    damage::open_and_use(FOLDER.path(), &bytes);
});
