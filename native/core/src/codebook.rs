//! What is trained on the data and then fixed: the rotation, the buckets and their centres; and how it turns
//! a vector into a stored row.
//!
//! A row keeps the signs `s` of the rotated residual `Pr`, `r = x - c` from the centre `c` of its bucket.
//! Its inner product with a query `q` is estimated as `<q,c> + f·<s,Pq> + g` with `f = |r|²/‖Pr‖₁` and
//! `g = <c,r> - f·<s,Pc>`: RaBitQ's unbiased estimate (Gao & Long, SIGMOD 2024, §3.2) of `<q - c, r>`,
//! arranged so that everything about the query but `<q,c>` is the same for all buckets.

use half::f16;

use crate::bounds;
use crate::chunk::{Layout, Record, Rerank, Row};
use crate::kernels::dot::dot;
use crate::partition::{Partition, ProbeOrder};
use crate::quantise::quantise_i8;
use crate::rotation::{LearnedRotation, RandomRotation, Rotation};

/// Most vectors that a rotation is learned from.
const ROTATION_SAMPLE: usize = 8192;

/// See the module.
#[derive(Debug)]
pub struct Codebook {
    /// Shape of the stored rows.
    pub layout: Layout,
    /// At least `dim` and at least `bits` outputs.
    pub rotation: Rotation,
    /// Vectors to buckets; none while everything lies in one.
    pub partition: Option<Partition>,
    /// Mean of the vectors it was trained on.
    pub mean: Vec<f32>,
    /// Number of vectors it was trained on.
    pub trained_on: usize,
}

/// Buffers of [`RowEncoder`].
#[derive(Default)]
struct Scratch {
    residual: Vec<f32>,
    rotation: Vec<f32>,
    rotated: Vec<f32>,
    signs: Vec<u64>,
    eighths: Vec<i8>,
    /// What the integers stand for, and what the vector loses by being kept so.
    kept: Vec<f32>,
    lost: Vec<f32>,
}

/// Turns vectors of one bucket into rows.
pub struct RowEncoder<'a> {
    codebook: &'a Codebook,
    centre: &'a [f32],
    rotated_centre: Vec<f32>,
    scratch: Scratch,
}

impl Codebook {
    /// A codebook with the random rotation of `seed`.
    pub fn new(
        layout: Layout,
        partition: Option<Partition>,
        mean: Vec<f32>,
        trained_on: usize,
        seed: u64,
    ) -> Self {
        let rotation = RandomRotation::new(layout.dim, layout.dim.max(layout.bits), seed);
        let rotation = Rotation::Random(rotation);
        Self { layout, rotation, partition, mean, trained_on }
    }

    /// Replaces the rotation by one that is learned from what the centres leave of some of `vectors`.
    pub fn learn_rotation(&mut self, vectors: &[f32], seed: u64) {
        let Layout { dim, bits, .. } = self.layout;
        let count = vectors.len() / dim;
        let taken = count.min(ROTATION_SAMPLE);
        let (mut order, mut buckets) = (ProbeOrder::default(), vec![0; self.tables()]);
        let mut residuals = Vec::with_capacity(taken * dim);
        for row in (0..taken).map(|at| at * count / taken) {
            let vector = &vectors[row * dim..][..dim];
            self.assign(vector, &mut order, &mut buckets);
            residuals.extend(vector.iter().zip(self.centre(buckets[0])).map(|(v, c)| v - c));
        }
        self.rotation = Rotation::Learned(LearnedRotation::train(&residuals, dim, bits.min(dim), seed));
    }

