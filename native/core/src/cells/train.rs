//! Training of many cells: groups first, each split into cells of its own, then all refined together.

use std::collections::HashMap;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::kmeans::{self, Members, Rows};
use super::{Cells, CellsParts, CoarseScratch, cap};
use crate::kernels::coarse::TILE;
use crate::rng::SplitMix64;
use crate::spectrum;
use crate::threads::Stop;

/// Up to this many cells one level does.
pub(super) const ONE_LEVEL: usize = 128;
/// Rows that training looks at, for each cell.
const SAMPLE_PER_CELL: usize = 32;
const ITERATIONS: usize = 8;
const SPLIT_ITERATIONS: usize = 6;
const REFINEMENTS: usize = 2;
const SAMPLE_PER_GROUP: usize = 64;
/// Up to 8,192 cells; more of them share a group beyond.
const CELLS_PER_GROUP: usize = 32;
/// A cell with more than this many times the mean is split, at the cost of the emptiest.
const CROWDED: usize = 4;
/// A cell with less than the mean divided by this is given up for a crowded one.
const DESERTED: usize = 8;
/// Most directions that centroids are compared along, and the share of their variance that is enough.
const MOST_DIRECTIONS: usize = 128;
const VARIANCE_SHARE: f64 = 0.97;

/// `count` cells of `vectors`; see [`Cells::train_until`].
pub(super) fn train(
    stop: &Stop,
    vectors: &[f32],
    dim: usize,
    held_out: &[u32],
    count: usize,
    seed: u64,
) -> Option<Cells> {
    let total = vectors.len() / dim;
    assert!(total >= count, "training {count} cells needs as many vectors");
    let sample = Sample::draw(vectors, dim, held_out, count, &mut SplitMix64::new(seed));
    let rows = Rows { vectors, dim, numbers: &sample.distinct };
    let count = count.min(rows.len());
    let copied = Rows { numbers: &sample.copied, ..rows }.copied();
    if count <= ONE_LEVEL {
        return Some(from_centroids(kmeans::train(rows, count, ITERATIONS), &copied, dim));
    }
    let most = (cap(total, count) * rows.len()).div_ceil(total);
    let mut parts = split(stop, rows, count)?;
    for _ in 0..REFINEMENTS {
        stop.check()?;
        parts = refine(rows, parts, most);
    }
    stop.check()?;
    Some(from_centroids(parts.centroids, &copied, dim))
}

/// The rows that training looks at, as numbers of vectors.
struct Sample {
    /// Rows that differ, in random order.
    distinct: Vec<u32>,
    /// Rows duplicated so often that they would overfill a cell on their own.
    copied: Vec<u32>,
}

impl Sample {
    fn draw(vectors: &[f32], dim: usize, held_out: &[u32], count: usize, rng: &mut SplitMix64) -> Self {
        let total = vectors.len() / dim;
        let mut distinct: Vec<u32> = Vec::new();
        let mut copies: HashMap<u64, (usize, usize)> = HashMap::new();
        let mut seen = 0;
        let looked_at = |number: &u32| held_out.binary_search(number).is_err();
        for number in shuffled(total, total, rng).into_iter().filter(looked_at) {
            if distinct.len() == count * SAMPLE_PER_CELL {
                break;
            }
            seen += 1;
            let bytes = bytemuck::cast_slice(&vectors[number as usize * dim..][..dim]);
            let (_, times) = copies.entry(xxh3_64(bytes)).or_insert_with(|| {
                distinct.push(number);
                (distinct.len() - 1, 0)
            });
            *times += 1;
        }
        let most = (cap(total, count) * seen).div_ceil(total);
        let mut copied: Vec<usize> =
            copies.into_values().filter(|(_, times)| *times > most).map(|(at, _)| at).collect();
        copied.sort_unstable();
        let copied = copied.into_iter().map(|at| distinct[at]).collect();
        Self { distinct, copied }
    }
}

/// Cells around `centroids`, in the order of their groups, and cells for the copies of `copied`.
pub(super) fn from_centroids(mut centroids: Vec<f32>, copied: &[f32], dim: usize) -> Cells {
    let count = centroids.len() / dim;
    if count <= ONE_LEVEL {
        centroids.extend_from_slice(copied);
        let groups = if copied.is_empty() { Vec::new() } else { vec![0, count as u32] };
        return Cells::from_parts(CellsParts { dim, centroids, directions: Vec::new(), groups });
    }
    let numbers = shuffled(count, count, &mut SplitMix64::new(count as u64));
    let rows = Rows { vectors: &centroids, dim, numbers: &numbers };
    let groups = kmeans::train(rows, group_count(count), ITERATIONS);
    let assigned = rows.assign(|| (), |(), x| kmeans::nearest(&groups, x));
    let members = Members::new(&assigned, group_count(count));
    let directions = directions(&centroids, dim);
    let (mut ordered, mut starts) = (Vec::with_capacity(centroids.len() + copied.len()), vec![0]);
    for group in 0..group_count(count) as u32 {
        members.of(group).iter().for_each(|at| ordered.extend_from_slice(rows.get(*at as usize)));
        starts.push((ordered.len() / dim) as u32);
    }
    starts.dedup();
    ordered.extend_from_slice(copied);
    Cells::from_parts(CellsParts { dim, centroids: ordered, directions, groups: starts })
}

