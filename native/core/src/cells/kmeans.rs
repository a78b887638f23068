//! Spherical k-means (Dhillon & Modha, "Concept Decompositions", Machine Learning 2001) with exact
//! distances, and the steps that hierarchical training shares with it.

use rayon::prelude::*;

use crate::kernels::dot::dot;

/// Some rows of a table of unit vectors.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub vectors: &'a [f32],
    pub dim: usize,
    /// Row numbers in `vectors`.
    pub numbers: &'a [u32],
}

impl<'a> Rows<'a> {
    pub fn get(&self, at: usize) -> &'a [f32] {
        &self.vectors[self.numbers[at] as usize * self.dim..][..self.dim]
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn first(&self, count: usize) -> Self {
        Self { numbers: &self.numbers[..count.min(self.len())], ..*self }
    }

    /// The vectors, copied.
    pub fn copied(&self) -> Vec<f32> {
        (0..self.len()).flat_map(|at| self.get(at)).copied().collect()
    }

    /// Calls `nearest` for every row.
    pub fn assign<S>(
        &self,
        start: impl Fn() -> S + Sync + Send,
        nearest: impl Fn(&mut S, &[f32]) -> (u32, f32) + Sync + Send,
    ) -> Vec<(u32, f32)> {
        let rows = (0..self.len()).into_par_iter().with_min_len(64);
        rows.map_init(start, |scratch, at| nearest(scratch, self.get(at))).collect()
    }
}

/// The centroid nearest to `x` and their product; of equal ones the first.
pub(super) fn nearest(centroids: &[f32], x: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (cell, centroid) in centroids.chunks_exact(x.len()).enumerate() {
        let similarity = dot(centroid, x);
        if similarity > best.1 {
            best = (cell as u32, similarity);
        }
    }
    best
}

/// `count` centroids of `rows`, which are in random order and at least `count`.
pub(super) fn train(rows: Rows, count: usize, iterations: usize) -> Vec<f32> {
    let mut centroids = rows.first(count).copied();
    if count == 0 {
        return centroids;
    }
    for _ in 0..iterations {
        let assigned = rows.assign(|| (), |(), x| nearest(&centroids, x));
        let members = Members::new(&assigned, count);
        centroids = means(rows, &members, &centroids);
        let empty: Vec<u32> = (0..count as u32).filter(|cell| members.of(*cell).is_empty()).collect();
        for (cell, at) in empty.iter().zip(worst(&assigned, empty.len())) {
            centroids[*cell as usize * rows.dim..][..rows.dim].copy_from_slice(rows.get(at as usize));
        }
    }
    centroids
}

/// The rows that fit their centroid worst.
fn worst(assigned: &[(u32, f32)], count: usize) -> Vec<u32> {
    if count == 0 {
        return Vec::new();
    }
    let mut order: Vec<u32> = (0..assigned.len() as u32).collect();
    order.sort_unstable_by(|a, b| assigned[*a as usize].1.total_cmp(&assigned[*b as usize].1).then(a.cmp(b)));
    order.truncate(count);
    order
}

/// Which rows belong to each cell, in ascending order.
pub(super) struct Members {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Members {
    pub fn new(assigned: &[(u32, f32)], cells: usize) -> Self {
        let mut starts = vec![0u32; cells + 1];
        assigned.iter().for_each(|(cell, _)| starts[*cell as usize + 1] += 1);
        (0..cells).for_each(|cell| starts[cell + 1] += starts[cell]);
        let mut next = starts.clone();
        let mut rows = vec![0; assigned.len()];
        for (row, (cell, _)) in assigned.iter().enumerate() {
            rows[next[*cell as usize] as usize] = row as u32;
            next[*cell as usize] += 1;
        }
        Self { starts, rows }
    }

    pub fn of(&self, cell: u32) -> &[u32] {
        &self.rows[self.starts[cell as usize] as usize..self.starts[cell as usize + 1] as usize]
    }
}

/// The mean direction of the members of each cell; that of `before` where there is none.
pub(super) fn means(rows: Rows, members: &Members, before: &[f32]) -> Vec<f32> {
    let mut centroids = before.to_vec();
    centroids.par_chunks_exact_mut(rows.dim).with_min_len(16).enumerate().for_each(|(cell, centroid)| {
        let mut sum = vec![0.0f32; rows.dim];
        for at in members.of(cell as u32) {
            sum.iter_mut().zip(rows.get(*at as usize)).for_each(|(s, v)| *s += v);
        }
        let length = dot(&sum, &sum).sqrt();
        if length > f32::MIN_POSITIVE {
            centroid.iter_mut().zip(&sum).for_each(|(c, s)| *c = s / length);
        }
    });
    centroids
}
