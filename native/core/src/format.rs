//! The stored form: one little-endian file, `index.lkx`, in a folder of its own.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `LKHASHIX` |
//! | 4 | format version, u32 |
//! | 4 | reserved, zero |
//! | 8 × 9 | header, u64: dim, bits, tables, seed, items, trained_on, cells or hyperplanes per table, metric
//! (0: cosine), family (0: learned, 1: hyperplane) |
//! | … | mean f32 (dim) |
//! | … | learned: centroids f32 (cells, dim); hyperplane: normals f32 (tables, planes, dim) · offsets f32 (tables, planes) |
//! | … | ids u64 · products u64 · codes u64 (items, bits / 64) · buckets u32 (items, tables) · vectors f32 (items, dim) |
//! | 8 | XXH3-64 of all bytes before |
//!
//! With few items there are no buckets, nor what makes them. Only findable items are stored.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::cells::{Cells, CellsParts};
use crate::codes::Encoder;
use crate::error::{Error, Result, damaged};
use crate::index::IndexOptions;
use crate::index::state::{Codebook, State};
use crate::partition::{Family, Partition};
use crate::planes::Planes;
use crate::probe::MAX_PLANES;

/// The file inside the folder.
pub const FILE_NAME: &str = "index.lkx";
const MAGIC: &[u8; 8] = b"LKHASHIX";
/// Raised whenever older readers could misread a file.
pub const VERSION: u32 = 1;
const PREFIX: usize = 16;
const HEADER_FIELDS: usize = 9;
const HEADER: usize = PREFIX + 8 * HEADER_FIELDS;
/// More than a build ever makes; keeps a damaged header from claiming absurd sizes.
const MAX_CELLS: usize = 1 << 20;

/// Writes the findable items of `state` to `folder`: a temporary file, synced, renamed over the old one.
pub fn save(options: &IndexOptions, state: &State, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{FILE_NAME}.{}.tmp", std::process::id()));
    let written = write_file(options, state, &temporary)
        .and_then(|()| fs::rename(&temporary, folder.join(FILE_NAME)))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // The first error is the one to report; a left-over temporary file is never read.
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Reads `folder` back, checking every byte before use.
pub fn open(folder: &Path) -> Result<(IndexOptions, State)> {
    let bytes = fs::read(folder.join(FILE_NAME)).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(format!("no stored index: {FILE_NAME} is missing")),
        _ => Err(Error::Io(error)),
    })?;
    read(&bytes)
}

fn write_file(options: &IndexOptions, state: &State, path: &Path) -> io::Result<()> {
    let mut out = Checked { file: io::BufWriter::new(File::create(path)?), hash: Xxh3::new() };
    let partition = state.codebook.partition.as_ref();
    out.put(MAGIC)?;
    out.put(&VERSION.to_le_bytes())?;
    out.put(&[0; 4])?;
    let header = [
        options.dim as u64,
        options.bits as u64,
        options.tables as u64,
        options.seed,
        state.live() as u64,
        state.codebook.trained_on as u64,
        match partition {
            None => 0,
            Some(Partition::Learned(cells)) => cells.count() as u64,
            Some(Partition::Hyperplane(planes)) => planes.per_table as u64,
        },
        0,
        match options.family {
            Family::Learned => 0,
            Family::Hyperplane => 1,
        },
    ];
    out.put_all(header.map(u64::to_le_bytes))?;
    out.put_all(state.codebook.encoder.mean().iter().map(|v| v.to_le_bytes()))?;
    match partition {
        None => {}
        Some(Partition::Learned(cells)) => out.put_all(cells.centroids.iter().map(|v| v.to_le_bytes()))?,
        Some(Partition::Hyperplane(planes)) => {
            out.put_all(planes.normals.iter().chain(&planes.offsets).map(|v| v.to_le_bytes()))?;
        }
    }
    let rows = &state.rows;
    out.put_all(state.live_rows().map(|row| rows.id(row).to_le_bytes()))?;
    out.put_all(state.live_rows().map(|row| rows.product(row).to_le_bytes()))?;
    out.put_all(state.live_rows().flat_map(|row| rows.code(row)).map(|v| v.to_le_bytes()))?;
    if let Some(buckets) = &state.buckets {
        let all = buckets.assignments(rows.len());
        let of_row = |row: u32| &all[row as usize * buckets.tables()..][..buckets.tables()];
        out.put_all(state.live_rows().flat_map(of_row).map(|v| v.to_le_bytes()))?;
    }
    out.put_all(state.live_rows().flat_map(|row| rows.vector(row)).map(|v| v.to_le_bytes()))?;
    let hash = out.hash.digest();
    out.put(&hash.to_le_bytes())?;
    out.file.into_inner()?.sync_all()
}

/// A writer that hashes what it writes.
struct Checked {
    file: io::BufWriter<File>,
    hash: Xxh3,
}

