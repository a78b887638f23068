//! The scan: every instruction set of this machine gives the reference's bits, and the estimates have the
//! error that RaBitQ promises.
//!
//! Only one test forces the instruction set, a setting of the whole process; results do not depend on it.

use half::f16;
use lookalike_core::chunk::{ChunkWriter, Layout, Rerank, Row};
use lookalike_core::codebook::Codebook;
use lookalike_core::isa;
use lookalike_core::kernels::scan::{self, BLOCK, QueryTable, block_bytes};
use lookalike_core::rng::SplitMix64;

/// Estimates and masks, NaNs made equal.
fn estimate(table: &QueryTable, blocks: &[u8], base: f32, threshold: f32) -> (Vec<u32>, Vec<u32>) {
    let count = blocks.len() / block_bytes(table.bits());
    let (mut estimates, mut above) = (vec![[9.0; BLOCK]; count], vec![7; count]);
    scan::estimate(table, blocks, base, threshold, &mut estimates, &mut above);
    let bits = estimates.as_flattened().iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() });
    (bits.collect(), above)
}

/// Blocks of random codes with constants of every kind: mostly ordinary ones, else any 16 bits.
fn random_blocks(bits: usize, count: usize, rng: &mut SplitMix64) -> Vec<u8> {
    let mut blocks: Vec<u8> = (0..count * block_bytes(bits)).map(|_| rng.next_u64() as u8).collect();
    for block in blocks.chunks_exact_mut(block_bytes(bits)) {
        for constant in block[bits / 8 * BLOCK..].as_chunks_mut::<2>().0 {
            if !rng.next_u64().is_multiple_of(8) {
                *constant = f16::from_f32(rng.next_bell()).to_le_bytes();
            }
        }
    }
    blocks
}

fn queries(bits: usize, rng: &mut SplitMix64) -> Vec<Vec<f32>> {
    let hot = |at: usize, value: f32| (0..bits).map(|i| if i == at { value } else { 0.0 }).collect();
    let mut random = |scale: f32| (0..bits).map(|_| scale * rng.next_bell()).collect::<Vec<f32>>();
    let mut spiked = random(1.0);
    spiked[bits - 1] = -1e6;
    vec![
        random(0.1),
        spiked,
        vec![0.0; bits],
        vec![-0.5; bits],
        random(1e-42),
        hot(0, 1e30),
        hot(bits / 2, -1e-38),
        hot(3, f32::MIN_POSITIVE),
    ]
}

#[test]
fn every_kernel_equals_the_reference() {
    let mut rng = SplitMix64::new(21);
    for bits in (64..=2048).step_by(64) {
        // All numbers of blocks at some width, some of them at every width.
        let counts = if bits == 192 { (0..=20).collect() } else { vec![0, 1, 2, 7] };
        for query in queries(bits, &mut rng) {
            let mut table = QueryTable::default();
            table.fill(&query);
            assert_eq!(table.bits(), bits);
            for count in &counts {
                let blocks = random_blocks(bits, *count, &mut rng);
                let base = rng.next_bell();
                for threshold in [f32::NEG_INFINITY, -0.5, 0.0, base, f32::INFINITY, f32::NAN] {
                    isa::force(Some("scalar")).unwrap();
                    let expected = estimate(&table, &blocks, base, threshold);
                    for isa in isa::available() {
                        isa::force(Some(isa.name())).unwrap();
                        let found = estimate(&table, &blocks, base, threshold);
                        assert_eq!(found, expected, "{} with {bits} bits, {count} blocks", isa.name());
                    }
                    isa::force(None).unwrap();
                    let is_above = |bits: &u32| f32::from_bits(*bits) > threshold;
                    let masks = expected.0.as_chunks::<BLOCK>().0.iter().map(|estimates| {
                        (0..BLOCK).fold(0, |mask, row| mask | u32::from(is_above(&estimates[row])) << row)
                    });
                    assert_eq!(masks.collect::<Vec<u32>>(), expected.1);
                }
            }
        }
    }
}