/// Groups grow with the square root once there are many, as training compares each cell with each group.
fn group_count(cells: usize) -> usize {
    cells.div_ceil(CELLS_PER_GROUP).min((8 * cells).isqrt())
}

fn directions(rows: &[f32], dim: usize) -> Vec<f32> {
    spectrum::leading(rows, dim, MOST_DIRECTIONS, TILE, VARIANCE_SHARE, dim as u64)
}

/// Splits space into groups, and each group into a share of the cells.
fn split(stop: &Stop, rows: Rows, count: usize) -> Option<CellsParts> {
    let dim = rows.dim;
    let groups = group_count(count);
    let middles =
        from_centroids(kmeans::train(rows.first(groups * SAMPLE_PER_GROUP), groups, ITERATIONS), &[], dim);
    stop.check()?;
    let assigned = rows.assign(CoarseScratch::default, |scratch, x| middles.nearest(x, scratch));
    let members = Members::new(&assigned, groups);
    let sizes: Vec<usize> = (0..groups as u32).map(|group| members.of(group).len()).collect();
    let shares = shares(&sizes, count);
    let cells: Vec<Vec<f32>> = (0..groups)
        .into_par_iter()
        .map(|group| {
            stop.check()?;
            let own = numbers(rows, members.of(group as u32));
            Some(kmeans::train(Rows { numbers: &own, ..rows }, shares[group], SPLIT_ITERATIONS))
        })
        .collect::<Option<_>>()?;
    let mut starts = vec![0];
    starts.extend(shares.iter().scan(0, |end, share| {
        *end += *share as u32;
        Some(*end)
    }));
    starts.dedup();
    let centroids: Vec<f32> = cells.concat();
    Some(CellsParts { dim, directions: directions(&centroids, dim), centroids, groups: starts })
}

/// The numbers of the rows at these places.
fn numbers(rows: Rows, places: &[u32]) -> Vec<u32> {
    places.iter().map(|at| rows.numbers[*at as usize]).collect()
}

/// Parts of `total` in proportion to `sizes`, none larger than its size (`total` is at most their sum).
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let sum: usize = sizes.iter().sum();
    let mut before = 0;
    let mut done = 0;
    let parts = sizes.iter().map(|size| {
        before += size;
        let part = before * total / sum - done;
        done += part;
        part
    });
    parts.collect()
}

/// One step of k-means over all rows with the coarse order, then the repair of cells of bad size: none is
/// to have more than `most`.
fn refine(rows: Rows, parts: CellsParts, most: usize) -> CellsParts {
    let cells = Cells::from_parts(parts);
    let assigned = rows.assign(CoarseScratch::default, |scratch, x| cells.nearest(x, scratch));
    let members = Members::new(&assigned, cells.count());
    let mut parts = cells.into_parts();
    parts.centroids = kmeans::means(rows, &members, &parts.centroids);
    relocate(rows, &members, &assigned, &mut parts.centroids);
    divide(rows, &members, parts, most)
}

/// Splits cells of more than `most` rows into cells of about half as many, within their groups.
fn divide(rows: Rows, members: &Members, parts: CellsParts, most: usize) -> CellsParts {
    let CellsParts { dim, centroids: before, directions, groups: starts } = parts;
    let (mut centroids, mut groups) = (Vec::with_capacity(before.len()), vec![0]);
    for group in starts.windows(2) {
        for cell in group[0]..group[1] {
            let own = members.of(cell);
            if own.len() <= most {
                centroids.extend_from_slice(&before[cell as usize * dim..][..dim]);
                continue;
            }
            let pieces = own.len().div_ceil(most.div_ceil(2));
            let own = Rows { numbers: &numbers(rows, own), ..rows };
            centroids.extend(kmeans::train(own, pieces, SPLIT_ITERATIONS));
        }
        groups.push((centroids.len() / dim) as u32);
    }
    CellsParts { dim, centroids, directions, groups }
}

/// Moves empty and deserted cells into crowded ones: to the member that fits worst there.
fn relocate(rows: Rows, members: &Members, assigned: &[(u32, f32)], centroids: &mut [f32]) {
    let dim = rows.dim;
    let count = centroids.len() / dim;
    let size = |cell: &u32| members.of(*cell).len();
    let mean = rows.len() / count;
    let mut by_size: Vec<u32> = (0..count as u32).collect();
    by_size.sort_by_key(size);
    let small = by_size.iter().take_while(|cell| size(cell) * DESERTED < mean);
    let large = by_size.iter().rev().take_while(|cell| size(cell) > CROWDED * mean);
    for (small, large) in small.zip(large) {
        let fit = |at: &&u32| assigned[**at as usize].1;
        let worst = members.of(*large).iter().min_by(|a, b| fit(a).total_cmp(&fit(b)));
        let row = rows.get(*worst.expect("a crowded cell has members") as usize);
        centroids[*small as usize * dim..][..dim].copy_from_slice(row);
    }
}

/// At most `limit` of the numbers below `count`, in random order.
fn shuffled(count: usize, limit: usize, rng: &mut SplitMix64) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count as u32).collect();
    let taken = count.min(limit);
    for at in 0..taken {
        let other = at + (rng.next_u64() % (count - at) as u64) as usize;
        numbers.swap(at, other);
    }
    numbers.truncate(taken);
    numbers
}
