//! Searches of every kind, and an answer.

use lookalike_serve::v1::condition::Test;
use lookalike_serve::v1::{
    AttributeEquals, AttributeIn, AttributeRange, CategoryPath, CategoryPaths, Condition, Filter,
    HasherServiceSearchRequest as Request, HasherServiceSearchResponse, ShardHits, ShardTiming,
};
use prost::Message;

use crate::small;

/// More vectors than an ordinary search has.
const MANY: usize = 65;

/// One request a feature.
pub fn varied() -> Vec<Request> {
    let with = |change: fn(&mut Request)| {
        let mut request = small::request();
        change(&mut request);
        request
    };
    vec![
        with(|_| ()),
        with(|request| request.generation = "planes".into()),
        with(|request| request.group_by_product = true),
        with(|request| request.exact = true),
        with(|request| (request.exact, request.generation) = (true, "learned".into())),
        with(|request| request.probes = Some(3)),
        with(|request| (request.effort, request.k) = (Some(0.9), 1000)),
        with(|request| request.vectors_f32_le = request.vectors_f32_le.repeat(MANY).into()),
        with(|request| request.exclude_item_id = small::item_id(3)),
        with(|request| request.exclude_item_id = "90m".into()),
        with(|request| {
            request.exclude_item_id = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
        }),
        with(|request| request.min_positions = [(0, 7), (3, 10)].into()),
        with(|request| request.filter = Some(filter().encode_to_vec().into())),
    ]
}

/// A condition of each kind.
fn filter() -> Filter {
    let condition = |test| Condition { test: Some(test) };
    let values = vec!["b1".into(), "b2".into()];
    let path = |names: &[&str]| CategoryPath { names: names.iter().map(|&name| name.into()).collect() };
    let paths = vec![path(&["a"]), path(&["a", "b"])];
    Filter {
        all: vec![
            condition(Test::InCategory(path(&["a", "b"]))),
            condition(Test::InCategories(CategoryPaths { paths })),
        ],
        any: vec![
            condition(Test::Equals(AttributeEquals { name: "brand".into(), value: "b1".into() })),
            condition(Test::In(AttributeIn { name: "brand".into(), values })),
        ],
        none: vec![condition(Test::Range(AttributeRange {
            name: "price".into(),
            min: Some(3.0),
            max: Some(1e20),
        }))],
    }
}

/// Two results, of products and of an item with a score that is no cosine.
pub fn answer() -> HasherServiceSearchResponse {
    let hit = |product: &[u8], score: f32| -> Vec<u8> {
        [product, b"\x12\x04i003\x1d", &score.to_le_bytes(), b"\x3a\x01t"].concat()
    };
    let hits = |scores: [f32; 2]| ShardHits {
        hits: vec![hit(b"\x0a\x02p1", scores[0]).into(), hit(b"", scores[1]).into()],
        codes_scanned: 300,
    };
    HasherServiceSearchResponse {
        results: vec![hits([0.5, 0.4]), hits([1.1, f32::NAN])],
        codes_total: 400,
        position: 7,
        timing: Some(ShardTiming { hash_seconds: 0.1, ..ShardTiming::default() }),
    }
}
