//! Reading the stored form, part after part in the order of the file; every byte is checked before use.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::check::findable;
use super::input::Input;
use super::{FILE_NAME, HEADER_FIELDS, MAGIC, VERSION};
use crate::attributes::Attributes;
use crate::cells::{Cells, CellsParts};
use crate::chunk::{Chunk, Rerank};
use crate::codebook::Codebook;
use crate::cross_polytope::CrossPolytopes;
use crate::documents::{Documents, MAX_DOCUMENT_BYTES};
use crate::error::{Result, damaged};
use crate::index::bucket::Bucket;
use crate::index::calibration::{Calibration, STEPS};
use crate::index::options::IndexOptions;
use crate::index::policy;
use crate::index::state::State;
use crate::index::train::BUCKETS_SEED;
use crate::memory::{ALIGN, Buffer};
use crate::partition::{Family, Partition};
use crate::planes::Planes;
use crate::rotation::{LearnedRotation, Rotation, RotationKind};

/// Cells, hyperplanes and buckets of cross-polytopes of one table: more than a build ever makes. They keep a small
/// file from asking for absurdly much memory: an empty bucket takes 4 bytes of it, a bucket in memory 160.
const MAX_CELLS: usize = 1 << 17;
const MAX_PLANES: usize = 20;
const MAX_BUCKETS: usize = 1 << 16;

/// Checks start and end of a file and reads what lies between; `bytes` are all of it, `map` maps a part of it.
pub fn read(bytes: &[u8], map: impl Fn(Range<usize>) -> Result<Buffer>) -> Result<(IndexOptions, State)> {
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
    read_body(input, map)
}

struct Header {
    options: IndexOptions,
    live: usize,
    removed: usize,
    ordinals: u32,
    trained_on: usize,
    /// What makes the buckets of a table: cells, hyperplanes, or buckets of cross-polytopes.
    per_table: usize,
}

