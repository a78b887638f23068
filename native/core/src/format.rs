//! The stored form: one little-endian file, `index.lkx`, in a folder of its own, mapped when it is opened.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `LKHASHIX` |
//! | 4 | format version, u32 |
//! | 4 | reserved, zero |
//! | 8 × 13 | header, u64: dim, bits, family (0: learned, 1: hyperplane, 2: cross-polytope), tables, seed, form of the vectors (bytes of a coordinate), metric (0: cosine), items, removed rows, ordinals, trained_on, cells, hyperplanes per table, or cross-polytope buckets, rotation (0: random, 1: learned) |
//! | … | recall by effort f32 (9), slack f32; see [`crate::index::calibration`] |
//! | … | mean f32 (dim) · learned rotation: matrix f32 (dim, dim) |
//! | … | learned: directions, groups + 1 or 0 (u64) · centroids f32 (cells, dim) · directions f32 (directions, dim) · groups u32; hyperplane: normals f32 (tables, planes, dim) · offsets f32 (tables, planes) |
//! | … | rows of each list, u32 (tables × buckets) · ordinals of removed rows, u32 · length u64 and bytes of the attributes, see [`crate::attributes`]; zeros up to a multiple of 64 bytes |
//! | … | the blocks of the lists, one after another, then their columns; see [`crate::chunk`] |
//! | 8 | XXH3-64 of all bytes before |
//!
//! With few items there are no buckets, nor what makes them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::attributes::Attributes;
use crate::cells::{Cells, CellsParts};
use crate::chunk::{Chunk, Rerank};
use crate::codebook::Codebook;
use crate::cross_polytope::{CrossPolytopes, MAX_BUCKETS};
use crate::error::{Error, Result, damaged};
use crate::filter::Filter;
use crate::index::IndexOptions;
use crate::index::calibration::{Calibration, STEPS};
use crate::index::list::{List, Run};
use crate::index::state::{BUCKETS_SEED, State};
use crate::memory::{ALIGN, Buffer};
use crate::partition::{Family, Partition};
use crate::planes::Planes;
use crate::probe::MAX_PLANES;
use crate::rotation::{LearnedRotation, Rotation, RotationKind};

/// The file inside the folder.
pub const FILE_NAME: &str = "index.lkx";
const MAGIC: &[u8; 8] = b"LKHASHIX";
/// Raised whenever older readers could misread a file.
pub const VERSION: u32 = 5;
const PREFIX: usize = 16;
const HEADER_FIELDS: usize = 13;
/// More than a build ever makes; keeps a damaged header from claiming absurd sizes.
const MAX_CELLS: usize = 1 << 20;

/// Writes `state` to `folder`: a temporary file, synced, renamed over the old one.
pub fn save(options: &IndexOptions, state: &State, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    // Two saves at once must not write one file.
    static SAVES: AtomicU64 = AtomicU64::new(0);
    let number = SAVES.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{FILE_NAME}.{}.{number}.tmp", std::process::id()));
    let written = write_file(options, state, &temporary)
        .and_then(|()| fs::rename(&temporary, folder.join(FILE_NAME)))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // The first error is the one to report; a left-over temporary file is never read.
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Maps `folder` back, checking every byte before use.
pub fn open(folder: &Path) -> Result<(IndexOptions, State)> {
    let file = File::open(folder.join(FILE_NAME)).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(format!("no stored index: {FILE_NAME} is missing")),
        _ => Err(Error::Io(error)),
    })?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length < PREFIX + 8 {
        return damaged(format!("{FILE_NAME} is not a hash index, or its start is lost"));
    }
    read(&file, &Buffer::map(&file, 0..length)?)
}