impl Checked {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    fn put_all<const N: usize>(&mut self, values: impl IntoIterator<Item = [u8; N]>) -> io::Result<()> {
        let mut block = Vec::with_capacity(1 << 16);
        for value in values {
            block.extend_from_slice(&value);
            if block.len() + N > block.capacity() {
                self.put(&block)?;
                block.clear();
            }
        }
        self.put(&block)
    }
}

fn read(bytes: &[u8]) -> Result<(IndexOptions, State)> {
    if bytes.len() < HEADER + 8 || &bytes[..8] != MAGIC {
        return damaged(format!("{FILE_NAME} is not a hash index, or its start is lost"));
    }
    let mut input = Input { bytes: &bytes[8..bytes.len() - 8] };
    let version = u32::from_le_bytes(input.take::<4>(1)?[0]);
    let sum = u64::from_le_bytes(bytes[bytes.len() - 8..].try_into().expect("8 bytes"));
    if version != VERSION {
        return damaged(format!(
            "{FILE_NAME} has format version {version}, this program reads {VERSION}; rebuild the index"
        ));
    }
    if xxh3_64(&bytes[..bytes.len() - 8]) != sum {
        return damaged(format!("{FILE_NAME} fails its checksum: it is truncated or altered"));
    }
    input.take::<4>(1)?;
    read_body(input)
}

fn read_body(mut input: Input) -> Result<(IndexOptions, State)> {
    let header = input.u64s(HEADER_FIELDS)?;
    let size = |at: usize| usize::try_from(header[at]).unwrap_or(usize::MAX);
    let family = match header[8] {
        0 => Family::Learned,
        1 => Family::Hyperplane,
        other => return damaged(format!("{FILE_NAME} names the unknown family {other}")),
    };
    let options = IndexOptions { dim: size(0), bits: size(1), family, tables: size(2), seed: header[3] };
    options.check().or_else(|error| damaged(error.to_string()))?;
    let IndexOptions { dim, tables, .. } = options;
    let (items, trained_on, per_table) = (size(4), size(5), size(6));
    let most = if family == Family::Learned { MAX_CELLS } else { MAX_PLANES };
    if per_table > most || items > u32::MAX as usize || header[7] != 0 {
        return damaged(format!("{FILE_NAME} has a header out of range"));
    }
    let encoder = Encoder::new(input.f32s(dim)?, options.bits, options.seed);
    let partition = match family {
        _ if per_table == 0 => None,
        Family::Learned => {
            let centroids = input.f32s(per_table * dim)?;
            Some(Partition::Learned(Cells::from_parts(CellsParts {
                dim,
                centroids,
                ..CellsParts::default()
            })))
        }
        Family::Hyperplane => {
            let normals = input.f32s(tables * per_table * dim)?;
            let offsets = input.f32s(tables * per_table)?;
            Some(Partition::Hyperplane(Planes { dim, tables, per_table, normals, offsets }))
        }
    };
    let bucket_count = partition.as_ref().map_or(0, Partition::buckets);
    let mut state = State::empty(Codebook { encoder, partition, trained_on });
    let (ids, products) = (input.u64s(items)?, input.u64s(items)?);
    let words = options.bits / 64;
    let codes = input.u64s(size_of_table(items, words)?)?;
    if let Some(buckets) = &mut state.buckets {
        let of_rows = input.u32s(size_of_table(items, tables)?)?;
        if of_rows.iter().any(|bucket| *bucket as usize >= bucket_count) {
            return damaged(format!("{FILE_NAME} names a bucket that does not exist"));
        }
        buckets.extend(0, &of_rows);
    }
    let vectors = input.f32s(size_of_table(items, dim)?)?;
    if !input.bytes.is_empty() {
        return damaged(format!("{FILE_NAME} is longer than its header says"));
    }
    for (row, (id, product)) in ids.iter().zip(&products).enumerate() {
        state.rows.push(*id, *product, &codes[row * words..][..words], &vectors[row * dim..][..dim]);
    }
    Ok((options, state))
}

fn size_of_table(rows: usize, columns: usize) -> Result<usize> {
    rows.checked_mul(columns).ok_or_else(|| Error::Damaged(format!("{FILE_NAME} has impossible sizes")))
}

/// The bytes not yet read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]]> {
        match count.checked_mul(N).and_then(|length| self.bytes.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken.as_chunks().0)
            }
            None => damaged(format!("{FILE_NAME} is shorter than its header says")),
        }
    }

    fn u64s(&mut self, count: usize) -> Result<Vec<u64>> {
        Ok(self.take(count)?.iter().map(|v| u64::from_le_bytes(*v)).collect())
    }

    fn u32s(&mut self, count: usize) -> Result<Vec<u32>> {
        Ok(self.take(count)?.iter().map(|v| u32::from_le_bytes(*v)).collect())
    }

    fn f32s(&mut self, count: usize) -> Result<Vec<f32>> {
        Ok(self.take(count)?.iter().map(|v| f32::from_le_bytes(*v)).collect())
    }
}