fn read_header(input: &mut Input) -> Result<Header> {
    let header = input.u64s(HEADER_FIELDS)?;
    let size = |at: usize| usize::try_from(header[at]).unwrap_or(usize::MAX);
    let (family, most) = match header[2] {
        0 => (Family::Learned, MAX_CELLS),
        1 => (Family::Hyperplane, MAX_PLANES),
        2 => (Family::CrossPolytope, MAX_BUCKETS),
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
    let absurd = ordinals.max(trained_on) > u32::MAX as usize;
    if per_table > most || absurd || live.saturating_add(removed) > ordinals || header[6] != 0 {
        return damaged(format!("{FILE_NAME} has a header out of range"));
    }
    Ok(Header { options, live, removed, ordinals: ordinals as u32, trained_on, per_table })
}

fn read_calibration(input: &mut Input) -> Result<Calibration> {
    let mut calibration = Calibration::default();
    calibration.recall.copy_from_slice(&input.f32s(STEPS)?);
    calibration.slack = input.f32s(1)?[0];
    let shares = calibration.recall.iter().all(|share| (0.0..=1.0).contains(share));
    if !shares || !calibration.recall.is_sorted() || calibration.slack.is_nan() || calibration.slack <= 0.0 {
        return damaged(format!("{FILE_NAME} has a calibration out of range"));
    }
    Ok(calibration)
}

fn read_body(
    mut input: Input,
    map: impl Fn(Range<usize>) -> Result<Buffer>,
) -> Result<(IndexOptions, State)> {
    let Header { options, live, removed, ordinals, trained_on, per_table } = read_header(&mut input)?;
    let calibration = read_calibration(&mut input)?;
    let mean = input.f32s(options.dim)?;
    let learned = options.rotation == RotationKind::Learned;
    let matrix = learned.then(|| input.f32s(options.dim * options.dim)).transpose()?;
    let partition = read_partition(&mut input, &options, &mean, per_table)?;
    let mut codebook = Codebook::new(options.layout(), partition, mean, trained_on, options.seed);
    if let Some(matrix) = matrix {
        codebook.rotation = Rotation::Learned(LearnedRotation::from_matrix(options.dim, matrix));
    }
    let sizes = input.u32s(codebook.buckets())?;
    let mut dead = RoaringBitmap::new();
    if input.u32s(removed)?.iter().any(|ordinal| *ordinal >= ordinals || !dead.insert(*ordinal)) {
        return damaged(format!("{FILE_NAME} removes a row twice, or one out of range"));
    }
    let length = usize::try_from(input.u64s(1)?[0]).unwrap_or(usize::MAX);
    let attributes = input.take::<1>(length)?.as_flattened();
    let buckets = read_buckets(&mut input, &map, &codebook, &sizes, &dead)?;
    let tables: Vec<&[Bucket]> = buckets.chunks(buckets.len() / codebook.tables()).collect();
    let findable = findable(&tables, &codebook.layout, live, ordinals)?;
    let attributes = Attributes::deserialise(attributes, &findable)?;
    let documents = read_documents(&mut input, &map, ordinals, &findable)?;
    let removed = buckets.iter().map(Bucket::removed).sum();
    let codebook = Arc::new(codebook);
    let item_buckets = OnceLock::new();
    let state = State {
        codebook,
        buckets,
        live,
        removed,
        changes: 0,
        ordinals,
        item_buckets,
        attributes,
        documents,
        calibration,
    };
    // What is sized by the ordinals would be far larger than the items need, or a damaged file may ask for.
    let shrunk = policy::shrunk(live, ordinals as usize);
    let state = if shrunk { State::train(&options, &state.items()) } else { state };
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

fn read_buckets(
    input: &mut Input,
    map: impl Fn(Range<usize>) -> Result<Buffer>,
    codebook: &Codebook,
    sizes: &[u32],
    dead: &RoaringBitmap,
) -> Result<Vec<Bucket>> {
    let layout = codebook.layout;
    let sizes_of = |part: usize| sizes.iter().map(move |rows| layout.chunk_bytes(*rows as usize)[part]);
    let [blocks, columns] = [0, 1].map(|part| sizes_of(part).fold(0usize, usize::saturating_add));
    input.take::<1>(input.place().next_multiple_of(ALIGN) - input.place())?;
    // Scattered over the pages of a file, codes are read a third slower.
    let blocks = Buffer::copy_of(input.take::<1>(blocks)?.as_flattened());
    let start = input.place();
    input.take::<1>(columns)?;
    let columns = map(start..input.place())?;
    let [block_sizes, column_sizes] = [0, 1].map(|part| sizes_of(part).collect::<Vec<_>>());
    let parts = blocks.cut(&block_sizes).zip(columns.cut(&column_sizes));
    let mut buckets = Vec::with_capacity(sizes.len());
    for (rows, (blocks, columns)) in sizes.iter().zip(parts) {
        let main = (*rows > 0).then(|| Chunk::new([blocks, columns], *rows as usize, &layout));
        if main.as_ref().is_some_and(|chunk| !chunk.hides_padding()) {
            return damaged(format!("{FILE_NAME} has rows beyond the last"));
        }
        buckets.push(Bucket::of(main).without(&layout, dead));
    }
    Ok(buckets)
}

fn read_documents(
    input: &mut Input,
    map: impl Fn(Range<usize>) -> Result<Buffer>,
    ordinals: u32,
    findable: &RoaringBitmap,
) -> Result<Documents> {
    let lengths = input.u32s(ordinals as usize)?;
    if lengths.iter().any(|length| *length as usize > MAX_DOCUMENT_BYTES) {
        return damaged(format!("{FILE_NAME} has a document that is too long"));
    }
    if lengths.iter().map(|length| *length as usize).sum::<usize>() != input.bytes.len() {
        return damaged(format!("{FILE_NAME} has not the length that its header says"));
    }
    if (0..).zip(&lengths).any(|(ordinal, length)| *length > 0 && !findable.contains(ordinal)) {
        return damaged(format!("{FILE_NAME} has the document of an item that does not exist"));
    }
    Ok(Documents::in_buffer(&lengths, &map(input.place()..input.end)?))
}
