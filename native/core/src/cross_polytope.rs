//! Cross-polytope hashing (Andoni, Indyk, Laarhoven, Razenshteyn & Schmidt, "Practical and Optimal LSH for
//! Angular Distance", NeurIPS 2015, §3 and §4): a vector is rotated at random, and its hash is the nearest
//! vertex `±e_j` of the cross-polytope.
//!
//! A bucket combines the vertices of several rounds, each with a rotation of its own. A round over
//! all of `dim` dimensions has `2 · dim` vertices; the last one keeps fewer dimensions, so that the number
//! of buckets comes near the wanted one (as in FALCONN, the authors' library).

use crate::probe::{Alternative, ProbeSequence};
use crate::rng::SplitMix64;
use crate::rotation::RandomRotation;

/// Most buckets that may be wanted of one table.
pub const MAX_BUCKETS: usize = 1 << 24;

/// `tables` independent hash functions around one centre, defined by the seed.
#[derive(Clone, Debug)]
pub struct CrossPolytopes {
    /// The centre that is subtracted before the rotations.
    mean: Vec<f32>,
    tables: usize,
    /// One for each round of each table, laid out (table, round).
    rotations: Vec<RandomRotation>,
    rounds: usize,
}

/// Reusable buffers of [`CrossPolytopes`].
#[derive(Debug, Default)]
pub struct CrossPolytopeScratch {
    centred: Vec<f32>,
    rotation: Vec<f32>,
    /// Rotated values, round after round of one table.
    rotated: Vec<f32>,
}

impl CrossPolytopes {
    /// Hash functions around `mean`, which fixes the dimension, with about `buckets` buckets a table.
    ///
    /// Panics if there are no dimensions or tables, or `buckets` is not within 2 and [`MAX_BUCKETS`].
    pub fn new(mean: Vec<f32>, tables: usize, buckets: usize, seed: u64) -> Self {
        assert!(!mean.is_empty() && tables > 0, "hashing needs dimensions and tables");
        assert!((2..=MAX_BUCKETS).contains(&buckets), "2 to 2^24 buckets, not {buckets}");
        let widths = widths(mean.len(), buckets);
        let mut rng = SplitMix64::new(seed);
        let rotations = (0..tables)
            .flat_map(|_| &widths)
            .map(|width| RandomRotation::new(mean.len(), *width, rng.next_u64()))
            .collect();
        Self { mean, tables, rotations, rounds: widths.len() }
    }

    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// Buckets in each table.
    pub fn buckets(&self) -> usize {
        self.rotations[..self.rounds].iter().map(vertices).product()
    }

    /// The bucket of `x` in every table.
    pub fn assign(&self, x: &[f32], scratch: &mut CrossPolytopeScratch) -> Vec<u32> {
        self.centre(x, scratch);
        self.rotations
            .chunks_exact(self.rounds)
            .map(|table| {
                rotate(table, scratch);
                bucket_of(table, &scratch.rotated)
            })
            .collect()
    }

    /// Starts one sequence for each table, best bucket first.
    ///
    /// The score of a vertex is the square of how much smaller its product with the rotated query is
    /// than the best vertex's; that of a bucket is the sum over its rounds.
    pub fn start(
        &self,
        query: &[f32],
        scratch: &mut CrossPolytopeScratch,
        sequences: &mut Vec<ProbeSequence>,
    ) {
        self.centre(query, scratch);
        sequences.resize_with(self.tables, ProbeSequence::default);
        for (table, sequence) in self.rotations.chunks_exact(self.rounds).zip(sequences) {
            rotate(table, scratch);
            let rounds = by_round(table, &scratch.rotated);
            sequence.start_rounds(
                bucket_of(table, &scratch.rotated),
                rounds.map(|(radix, values)| alternatives(radix, values)),
            );
        }
    }