fn write_file(options: &IndexOptions, state: &State, path: &Path) -> io::Result<()> {
    let mut out = Checked { file: io::BufWriter::new(File::create(path)?), hash: Xxh3::new(), length: 0 };
    let codebook = &*state.codebook;
    let partition = codebook.partition.as_ref();
    out.put(MAGIC)?;
    out.put(&VERSION.to_le_bytes())?;
    out.put(&[0; 4])?;
    let header = [
        options.dim as u64,
        options.bits as u64,
        match options.family {
            Family::Learned => 0,
            Family::Hyperplane => 1,
            Family::CrossPolytope => 2,
        },
        options.tables as u64,
        options.seed,
        options.rerank.width() as u64,
        0,
        state.live as u64,
        removed_ordinals(state).len() as u64,
        u64::from(ordinals_in_use(&state.lists, state)),
        codebook.trained_on as u64,
        match partition {
            None => 0,
            Some(Partition::Learned(cells)) => cells.count() as u64,
            Some(Partition::Hyperplane(planes)) => planes.per_table as u64,
            Some(Partition::CrossPolytope(polytopes)) => polytopes.buckets() as u64,
        },
        match options.rotation {
            RotationKind::Random => 0,
            RotationKind::Learned => 1,
        },
    ];
    out.put_all(header.map(u64::to_le_bytes))?;
    out.put(bytemuck::cast_slice(&state.calibration.recall))?;
    out.put(&state.calibration.slack.to_le_bytes())?;
    out.put(bytemuck::cast_slice(&codebook.mean))?;
    if let Rotation::Learned(rotation) = &codebook.rotation {
        out.put(bytemuck::cast_slice(rotation.matrix()))?;
    }
    match partition {
        None | Some(Partition::CrossPolytope(_)) => {}
        Some(Partition::Learned(cells)) => {
            let parts = cells.clone().into_parts();
            out.put_all(
                [parts.directions.len() / parts.dim, parts.groups.len()].map(|n| (n as u64).to_le_bytes()),
            )?;
            out.put(bytemuck::cast_slice(&parts.centroids))?;
            out.put(bytemuck::cast_slice(&parts.directions))?;
            out.put(bytemuck::cast_slice(&parts.groups))?;
        }
        Some(Partition::Hyperplane(planes)) => {
            out.put(bytemuck::cast_slice(&planes.normals))?;
            out.put(bytemuck::cast_slice(&planes.offsets))?;
        }
    }
    let stored = |(list, bucket): (&List, u32)| list.stored(codebook, bucket);
    out.put_all(state.lists.iter().map(|list| (list.rows() as u32).to_le_bytes()))?;
    out.put_all(removed_ordinals(state).into_iter().map(u32::to_le_bytes))?;
    let mut attributes = Vec::new();
    state.attributes.serialise(&mut attributes);
    out.put(&(attributes.len() as u64).to_le_bytes())?;
    out.put(&attributes)?;
    out.put(&vec![0; out.length.next_multiple_of(ALIGN) - out.length])?;
    for part in 0..2 {
        for chunk in state.lists.iter().zip(0..).filter_map(stored) {
            out.put(chunk.parts()[part])?;
        }
    }
    let hash = out.hash.digest();
    out.put(&hash.to_le_bytes())?;
    out.file.into_inner()?.sync_all()
}

/// One more than the highest ordinal in the lists.
fn ordinals_in_use(lists: &[List], state: &State) -> u32 {
    let runs = lists.iter().flat_map(List::runs);
    let ordinals = runs.flat_map(|run| run.chunk().view(state.layout()).ordinals);
    ordinals.max().map_or(0, |most| most + 1)
}

/// Ordinals of removed rows that are still in the lists, ascending, each once.
fn removed_ordinals(state: &State) -> BTreeSet<u32> {
    let runs = state.lists.iter().filter(|list| list.removed() > 0).flat_map(List::runs);
    let removed = |run: &Run, ordinals: &[u32]| -> Vec<u32> {
        (0..ordinals.len()).filter(|row| !run.is_live(*row)).map(|row| ordinals[row]).collect()
    };
    runs.flat_map(|run| removed(run, run.chunk().view(state.layout()).ordinals)).collect()
}

/// A writer that hashes and counts what it writes.
struct Checked {
    file: io::BufWriter<File>,
    hash: Xxh3,
    length: usize,
}

impl Checked {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len();
        self.file.write_all(bytes)
    }

    fn put_all<const N: usize>(&mut self, values: impl IntoIterator<Item = [u8; N]>) -> io::Result<()> {
        let bytes: Vec<u8> = values.into_iter().flatten().collect();
        self.put(&bytes)
    }
}

fn read(file: &File, bytes: &[u8]) -> Result<(IndexOptions, State)> {
    if &bytes[..8] != MAGIC {
        return damaged(format!("{FILE_NAME} is not a hash index, or its start is lost"));
    }
    let end = bytes.len() - 8;
    let mut input = Input { bytes: &bytes[8..end], end };
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
    read_body(input, file)
}