    /// Number of buckets over all tables.
    pub fn buckets(&self) -> usize {
        self.partition.as_ref().map_or(1, |partition| partition.tables() * partition.buckets())
    }

    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.partition.as_ref().map_or(1, Partition::tables)
    }

    /// The bucket of `x` in every table, numbered over all tables, into `out` (length tables).
    pub fn assign(&self, x: &[f32], order: &mut ProbeOrder, out: &mut [u32]) {
        match &self.partition {
            None => out[0] = 0,
            Some(partition) => partition.assign(x, order, out),
        }
    }

    /// The centre of a bucket.
    pub fn centre(&self, bucket: u32) -> &[f32] {
        match &self.partition {
            Some(Partition::Learned(cells)) => cells.centroid(bucket),
            _ => &self.mean,
        }
    }

    /// Whether a bucket takes nothing but copies of its centre.
    pub fn takes_only_copies(&self, bucket: u32) -> bool {
        matches!(&self.partition, Some(Partition::Learned(cells)) if cells.takes_only_copies(bucket))
    }

    /// The encoder of a bucket.
    pub fn encoder(&self, bucket: u32) -> RowEncoder<'_> {
        let centre = self.centre(bucket);
        let mut encoder =
            RowEncoder { codebook: self, centre, rotated_centre: Vec::new(), scratch: Scratch::default() };
        encoder.rotated_centre.resize(self.rotation.width(), 0.0);
        self.rotation.apply(centre, &mut encoder.scratch.rotation, &mut encoder.rotated_centre);
        encoder
    }

    /// The vector that a stored row stands for, as exactly as it was kept.
    pub fn decode(&self, bucket: u32, record: Record, out: &mut Vec<f32>) {
        let (stored, scale) = (record.vector(), record.scale());
        out.clear();
        match self.layout.rerank {
            Rerank::F32 => out.extend(bytemuck::pod_collect_to_vec::<u8, f32>(stored)),
            Rerank::F16 => {
                let halves = stored.as_chunks::<2>().0.iter();
                out.extend(halves.map(|bytes| f16::from_le_bytes(*bytes).to_f32()));
            }
            Rerank::Int8 => {
                let rotated: Vec<f32> = stored.iter().map(|v| f32::from(*v as i8) * scale).collect();
                out.resize(self.layout.dim, 0.0);
                self.rotation.invert(&rotated, out);
                out.iter_mut().zip(self.centre(bucket)).for_each(|(v, c)| *v += c);
            }
        }
    }
}

impl RowEncoder<'_> {
    /// Fills code, constants, vector and error of `row` from the unit vector `x`, which is at most `error` from the one
    /// that the item was added with.
    pub fn encode(&mut self, x: &[f32], error: f32, row: &mut Row) {
        let Self { codebook, centre, rotated_centre, scratch } = self;
        let Layout { dim, bits, rerank } = codebook.layout;
        scratch.residual.clear();
        scratch.residual.extend(x.iter().zip(*centre).map(|(v, c)| v - c));
        scratch.rotated.resize(codebook.rotation.width(), 0.0);
        codebook.rotation.apply(&scratch.residual, &mut scratch.rotation, &mut scratch.rotated);
        let coded = &scratch.rotated[..bits];
        scratch.signs.resize(bits / 64, 0);
        crate::kernels::signs::pack_signs(coded, &mut scratch.signs);
        row.code.clear();
        row.code.extend(scratch.signs.iter().flat_map(|word| word.to_le_bytes()));
        let mut sums = [0.0f32; 2];
        for (value, centre) in coded.iter().zip(&rotated_centre[..bits]) {
            sums[0] += value.abs();
            sums[1] += if *value >= 0.0 { *centre } else { -centre };
        }
        let [length, along] = sums;
        let square = dot(&scratch.residual, &scratch.residual);
        let factor = if length > f32::MIN_POSITIVE { square / length } else { 0.0 };
        let offset = dot(centre, &scratch.residual) - factor * along;
        row.constants = [factor, offset].map(|value| f16::from_f32(value).to_bits());
        row.vector.clear();
        match rerank {
            Rerank::F32 => row.vector.extend_from_slice(bytemuck::cast_slice(x)),
            Rerank::F16 => {
                row.vector.extend(x.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
                scratch.lost.clear();
                scratch.lost.extend(x.iter().map(|v| v - f16::from_f32(*v).to_f32()));
                row.error = bounds::at_least(f64::from(error) + bounds::length(&scratch.lost));
            }
            Rerank::Int8 => {
                scratch.eighths.resize(dim, 0);
                row.scale = quantise_i8(&scratch.rotated[..dim], &mut scratch.eighths);
                row.vector.extend_from_slice(bytemuck::cast_slice(&scratch.eighths));
                row.error =
                    bounds::at_least(f64::from(error) + lost_by_integers(codebook, scratch, row.scale, x));
            }
        }
    }
}

/// How far `x` is at most from what the integers in `scratch` stand for.
///
/// That is measured, but with rounded numbers: when the residual was taken, when the integers were scaled, and when the
/// result was turned back; and once more if `x` itself came from other integers.
fn lost_by_integers(codebook: &Codebook, scratch: &mut Scratch, scale: f32, x: &[f32]) -> f64 {
    let Scratch { residual, eighths, kept, lost, .. } = scratch;
    kept.clear();
    kept.extend(eighths.iter().map(|v| f32::from(*v) * scale));
    lost.resize(kept.len(), 0.0);
    codebook.rotation.invert(kept, lost);
    lost.iter_mut().zip(&*residual).for_each(|(lost, value)| *lost -= value);
    // Centres are not longer than 2, with much to spare.
    let longest = bounds::length(kept) + bounds::length(residual) + bounds::length(x) + 2.0;
    bounds::length(lost) * (1.0 + bounds::U) + (codebook.rotation.invert_error() + 2.0 * bounds::U) * longest
}