    fn centre(&self, x: &[f32], scratch: &mut CrossPolytopeScratch) {
        assert_eq!(x.len(), self.mean.len(), "vector length");
        scratch.centred.clear();
        scratch.centred.extend(x.iter().zip(&self.mean).map(|(v, m)| v - m));
    }
}

/// Dimensions of each round, so that the product of all `2 · width` comes near `buckets`.
fn widths(dim: usize, buckets: usize) -> Vec<usize> {
    let (mut widths, mut left) = (Vec::new(), buckets as f64);
    while left > 2.0 * dim as f64 {
        widths.push(dim);
        left /= 2.0 * dim as f64;
    }
    // More than 1 is left, or the 2 wanted: half of it rounds to 1 at least.
    widths.push((left / 2.0).round() as usize);
    widths
}

fn vertices(rotation: &RandomRotation) -> usize {
    2 * rotation.width()
}

/// Rotates the centred vector for all rounds of one table.
fn rotate(table: &[RandomRotation], scratch: &mut CrossPolytopeScratch) {
    scratch.rotated.resize(table.iter().map(RandomRotation::width).sum(), 0.0);
    let mut rest = &mut scratch.rotated[..];
    for rotation in table {
        let (out, after) = rest.split_at_mut(rotation.width());
        rotation.apply(&scratch.centred, &mut scratch.rotation, out);
        rest = after;
    }
}

/// For each round of a table: by how much one vertex further moves the bucket number, and the rotated
/// values.
fn by_round<'a>(table: &'a [RandomRotation], rotated: &'a [f32]) -> impl Iterator<Item = (u32, &'a [f32])> {
    let (mut radix, mut rest) = (1, rotated);
    table.iter().map(move |rotation| {
        let this = radix;
        radix *= vertices(rotation) as u32;
        (this, rest.split_off(..rotation.width()).expect("all rounds are rotated"))
    })
}

fn bucket_of(table: &[RandomRotation], rotated: &[f32]) -> u32 {
    by_round(table, rotated).map(|(radix, values)| radix * nearest_vertex(values)).sum()
}

/// Vertex `2 · j` is `e_j`, vertex `2 · j + 1` is `-e_j`; of equally near ones the first.
fn nearest_vertex(values: &[f32]) -> u32 {
    // Magnitudes as integers, whose maximum compiles to vector instructions.
    let magnitude = |v: &f32| v.abs().to_bits();
    let largest = values.iter().map(magnitude).fold(0, u32::max);
    let axis = values.iter().position(|v| magnitude(v) == largest).expect("a round has dimensions");
    vertex(axis, values[axis] < 0.0)
}

fn vertex(axis: usize, negative: bool) -> u32 {
    2 * axis as u32 + u32::from(negative)
}

