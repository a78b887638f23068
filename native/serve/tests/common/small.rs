//! A small index of hits, a port for it, and a request that it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lookalike_core::attributes::ItemAttributes;
use lookalike_core::chunk::Rerank;
use lookalike_core::rng::SplitMix64;
use lookalike_core::rotation::RotationKind;
use lookalike_core::{Batch, Family, HashIndex, IndexOptions};
use lookalike_serve::port::Options;
use lookalike_serve::port::registry::Identity;
use lookalike_serve::port::sampling::Sampling;
use lookalike_serve::v1::{HasherServiceSearchRequest, ShardIdentity};

pub const DIM: usize = 8;

pub fn options() -> Options {
    Options {
        identity: Identity { installation_id: "home".into(), shard: 0, shard_count: 1, layout_epoch: 1 },
        unloaded: "not yet".into(),
        search_threads: 1,
        most_waiting: 1,
        most_calls: 4,
        most_request_bytes: 1 << 20,
        most_message_bytes: 1 << 16,
        position_wait: Duration::from_secs(5),
        keepalive: (Duration::from_secs(30), Duration::from_secs(10)),
        connection_age: None,
        bounds: (vec![0.1], vec![0.1]),
        sampling: Sampling::new(None),
    }
}

/// Item ids are as long as one another for up to 1,000 items.
pub fn item_id(number: u64) -> String {
    format!("i{number:03}")
}

/// Vectors of items, laid out (item, dimension).
pub fn vectors(items: u64) -> Vec<f32> {
    let mut rng = SplitMix64::new(4);
    (0..items as usize * DIM).map(|_| rng.next_bell()).collect()
}

/// Two items a product, with categories of up to 3 levels, brands and prices; the documents are hits.
pub fn index(family: Family, rerank: Rerank, items: u64) -> Arc<HashIndex> {
    let (vectors, ids) = (vectors(items), (0..items).collect::<Vec<_>>());
    let products: Vec<u64> = ids.iter().map(|id| id / 2).collect();
    let documents: Vec<Vec<u8>> =
        ids.iter().map(|id| [b"\x12\x04", item_id(*id).as_bytes()].concat()).collect();
    let attributes = ids.iter().map(|id| {
        let values =
            [("brand".to_owned(), format!("b{}", id % 3)), ("price".to_owned(), (id % 9).to_string())];
        let category = ["a", "b", "c"].map(str::to_owned)[..*id as usize % 4].to_vec();
        ItemAttributes::new(category, values[..*id as usize % 3].to_vec()).unwrap()
    });
    let batch = Batch::new(&vectors, &ids, &products)
        .with_attributes(attributes.collect())
        .with_documents(documents.iter().map(Vec::as_slice).collect());
    let tables = if family == Family::Learned { 1 } else { 2 };
    let rotation = RotationKind::Random;
    let options = IndexOptions { dim: DIM, bits: 64, family, tables, rerank, rotation, seed: 1 };
    Arc::new(HashIndex::build(options, batch, 1).unwrap())
}

/// A search of generation `g` with vectors of model `m`.
pub fn request() -> HasherServiceSearchRequest {
    let target = ShardIdentity { installation_id: "home".into(), shard: 0, shard_count: 1, layout_epoch: 1 };
    HasherServiceSearchRequest {
        generation: "g".into(),
        model_version: "m".into(),
        vectors_f32_le: Bytes::from([1.0f32.to_le_bytes(); DIM].concat()),
        k: 3,
        target: Some(target),
        ..HasherServiceSearchRequest::default()
    }
}
