//! Writing the stored form, part after part in the order of the file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use super::{MAGIC, VERSION};
use crate::chunk::put_columns;
use crate::codebook::Codebook;
use crate::index::bucket::{Bucket, Run};
use crate::index::options::IndexOptions;
use crate::index::state::State;
use crate::memory::ALIGN;
use crate::partition::{Family, Partition};
use crate::rotation::{Rotation, RotationKind};

/// Writes `state` to an empty file and waits until it is on the disk.
pub fn write_file(options: &IndexOptions, state: &State, file: &File) -> io::Result<()> {
    let mut out = Checked { file: io::BufWriter::new(file), hash: Xxh3::new(), length: 0 };
    let removed = removed_ordinals(state);
    let ordinals = ordinals_in_use(state);
    write_header(&mut out, options, state, removed.len(), ordinals)?;
    write_codebook(&mut out, state)?;
    out.put_all(state.buckets.iter().map(|bucket| (bucket.rows() as u32).to_le_bytes()))?;
    out.put_all(removed.into_iter().map(u32::to_le_bytes))?;
    write_attributes(&mut out, state)?;
    write_rows(&mut out, state)?;
    write_documents(&mut out, state, ordinals)?;
    let hash = out.hash.digest();
    out.put(&hash.to_le_bytes())?;
    out.file.into_inner()?.sync_all()
}

fn write_header(
    out: &mut Checked,
    options: &IndexOptions,
    state: &State,
    removed: usize,
    ordinals: u32,
) -> io::Result<()> {
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
        removed as u64,
        u64::from(ordinals),
        state.codebook.trained_on as u64,
        match &state.codebook.partition {
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
    out.put_all(header.map(u64::to_le_bytes))
}

/// What was measured and trained.
fn write_codebook(out: &mut Checked, state: &State) -> io::Result<()> {
    let Codebook { mean, rotation, partition, .. } = &*state.codebook;
    out.put(bytemuck::cast_slice(&state.calibration.recall))?;
    out.put(&state.calibration.slack.to_le_bytes())?;
    out.put(bytemuck::cast_slice(mean))?;
    if let Rotation::Learned(rotation) = rotation {
        out.put(bytemuck::cast_slice(rotation.matrix()))?;
    }
    match partition {
        None | Some(Partition::CrossPolytope(_)) => Ok(()),
        Some(Partition::Learned(cells)) => {
            let parts = cells.clone().into_parts();
            out.put_all(
                [parts.directions.len() / parts.dim, parts.groups.len()].map(|n| (n as u64).to_le_bytes()),
            )?;
            out.put(bytemuck::cast_slice(&parts.centroids))?;
            out.put(bytemuck::cast_slice(&parts.directions))?;
            out.put(bytemuck::cast_slice(&parts.groups))
        }
        Some(Partition::Hyperplane(planes)) => {
            out.put(bytemuck::cast_slice(&planes.normals))?;
            out.put(bytemuck::cast_slice(&planes.offsets))
        }
    }
}

fn write_attributes(out: &mut Checked, state: &State) -> io::Result<()> {
    let mut attributes = Vec::new();
    state.attributes.serialise(&mut attributes);
    out.put(&(attributes.len() as u64).to_le_bytes())?;
    out.put(&attributes)?;
    out.put(&vec![0; out.length.next_multiple_of(ALIGN) - out.length])
}

/// The blocks of all buckets, then their columns. Only blocks are joined: columns follow each other as they lie in
/// the runs, as joining them would take the memory of all vectors once more.
fn write_rows(out: &mut Checked, state: &State) -> io::Result<()> {
    for (number, bucket) in (0..).zip(&state.buckets) {
        if let Some(chunk) = bucket.in_one_run(&state.codebook, number) {
            out.put(chunk.blocks())?;
        }
    }
    for bucket in &state.buckets {
        let views: Vec<_> = bucket.runs().map(|run| run.chunk().view(state.layout())).collect();
        put_columns(&views, |bytes| out.put(bytes))?;
    }
    Ok(())
}

fn write_documents(out: &mut Checked, state: &State, ordinals: u32) -> io::Result<()> {
    let document = |ordinal| state.documents.get(ordinal);
    out.put_all((0..ordinals).map(|ordinal| (document(ordinal).len() as u32).to_le_bytes()))?;
    (0..ordinals).try_for_each(|ordinal| out.put(document(ordinal)))
}

/// One more than the highest ordinal in the buckets.
fn ordinals_in_use(state: &State) -> u32 {
    let runs = state.buckets.iter().flat_map(Bucket::runs);
    let ordinals = runs.flat_map(|run| run.chunk().view(state.layout()).ordinals);
    ordinals.max().map_or(0, |most| most + 1)
}

/// Ordinals of removed rows that are still in the buckets, ascending, each once.
fn removed_ordinals(state: &State) -> BTreeSet<u32> {
    let runs = state.buckets.iter().filter(|bucket| bucket.removed() > 0).flat_map(Bucket::runs);
    let removed = |run: &Run, ordinals: &[u32]| -> Vec<u32> {
        (0..ordinals.len()).filter(|row| !run.is_live(*row)).map(|row| ordinals[row]).collect()
    };
    runs.flat_map(|run| removed(run, run.chunk().view(state.layout()).ordinals)).collect()
}

/// A writer that hashes and counts what it writes.
struct Checked<'a> {
    file: io::BufWriter<&'a File>,
    hash: Xxh3,
    length: usize,
}

impl Checked<'_> {
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
