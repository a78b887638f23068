//! Equal vectors have equal scores wherever their rows lie, on every instruction set, and all come back with `ties`.
//!
//! One test forces the instruction set, a setting of the whole process; results do not depend on it.

use lookalike_core::chunk::Rerank;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Error, Family, HashIndex, IndexOptions, SearchOptions, isa};

const RERANKS: [Rerank; 3] = [Rerank::Int8, Rerank::F16, Rerank::F32];
const FAMILIES: [(Family, usize); 3] =
    [(Family::Learned, 1), (Family::Hyperplane, 2), (Family::CrossPolytope, 2)];

fn options(dim: usize, (family, tables): (Family, usize), rerank: Rerank) -> IndexOptions {
    IndexOptions { dim, bits: 64, family, tables, rerank, rotation: RotationKind::Random, seed: 3 }
}

fn random(rng: &mut SplitMix64, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| rng.next_bell()).collect()
}

/// Every third item is a copy of one vector, some of them of another version or in the tail of their bucket.
fn with_copies(options: IndexOptions, copy: &[f32], rng: &mut SplitMix64) -> (HashIndex, Vec<u64>) {
    let dim = options.dim;
    let ids: Vec<u64> = (0..700).collect();
    let mut vectors: Vec<f32> = (0..700).flat_map(|_| random(rng, dim)).collect();
    vectors.chunks_exact_mut(dim).step_by(3).for_each(|vector| vector.copy_from_slice(copy));
    let index = HashIndex::build(options, Batch::new(&vectors, &ids, &ids), 1).unwrap();
    index.remove(&[0, 30, 31]);
    let late: Vec<u64> = (0..20).map(|at| 17 * at).collect();
    index.add(Batch::new(&copy.repeat(20), &late, &late)).unwrap();
    let copies = (0..700).filter(|id| (id % 3 == 0 && *id != 30) || late.contains(id)).collect();
    (index, copies)
}

#[test]
fn equal_vectors_have_equal_scores_wherever_they_lie() {
    let mut rng = SplitMix64::new(31);
    for dim in [3, 31, 32, 33, 64, 100] {
        for (family, rerank) in FAMILIES.into_iter().flat_map(|family| RERANKS.map(|rerank| (family, rerank)))
        {
            let copy = random(&mut rng, dim);
            let (index, copies) = with_copies(options(dim, family, rerank), &copy, &mut rng);
            assert_eq!(index.stats().trained_on, 700, "one codebook for all");
            for isa in isa::available() {
                isa::force(Some(isa.name())).unwrap();
                for exact in [true, false] {
                    let wide = if exact { (None, None) } else { (Some(1 << 24), Some(1 << 20)) };
                    let options = SearchOptions {
                        k: 1,
                        ties: true,
                        exact,
                        probes: wide.0,
                        rerank: wide.1,
                        ..Default::default()
                    };
                    let found = index.search(&copy, &options, 1).unwrap();
                    // With 8 bits a coordinate another vector may seem nearer, but to all of them.
                    if rerank != Rerank::Int8 || found.ids.iter().any(|id| copies.contains(id)) {
                        assert_eq!((&found.ids, found.width), (&copies, copies.len()), "{dim} {family:?}");
                    }
                    // From elsewhere they are somewhere in the middle.
                    let all = SearchOptions { k: 700, ties: false, ..options };
                    let found = index.search(&random(&mut rng, dim), &all, 1).unwrap();
                    let scores = found.ids.iter().zip(&found.scores).filter(|(id, _)| copies.contains(id));
                    let mut bits: Vec<u32> = scores.map(|(_, score)| score.to_bits()).collect();
                    assert_eq!(bits.len(), copies.len());
                    bits.dedup();
                    assert_eq!(bits.len(), 1, "{dim} {family:?} {rerank:?} {}", isa.name());
                }
            }
            isa::force(None).unwrap();
        }
    }
}

#[test]
fn scores_are_from_minus_one_to_one() {
    let mut rng = SplitMix64::new(32);
    for (dim, rerank) in [3, 7, 24, 100].into_iter().flat_map(|dim| RERANKS.map(|rerank| (dim, rerank))) {
        let mut vectors: Vec<f32> = (0..50 * dim).map(|_| rng.next_bell()).collect();
        vectors[..3].copy_from_slice(&[2.0, 1.0, 2.0]);
        let ids: Vec<u64> = (0..50).collect();
        let index = HashIndex::build(options(dim, FAMILIES[0], rerank), Batch::new(&vectors, &ids, &ids), 1);
        let index = index.unwrap();
        let opposite: Vec<f32> = vectors.iter().map(|v| -v).collect();
        for exact in [true, false] {
            let options = SearchOptions { k: 50, exact, ..Default::default() };
            for queries in [&vectors, &opposite] {
                let found = index.search(queries, &options, 1).unwrap();
                assert!(found.scores.iter().all(|score| (-1.0..=1.0).contains(score)), "{:?}", found.scores);
            }
        }
    }
}

#[test]
fn copies_of_several_products_come_with_all_their_items() {
    let copy = random(&mut SplitMix64::new(33), 8);
    let far: Vec<f32> = copy.iter().map(|v| -v).collect();
    let vectors = [copy.repeat(5), far].concat();
    let ids = [5, 4, 3, 2, 1, 0];
    let products = [1, 1, 2, 3, 3, 4];
    let index =
        HashIndex::build(options(8, FAMILIES[0], Rerank::F32), Batch::new(&vectors, &ids, &products), 1);
    let index = index.unwrap();
    let search = |k, exclude: &[u64], exact| {
        let exclude = exclude.to_vec();
        let options = SearchOptions { k, group: true, ties: true, exact, exclude, ..Default::default() };
        let found = index.search(&copy, &options, 1).unwrap();
        (found.width, found.ids)
    };
    for exact in [true, false] {
        assert_eq!(search(1, &[], exact), (5, vec![1, 2, 3, 4, 5]));
        assert_eq!(search(4, &[], exact), (6, vec![1, 2, 3, 4, 5, 0]));
        // Without an item its product is still found, by another one.
        assert_eq!(search(2, &[4, 1, 77], exact), (3, vec![2, 3, 5]));
        assert_eq!(search(2, &[2, 1], exact).1, [3, 4, 5]);
    }
}

#[test]
fn far_too_many_ties_and_exclusions_are_refused() {
    let index = HashIndex::build(
        options(2, FAMILIES[0], Rerank::F32),
        Batch::new(&[1.0, 0.0].repeat(5_000), &(0..5_000).collect::<Vec<u64>>(), &[7; 5_000]),
        1,
    );
    let index = index.unwrap();
    let queries = [1.0, 0.5].repeat(3_400);
    let options = SearchOptions { k: 1, ties: true, exact: true, ..Default::default() };
    assert_eq!(index.search(&queries[..20], &options, 1).unwrap().width, 5_000);
    let refused = index.search(&queries, &options, 2);
    assert!(matches!(&refused, Err(Error::TooManyTies { width: 5_000, queries: 3_400, .. })), "{refused:?}");
    let options = SearchOptions { k: 1, exclude: vec![1; 1_025], ..Default::default() };
    let refused = index.search(&queries, &options, 2);
    assert!(matches!(&refused, Err(Error::Invalid(_))), "{refused:?}");
}