fn read_body(mut input: Input, file: &File) -> Result<(IndexOptions, State)> {
    let header = input.u64s(HEADER_FIELDS)?;
    let size = |at: usize| usize::try_from(header[at]).unwrap_or(usize::MAX);
    let family = match header[2] {
        0 => Family::Learned,
        1 => Family::Hyperplane,
        2 => Family::CrossPolytope,
        other => return damaged(format!("{FILE_NAME} names the unknown family {other}")),
    };
    let rerank = match header[5] {
        1 => Rerank::Int8,
        2 => Rerank::F16,
        4 => Rerank::F32,
        other => return damaged(format!("{FILE_NAME} has vectors of {other} bytes a coordinate")),
    };
    let rotation = match header[12] {
        0 => RotationKind::Random,
        1 => RotationKind::Learned,
        other => return damaged(format!("{FILE_NAME} names the unknown rotation {other}")),
    };
    let (dim, bits, tables, seed) = (size(0), size(1), size(3), header[4]);
    let options = IndexOptions { dim, bits, family, tables, rerank, rotation, seed };
    options.check().or_else(|error| damaged(error.to_string()))?;
    let (live, removed, ordinals, trained_on, per_table) = (size(7), size(8), size(9), size(10), size(11));
    let most = match family {
        Family::Learned => MAX_CELLS,
        Family::Hyperplane => MAX_PLANES,
        Family::CrossPolytope => MAX_BUCKETS,
    };
    let absurd = ordinals.max(trained_on) > u32::MAX as usize;
    if per_table > most || absurd || live.saturating_add(removed) > ordinals || header[6] != 0 {
        return damaged(format!("{FILE_NAME} has a header out of range"));
    }
    let mut calibration = Calibration::default();
    calibration.recall.copy_from_slice(&input.f32s(STEPS)?);
    calibration.slack = input.f32s(1)?[0];
    let shares = calibration.recall.iter().all(|share| (0.0..=1.0).contains(share));
    if !shares || !calibration.recall.is_sorted() || calibration.slack.is_nan() || calibration.slack <= 0.0 {
        return damaged(format!("{FILE_NAME} has a calibration out of range"));
    }
    let mean = input.f32s(options.dim)?;
    let matrix = (rotation == RotationKind::Learned).then(|| input.f32s(dim * dim)).transpose()?;
    let partition = read_partition(&mut input, &options, &mean, per_table)?;
    let mut codebook = Codebook::new(options.layout(), partition, mean, trained_on, seed);
    if let Some(matrix) = matrix {
        codebook.rotation = Rotation::Learned(LearnedRotation::from_matrix(dim, matrix));
    }
    let sizes = input.u32s(codebook.buckets())?;
    let mut dead = RoaringBitmap::new();
    if input.u32s(removed)?.iter().any(|ordinal| *ordinal as usize >= ordinals || !dead.insert(*ordinal)) {
        return damaged(format!("{FILE_NAME} removes a row twice, or one out of range"));
    }
    let length = usize::try_from(input.u64s(1)?[0]).unwrap_or(usize::MAX);
    let attributes = input.take::<1>(length)?.as_flattened();
    let lists = read_lists(input, file, &codebook, &sizes, &dead)?;
    if live > lists.iter().map(List::rows).sum() {
        return damaged(format!("{FILE_NAME} does not hold the rows that its header says"));
    }
    let attributes = Attributes::deserialise(attributes, ordinals as u32)?;
    let removed = lists.iter().map(List::removed).sum();
    let ordinals = ordinals as u32;
    let codebook = Arc::new(codebook);
    let state = State { codebook, lists, live, removed, ordinals, attributes, calibration };
    check_rows(&state)?;
    Ok((options, state))
}

fn read_partition(
    input: &mut Input,
    options: &IndexOptions,
    mean: &[f32],
    per_table: usize,
) -> Result<Option<Partition>> {
    let IndexOptions { dim, tables, family, .. } = *options;
    Ok(match family {
        _ if per_table == 0 => None,
        Family::Learned => Some(Partition::Learned(read_cells(input, dim, per_table)?)),
        Family::Hyperplane => {
            let normals = input.f32s(tables * per_table * dim)?;
            let offsets = input.f32s(tables * per_table)?;
            Some(Partition::Hyperplane(Planes { dim, tables, per_table, normals, offsets }))
        }
        Family::CrossPolytope => {
            let seed = options.seed ^ BUCKETS_SEED;
            let polytopes = CrossPolytopes::new(mean.to_vec(), tables, per_table.max(2), seed);
            if polytopes.buckets() != per_table {
                return damaged(format!("{FILE_NAME} has cross-polytopes of {per_table} buckets"));
            }
            Some(Partition::CrossPolytope(polytopes))
        }
    })
}

