//! Memory stays bounded while the same items are replaced over and over.
//!
//! One test function: it looks at the memory of the whole process.

#[path = "common/counting.rs"]
mod counting;

use counting::held_and_most;
use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions, SearchOptions, Stats};

const DIM: usize = 32;
const ITEMS: u64 = 5000;
const BATCH: usize = 250;
const ROUNDS: u64 = 40;
/// After these memory is compared, in two spans. Attribute values that passed are kept until there are
/// 65,536 of them, 13 rounds' worth: each span sees the most and the least of that.
const WARM_UP: u64 = 10;

fn hash(round: u64, id: u64) -> u64 {
    SplitMix64::new(round << 32 | id).next_u64()
}

/// Version `round` of some items: each round they are others, and have values that no other round has.
fn upsert(index: &HashIndex, ids: &[u64], round: u64) {
    let mut rng = SplitMix64::new(round << 32 | ids[0]);
    let vectors: Vec<f32> = (0..ids.len() * DIM).map(|_| rng.next_bell()).collect();
    let attributes = ids.iter().map(|id| {
        let values = vec![
            ("stamp".to_owned(), (round * ITEMS + id).to_string()),
            ("kept".to_owned(), "yes".to_owned()),
        ];
        ItemAttributes::new(vec!["all".to_owned(), format!("round {round}")], values).unwrap()
    });
    let attributes = attributes.collect();
    let documents: Vec<Vec<u8>> =
        ids.iter().map(|id| vec![round as u8; (hash(round, *id) % 400) as usize]).collect();
    let documents = documents.iter().map(Vec::as_slice).collect();
    index.add(Batch::new(&vectors, ids, ids).with_attributes(attributes).with_documents(documents)).unwrap();
}

fn row_bytes(stats: &Stats) -> usize {
    stats.code_bytes + stats.vector_bytes + stats.bucket_bytes
}

fn matching(index: &HashIndex, condition: Condition) -> usize {
    let filter = Some(Filter::new(vec![condition], vec![], vec![]).unwrap());
    let options = SearchOptions { k: ITEMS as usize, filter, ..Default::default() };
    let out = index.search(&[1.0; DIM], &options, 1).unwrap();
    out.ids.iter().filter(|id| **id != u64::MAX).count()
}

/// Bytes that the process holds in memory, without mapped files and without free pages that the allocator
/// keeps for later: how many those are depends on which threads allocated last.
#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: glibc's function takes any number, locks each heap, and returns only free pages.
        unsafe { malloc_trim(0) };
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = statm.split_whitespace().map(|field| field.parse().unwrap()).collect();
    // Every Linux system of the supported architectures that has other pages has larger ones.
    (pages[1] - pages[2]) * 4096
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> usize {
    0
}

#[test]
fn replacing_items_takes_no_more_and_more_memory() {
    for (family, tables, rerank) in [
        (Family::Learned, 1, Rerank::Int8),
        (Family::Hyperplane, 2, Rerank::F16),
        (Family::CrossPolytope, 2, Rerank::F32),
    ] {
        let options = IndexOptions {
            dim: DIM,
            bits: 64,
            family,
            tables,
            rerank,
            rotation: RotationKind::Random,
            seed: 1,
        };
        let index = HashIndex::build(options, Batch::default(), 1).unwrap();
        let ids: Vec<u64> = (0..ITEMS).collect();
        upsert(&index, &ids, 0);
        index.wait_for_rebuild();
        let fresh = index.stats();
        // In the first and in the second span: the most there was, but of resident memory the least, as
        // what the system's allocator keeps back for later comes on top by chance.
        let (mut bytes, mut attribute_bytes, mut ordinals, mut held) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        let mut resident = [usize::MAX; 2];
        for round in 1..=ROUNDS {
            for batch in ids.chunks(BATCH) {
                upsert(&index, batch, round);
            }
            let stats = index.stats();
            assert_eq!(stats.items, ids.len());
            let documents: u64 = ids.iter().map(|id| hash(round, *id) % 400).sum();
            let places = 4096 * (index.snapshot().ordinals as usize).div_ceil(512);
            assert!(
                (0..=places).contains(&(stats.document_bytes - documents as usize)),
                "those of this round"
            );
            if round <= WARM_UP {
                continue;
            }
            let span = usize::from(2 * (round - WARM_UP) > ROUNDS - WARM_UP);
            let highest = |most: &mut [usize; 2], now: usize| most[span] = most[span].max(now);
            highest(&mut bytes, row_bytes(&stats));
            highest(&mut attribute_bytes, stats.attribute_bytes);
            highest(&mut ordinals, index.snapshot().ordinals as usize);
            highest(&mut held, held_and_most().0);
            resident[span] = resident[span].min(resident_bytes());
        }
        println!(
            "{family:?}: rows {bytes:?}, attributes {attribute_bytes:?}, held {held:?}, resident {resident:?} bytes"
        );
        assert!(bytes[1] < 2 * row_bytes(&fresh) && bytes[1] < bytes[0] + bytes[0] / 10, "rows: {bytes:?}");
        assert!(ordinals[1] < 2 * ids.len(), "ordinals: {ordinals:?}");
        assert!(attribute_bytes[1] < attribute_bytes[0] + attribute_bytes[0] / 10, "{attribute_bytes:?}");
        assert!(held[1] < held[0] + held[0] / 10, "held: {held:?}");
        assert!(resident[1] < resident[0] + (8 << 20), "resident: {resident:?}");

        let is = |name: &str, value: String| Condition::Equals { name: name.into(), value };
        assert_eq!(matching(&index, is("kept", "yes".into())), ids.len());
        assert_eq!(matching(&index, is("stamp", (ROUNDS * ITEMS + 7).to_string())), 1);
        assert_eq!(matching(&index, is("stamp", ((ROUNDS - 1) * ITEMS + 7).to_string())), 0);
        assert_eq!(matching(&index, Condition::InCategory(vec!["all".into(), "round 1".into()])), 0);

        assert_eq!(index.remove(&ids), ids.len());
        let empty = index.stats();
        assert_eq!((empty.items, empty.dead_rows, row_bytes(&empty)), (0, 0, 0));
        assert_eq!(empty.document_bytes, 0);
        assert_eq!(matching(&index, is("kept", "yes".into())), 0);
    }
}