/// A table sums what the signs and the query say, to the rounding of its entries.
#[test]
fn tables_add_up_to_the_product_of_signs_and_query() {
    let mut rng = SplitMix64::new(22);
    for bits in [64, 128, 320, 2048] {
        for query in queries(bits, &mut rng) {
            let mut table = QueryTable::default();
            table.fill(&query);
            let mut blocks = random_blocks(bits, 1, &mut rng);
            for row in 0..BLOCK {
                let constants = &mut blocks[bits / 8 * BLOCK..].as_chunks_mut::<2>().0;
                (constants[row], constants[BLOCK + row]) = (f16::ONE.to_le_bytes(), f16::ZERO.to_le_bytes());
            }
            let (estimates, _) = estimate(&table, &blocks, 0.0, 0.0);
            let nibbles = query.as_chunks::<4>().0;
            let widest = nibbles.iter().map(|n| n.iter().map(|v| v.abs()).sum::<f32>()).fold(0.0, f32::max);
            // Half a step for each nibble, and float rounding of the whole.
            let magnitude: f32 = query.iter().map(|v| v.abs()).sum();
            let bound = widest / 63.0 * nibbles.len() as f32 * 1.001 + 1e-5 * magnitude + 1e-36;
            for (row, estimate) in estimates.iter().enumerate() {
                let bit = |i: usize| blocks[i / 8 * BLOCK + scan::lane_of(row)] >> (i % 8) & 1 == 1;
                let sum: f32 = query.iter().enumerate().map(|(i, v)| if bit(i) { *v } else { -v }).sum();
                let estimate = f32::from_bits(*estimate);
                assert!((estimate - sum).abs() <= bound, "{bits} bits: {estimate}, not {sum} ± {bound}");
            }
        }
    }
}

/// A table of signs counts the bits in which a code agrees with them, to the rounding of floats.
#[test]
fn tables_of_signs_give_the_hamming_distance() {
    let mut rng = SplitMix64::new(25);
    for bits in [64, 128, 320, 2048] {
        let query: Vec<f32> = (0..bits).map(|_| rng.next_bell()).collect();
        let sum: f32 = query.iter().map(|v| v.abs()).sum();
        let magnitude = query.iter().map(|v| v * v).sum::<f32>() / sum;
        let mut table = QueryTable::default();
        table.fill_signs(&query);
        let mut blocks = random_blocks(bits, 1, &mut rng);
        for row in 0..BLOCK {
            let constants = &mut blocks[bits / 8 * BLOCK..].as_chunks_mut::<2>().0;
            (constants[row], constants[BLOCK + row]) = (f16::ONE.to_le_bytes(), f16::ZERO.to_le_bytes());
        }
        let (estimates, _) = estimate(&table, &blocks, 0.0, 0.0);
        for (row, estimate) in estimates.iter().enumerate() {
            let bit = |i: usize| blocks[i / 8 * BLOCK + scan::lane_of(row)] >> (i % 8) & 1 == 1;
            let differing = (0..bits).filter(|i| bit(*i) != (query[*i] >= 0.0)).count();
            let expected = (bits as f32 - 2.0 * differing as f32) * magnitude;
            let estimate = f32::from_bits(*estimate);
            let bound = 1e-5 * bits as f32 * magnitude;
            assert!((estimate - expected).abs() <= bound, "{bits} bits: {estimate}, not {expected}");
        }
    }
    QueryTable::default().fill_signs(&[0.0; 64]);
}

