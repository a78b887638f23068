//! The file that a save writes before it gets its name, and what processes that ended meanwhile have left.
//!
//! Who writes one holds a lock on it, which ends with the process: one that can be locked is abandoned, whatever host
//! or container its process ran in, and whether or not that process's number was given again. Where the file system
//! has no locks, nothing is removed.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirEntry, File, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};

use crate::error::{Result, at};

const START: &str = ".index.lkx.";
const END: &str = ".tmp";

/// A new file under a name of its own, and its path. It must stay open until it is renamed or removed.
pub fn create(folder: &Path) -> Result<(PathBuf, File)> {
    loop {
        let number = RandomState::new().build_hasher().finish();
        let path = folder.join(format!("{START}{number:016x}{END}"));
        let file = File::create_new(&path).map_err(at(&path))?;
        // Before it was locked, another save may have taken it for abandoned.
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && path.exists() {
            return Ok((path, file));
        }
    }
}

/// Removes what nobody writes any more, as far as that is possible.
pub fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().filter(is_temporary).map(|entry| entry.path()) {
        // Some network file systems lock only what is open for writing.
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let named = name.to_str().is_some_and(|name| name.starts_with(START) && name.ends_with(END));
    named && entry.file_type().is_ok_and(|kind| kind.is_file())
}