/// All vertices but the nearest, as changes of the bucket number.
fn alternatives(radix: u32, values: &[f32]) -> impl Iterator<Item = Alternative> {
    let nearest = nearest_vertex(values);
    let best = values[nearest as usize / 2].abs();
    let vertices =
        values.iter().enumerate().flat_map(|(j, v)| [(vertex(j, false), *v), (vertex(j, true), -v)]);
    vertices.filter(move |(vertex, _)| *vertex != nearest).map(move |(vertex, product)| Alternative {
        score: (best - product) * (best - product),
        change: vertex.wrapping_sub(nearest).wrapping_mul(radix),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(count: usize, rng: &mut SplitMix64) -> Vec<f32> {
        (0..count).map(|_| rng.next_bell()).collect()
    }

    #[test]
    fn the_number_of_buckets_comes_near_the_wanted_one() {
        assert_eq!(widths(256, 2048), [256, 2]);
        assert_eq!(widths(256, 512), [256]);
        assert_eq!(widths(256, 600), [256, 1]);
        assert_eq!(widths(64, 128 * 128 * 16), [64, 64, 8]);
        assert_eq!(widths(1, 8), [1, 1, 1]);
        assert_eq!(widths(100, 2), [1]);
        for (dim, wanted) in [(48, 5000), (256, 100_000), (576, MAX_BUCKETS), (3, MAX_BUCKETS)] {
            let found = CrossPolytopes::new(vec![0.0; dim], 1, wanted, 0).buckets() as f64 / wanted as f64;
            assert!((0.66..=1.5).contains(&found), "{dim}, {wanted}: {found}");
        }
    }

    #[test]
    fn hashing_is_around_the_mean_and_by_direction_alone() {
        let (dim, mut rng) = (24, SplitMix64::new(3));
        let (mean, offset) = (random(dim, &mut rng), random(dim, &mut rng));
        let polytopes = CrossPolytopes::new(mean.clone(), 4, 500, 1);
        let at = |scale: f32| {
            let x: Vec<f32> = mean.iter().zip(&offset).map(|(m, o)| m + scale * o).collect();
            polytopes.assign(&x, &mut CrossPolytopeScratch::default())
        };
        assert_eq!(at(1.0), at(3.0));
        assert_ne!(at(1.0), at(-1.0));
        assert_eq!(at(1.0).len(), 4);
        assert_ne!(at(1.0), vec![at(1.0)[0]; 4], "tables are independent");
    }

    #[test]
    fn near_vectors_share_buckets_far_more_often_than_far_ones() {
        let (dim, mut rng) = (64, SplitMix64::new(5));
        let polytopes = CrossPolytopes::new(vec![0.0; dim], 400, 128, 2);
        let mut scratch = CrossPolytopeScratch::default();
        let x = random(dim, &mut rng);
        let mut shared = |noise: f32| {
            let y: Vec<f32> = x.iter().map(|v| v + noise * rng.next_bell()).collect();
            let (a, b) = (polytopes.assign(&x, &mut scratch), polytopes.assign(&y, &mut scratch));
            a.iter().zip(&b).filter(|(a, b)| a == b).count()
        };
        let (near, far) = (shared(0.3), shared(100.0));
        assert!(near > 160 && far < 12, "{near} and {far} of 400");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn probes_every_bucket_once_in_order_of_its_score(dim in 1usize..20, wanted in 2usize..3000, seed: u64) {
            let mut rng = SplitMix64::new(seed);
            let (mean, query) = (random(dim, &mut rng), random(dim, &mut rng));
            let polytopes = CrossPolytopes::new(mean, 2, wanted, seed);
            let (mut scratch, mut sequences) = (CrossPolytopeScratch::default(), Vec::new());
            let home = polytopes.assign(&query, &mut scratch);
            polytopes.start(&query, &mut scratch, &mut sequences);
            prop_assert_eq!(sequences.len(), 2);
            for (at, sequence) in sequences.iter_mut().enumerate() {
                let table = &polytopes.rotations[at * polytopes.rounds..][..polytopes.rounds];
                rotate(table, &mut scratch);
                let mut seen = vec![false; polytopes.buckets()];
                let mut before = 0.0;
                prop_assert_eq!(sequence.peek().map(|probe| probe.bucket), Some(home[at]));
                while let Some(probe) = sequence.peek() {
                    prop_assert!(probe.score >= before);
                    before = probe.score;
                    prop_assert!(!std::mem::replace(&mut seen[probe.bucket as usize], true));
                    let (mut rest, mut score) = (probe.bucket, 0.0);
                    for (_, values) in by_round(table, &scratch.rotated) {
                        let chosen = rest % (2 * values.len() as u32);
                        rest /= 2 * values.len() as u32;
                        let value = values[chosen as usize / 2];
                        let product = if chosen.is_multiple_of(2) { value } else { -value };
                        let best = values.iter().fold(0.0f32, |best, v| best.max(v.abs()));
                        score += (best - product).powi(2);
                    }
                    prop_assert!((score - probe.score).abs() <= 1e-4 * (1.0 + score));
                    sequence.advance();
                }
                prop_assert!(seen.iter().all(|seen| *seen));
            }
        }
    }
}