fn read_cells(input: &mut Input, dim: usize, count: usize) -> Result<Cells> {
    let sizes = input.u64s(2)?;
    let [directions, groups] = [sizes[0], sizes[1]].map(|size| size.min(1 << 32) as usize);
    let parts = CellsParts {
        dim,
        centroids: input.f32s(count * dim)?,
        directions: input.f32s(directions * dim)?,
        groups: input.u32s(groups)?,
    };
    if !parts.fits() {
        return damaged(format!("{FILE_NAME} has groups of cells that do not fit together"));
    }
    Ok(Cells::from_parts(parts))
}

fn read_lists(
    mut input: Input,
    file: &File,
    codebook: &Codebook,
    sizes: &[u32],
    dead: &RoaringBitmap,
) -> Result<Vec<List>> {
    let layout = codebook.layout;
    let sizes_of = |part: usize| sizes.iter().map(move |rows| layout.chunk_bytes(*rows as usize)[part]);
    let [blocks, columns] = [0, 1].map(|part| sizes_of(part).fold(0usize, usize::saturating_add));
    input.take::<1>(input.place().next_multiple_of(ALIGN) - input.place())?;
    // Scattered over the pages of a file, codes are read a third slower.
    let blocks = Buffer::copy_of(input.take::<1>(blocks)?.as_flattened());
    if input.bytes.len() != columns {
        return damaged(format!("{FILE_NAME} has not the length that its header says"));
    }
    let columns = Buffer::map(file, input.place()..input.end)?;
    let [block_sizes, column_sizes] = [0, 1].map(|part| sizes_of(part).collect::<Vec<_>>());
    let parts = blocks.cut(&block_sizes).zip(columns.cut(&column_sizes));
    let mut lists = Vec::with_capacity(sizes.len());
    for (rows, (blocks, columns)) in sizes.iter().zip(parts) {
        let main = (*rows > 0).then(|| Chunk::new([blocks, columns], *rows as usize, &layout));
        if main.as_ref().is_some_and(|chunk| !chunk.hides_padding()) {
            return damaged(format!("{FILE_NAME} has rows beyond the last"));
        }
        lists.push(List::of(main).without(&layout, dead));
    }
    Ok(lists)
}

/// Every ordinal is in range and lies at most once in a table; those that can be found lie in all tables and
/// have attributes.
fn check_rows(state: &State) -> Result<()> {
    let findable = state.attributes.evaluate(&Filter::default());
    let mut end = 0;
    for lists in state.lists.chunks(state.first_table().len()) {
        let (mut all, mut found, mut known) = (Vec::new(), 0, true);
        for run in lists.iter().flat_map(List::runs) {
            let ordinals = run.chunk().view(state.layout()).ordinals;
            all.extend_from_slice(ordinals);
            found += ordinals.len() - run.removed();
            known &= run.live_rows().all(|row| findable.contains(ordinals[row]));
        }
        // Sorted rather than in a set as large as the greatest, which a damaged file may choose.
        all.sort_unstable();
        end = all.last().map_or(0, |last| u64::from(*last) + 1).max(end);
        if !all.is_sorted_by(|a, b| a < b) {
            return damaged(format!("{FILE_NAME} holds a row twice"));
        }
        if !known || [found as u64, findable.len()] != [state.live as u64; 2] {
            return damaged(format!("{FILE_NAME} does not hold the rows that its header says"));
        }
    }
    if end != u64::from(state.ordinals) {
        return damaged(format!("{FILE_NAME} does not hold the ordinals that its header says"));
    }
    Ok(())
}

/// The bytes not yet read.
struct Input<'a> {
    bytes: &'a [u8],
    /// Where they end in the file.
    end: usize,
}

impl<'a> Input<'a> {
    /// Where the next byte lies in the file.
    fn place(&self) -> usize {
        self.end - self.bytes.len()
    }

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
