//! The stored form: one little-endian file, `index.lkx`, in a folder of its own, mapped when it is opened.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `LKHASHIX` |
//! | 4 | format version, u32 |
//! | 4 | reserved, zero |
//! | 8 × 13 | header, u64: dim, bits, family (0: learned, 1: hyperplane, 2: cross-polytope), tables, seed, form of the vectors (bytes of a coordinate), metric (0: cosine), items, removed rows, ordinals, trained_on, cells, hyperplanes per table, or cross-polytope buckets, rotation (0: random, 1: learned) |
//! | … | recall by effort f32 (9), slack f32; see [`crate::index::calibration`] |
//! | … | mean f32 (dim); learned rotation: matrix f32 (dim, dim) |
//! | … | learned: directions, groups + 1 or 0 (u64) · centroids f32 (cells, dim) · directions f32 (directions, dim) · groups u32; hyperplane: normals f32 (tables, planes, dim) · offsets f32 (tables, planes) |
//! | … | rows of each bucket, u32 (tables × buckets) · ordinals of removed rows, u32 · length u64 and bytes of the attributes, see [`crate::attributes`]; zeros up to a multiple of 64 bytes |
//! | … | the blocks of the buckets, one after another, then their columns; see [`crate::chunk`] |
//! | … | bytes of the document of each ordinal, u32; the documents, one after another; see [`crate::documents`] |
//! | 8 | XXH3-64 of all bytes before |
//!
//! With few items there are no buckets, nor what makes them.
//!
//! `write` and `read` follow the table from top to bottom; what the rows must be like for an index to work with
//! them is in `check`.

mod check;
mod input;
mod read;
mod temporary;
mod write;

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::{Result, at, damaged, invalid};
use crate::index::HashIndex;
use crate::index::options::IndexOptions;
use crate::index::state::State;
use crate::memory::Buffer;
use read::read;
use write::write_file;

/// The file inside the folder.
pub const FILE_NAME: &str = "index.lkx";
const MAGIC: &[u8; 8] = b"LKHASHIX";
/// Raised whenever older readers could misread a file.
pub const VERSION: u32 = 7;
const PREFIX: usize = 16;
const HEADER_FIELDS: usize = 13;

impl HashIndex {
    /// Stores the index in `folder` (made if missing), replacing one that is there in one step.
    ///
    /// During a rebuild it stores the items as they are, with the codebook that is in use.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the path is empty; [`crate::Error::Io`] if the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        save(self.options(), &self.snapshot(), folder)
    }

    /// Opens a stored index. One that was stored after it had lost most of its items, and before the rebuild that
    /// makes up for it was through, is rebuilt here.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] if the file is truncated, altered or of another version;
    /// [`crate::Error::Io`] if it cannot be read; [`crate::Error::Invalid`] if the path is empty.
    pub fn open(folder: &Path) -> Result<Self> {
        let (options, state) = open(folder)?;
        Ok(Self::from_state(options, state))
    }
}

/// Writes `state` to `folder`: a temporary file, synced, renamed over the old one. Removes those of saves that were
/// cut off.
fn save(options: &IndexOptions, state: &State, folder: &Path) -> Result<()> {
    check_name(folder)?;
    fs::create_dir_all(folder).map_err(at(folder))?;
    // Before, not after: they may be what fills the disk.
    temporary::remove_abandoned(folder);
    let (temporary, file) = temporary::create(folder)?;
    let path = folder.join(FILE_NAME);
    let written = write_file(options, state, &file)
        .map_err(at(&temporary))
        .and_then(|()| fs::rename(&temporary, &path).map_err(at(&path)))
        .and_then(|()| File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder)));
    if written.is_err() {
        // The first error is the one to report; the next save tries again to remove it.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Maps `folder` back, checking every byte before use. An index that has lost most of its items is retrained.
fn open(folder: &Path) -> Result<(IndexOptions, State)> {
    check_name(folder)?;
    let path = folder.join(FILE_NAME);
    // Before it is opened: a pipe would wait for someone to write to it.
    let metadata = fs::metadata(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(format!("no stored index: {FILE_NAME} is missing")),
        _ => Err(at(&path)(error)),
    })?;
    if !metadata.is_file() {
        return damaged(format!("no stored index: {FILE_NAME} is not a regular file"));
    }
    let file = File::open(&path).map_err(at(&path))?;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length < PREFIX + 8 {
        return damaged(format!("{FILE_NAME} is not a hash index, or its start is lost"));
    }
    let map = |part| Buffer::map(&file, part).map_err(at(&path));
    read(&map(0..length)?, map)
}

/// An empty path is the current folder to some calls and no folder at all to others.
fn check_name(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() {
        return invalid("folder must not be empty; the current one is \".\"");
    }
    Ok(())
}