fn unit(rng: &mut SplitMix64, dim: usize) -> Vec<f32> {
    let x: Vec<f32> = (0..dim).map(|_| rng.next_bell()).collect();
    let norm = x.iter().map(|v| v * v).sum::<f32>().sqrt();
    x.into_iter().map(|v| v / norm).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// One run of `rows` around the codebook's mean, with its padding.
fn encoded(codebook: &Codebook, vectors: &[Vec<f32>]) -> Vec<u8> {
    let layout = codebook.layout;
    let [mut blocks, mut columns] = layout.chunk_bytes(vectors.len()).map(|size| vec![0; size]);
    let mut writer = ChunkWriter::new(layout, vectors.len(), [&mut blocks, &mut columns]);
    let (mut encoder, mut row) = (codebook.encoder(0), Row::default());
    for vector in vectors {
        encoder.encode(vector, 0.0, &mut row);
        writer.push(&row);
    }
    writer.finish();
    blocks
}

fn table_of(codebook: &Codebook, query: &[f32]) -> QueryTable {
    let mut rotated = vec![0.0; codebook.rotation.width()];
    codebook.rotation.apply(query, &mut Vec::new(), &mut rotated);
    let mut table = QueryTable::default();
    table.fill(&rotated[..codebook.layout.bits]);
    table
}

#[test]
fn padding_is_never_above_any_threshold() {
    let mut rng = SplitMix64::new(23);
    let layout = Layout { dim: 40, bits: 64, rerank: Rerank::F32 };
    let codebook = Codebook::new(layout, None, unit(&mut rng, 40), 0, 4);
    for count in 1..=70 {
        let vectors: Vec<Vec<f32>> = (0..count).map(|_| unit(&mut rng, 40)).collect();
        let blocks = encoded(&codebook, &vectors);
        let table = table_of(&codebook, &unit(&mut rng, 40));
        for base in [-1.0, 1.0, f32::MAX] {
            let (_, above) = estimate(&table, &blocks, base, f32::NEG_INFINITY);
            let rows: u32 = above.iter().map(|mask| mask.count_ones()).sum();
            assert_eq!(rows, count, "every row and no more");
            assert!(count % 32 == 0 || above[above.len() - 1] >> (count % 32) == 0);
        }
    }
}

/// With `B` bits of one rotation the error of `<q,r>` is about normal, with mean 0 and a standard deviation
/// of `√(π/2 - 1) · |r| · |q⊥| / √B`, `q⊥` the part of the query across the residual `r` (Gao & Long, SIGMOD
/// 2024, theorem 3.2 and lemma B.3; fewer bits than dimensions lose what they do not look at as well).
#[test]
fn errors_are_unbiased_and_as_small_as_rabitq_promises() {
    for (dim, bits) in [(256, 64), (256, 128), (256, 256), (192, 192), (256, 512), (128, 1024)] {
        let mut rng = SplitMix64::new(24);
        let layout = Layout { dim, bits, rerank: Rerank::F32 };
        let mean: Vec<f32> = unit(&mut rng, dim).into_iter().map(|v| 0.5 * v).collect();
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for rotation in 0..40 {
            let codebook = Codebook::new(layout, None, mean.clone(), 0, rotation);
            let vectors: Vec<Vec<f32>> = (0..64).map(|_| unit(&mut rng, dim)).collect();
            let blocks = encoded(&codebook, &vectors);
            for _ in 0..4 {
                // Half of it is one of the vectors: high similarities must not be biased either.
                let near = &vectors[rng.next_u64() as usize % 64];
                let query: Vec<f32> =
                    unit(&mut rng, dim).iter().zip(near).map(|(a, b)| 0.6 * a + 0.8 * b).collect();
                let base = dot(&query, &mean) as f32;
                let (estimates, _) = estimate(&table_of(&codebook, &query), &blocks, base, 0.0);
                for (estimate, x) in estimates.iter().zip(&vectors) {
                    let r: Vec<f32> = x.iter().zip(&mean).map(|(x, m)| x - m).collect();
                    let centred: Vec<f32> = query.iter().zip(&mean).map(|(q, m)| q - m).collect();
                    let across = (dot(&centred, &centred) - dot(&centred, &r).powi(2) / dot(&r, &r)).sqrt();
                    let scale = dot(&r, &r).sqrt() * across / (bits as f64).sqrt();
                    let error = (f64::from(f32::from_bits(*estimate)) - dot(&query, x)) / scale;
                    (sum, squares, count) = (sum + error, squares + error * error, count + 1.0);
                }
            }
        }
        let (mean, deviation) = (sum / count, (squares / count).sqrt());
        println!("{dim} dimensions, {bits} bits: mean {mean:.4}, standard deviation {deviation:.4}");
        // Rows of one rotation err together: far fewer independent errors than rows.
        assert!(mean.abs() < 0.04, "{dim}, {bits}: mean {mean}");
        let expected =
            if bits < dim { (std::f64::consts::FRAC_PI_2 - bits as f64 / dim as f64).sqrt() } else { 0.7555 };
        assert!((0.9..1.15).contains(&(deviation / expected)), "{dim}, {bits}: {deviation}, not {expected}");
    }
}
