//! Any bytes as a call of the search port, as its request, and as a shard's answer to the gateway.

#![no_main]

#[path = "../../serve/tests/common/raw.rs"]
mod raw;
#[path = "../src/served.rs"]
mod served;
#[path = "../../serve/tests/common/small.rs"]
mod small;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use lookalike_serve::fanout::{Calibration, Failure, Found, Matching, Wanted, answer_of};
use lookalike_serve::port::metrics::Method;
use lookalike_serve::v1::{HasherServiceSearchRequest, ShardHits};
use prost::Message;
use raw::Raw;
use served::{NAMES, PORT, Parts, wait};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tower_service::Service;

const MOST_VECTORS: usize = 256;
const MATCHING: Matching = Matching {
    calibration: Calibration { slope: 20.0, threshold: 0.3, density_weight: 0.5, density: 0.2 },
    min_probability: 0.0,
};

fuzz_target!(|bytes: &[u8]| {
    take_body(bytes);
    let content = Bytes::copy_from_slice(bytes);
    let _ = called(Method::Check, content.clone(), "");
    let _ = called(Method::Search, content.clone(), "");
    if let Ok(mut request) = HasherServiceSearchRequest::decode(content.clone()) {
        put_right(&mut request);
        let vectors = request.vectors_f32_le.len() / (4 * small::DIM);
        // Text of any kind, in the headers too.
        let header = request.exclude_item_id.clone();
        if let Ok(answer) = called(Method::Search, request.encode_to_vec().into(), &header) {
            let merged = merged(answer, vectors).expect("the port answers each vector");
            assert!(merged.mistake.is_none() && merged.results.len() == vectors);
        }
    }
    for vectors in [1, 2] {
        merged(content.clone(), vectors);
    }
    let _ = Failure::of(&Status::with_details(Code::InvalidArgument, "", content), false);
});

/// Sends a call whose body may be no message at all.
fn take_body(bytes: &[u8]) {
    let call = http::Request::post(Method::Search.path()).body(Body::new(Parts::of(bytes)));
    let Ok(_) = wait(PORT.server().call(call.expect("a request")));
}

/// Sends a message. It may be refused, but not as a defect of the port.
fn called(method: Method, content: Bytes, header: &str) -> Result<Bytes, Status> {
    let mut request = Request::new(content);
    if let Ok(value) = HeaderValue::from_bytes(header.as_bytes()) {
        let names = ["grpc-timeout", "traceparent", "x-request-id"].map(http::HeaderName::from_static);
        let headers = names.into_iter().map(|name| (name, value.clone())).collect();
        *request.metadata_mut() = MetadataMap::from_headers(headers);
    }
    let path = PathAndQuery::from_static(method.path());
    let answer = wait(Grpc::new(PORT.server()).unary(request, path, Raw));
    let answer = answer.map(tonic::Response::into_inner);
    let is_defect = |status: &Status| matches!(status.code(), Code::Internal | Code::Unknown);
    assert!(!answer.as_ref().is_err_and(is_defect), "{answer:?}");
    answer
}

/// Makes a request one that reaches an index, and leaves what remains possible.
fn put_right(request: &mut HasherServiceSearchRequest) {
    let HasherServiceSearchRequest { model_version, target, .. } = small::request();
    (request.model_version, request.target) = (model_version, target);
    request.generation = NAMES[request.generation.len() % NAMES.len()].to_owned();
    request.min_positions.clear();
    request.k = request.k.clamp(1, 1000);
    request.probes = request.probes.map(|probes| probes.max(1)).filter(|_| request.effort.is_none());
    let (values, _) = request.vectors_f32_le.as_chunks();
    let values = values.iter().map(|value| f32::from_le_bytes(*value));
    let mut vectors: Vec<f32> = values.map(|value| if value.is_finite() { value } else { 1.0 }).collect();
    let count = vectors.len().div_ceil(small::DIM).clamp(1, MOST_VECTORS);
    vectors.resize(count * small::DIM, 1.0);
    request.vectors_f32_le = vectors.into_iter().flat_map(f32::to_le_bytes).collect();
}

/// What the gateway makes of a shard's answer that came from two of them; none: it is no answer.
fn merged(answer: Bytes, vectors: usize) -> Option<Found> {
    let answer = answer_of(answer, vectors).ok()?;
    let [_, found] = [false, true].map(|group_by_product| {
        let matching = group_by_product.then_some(MATCHING);
        let wanted = Wanted { k: 9, group_by_product, min_score: -1.0, matching };
        let mut found = Found::default();
        found.take(vec![(0, answer.clone()), (1, answer.clone())], vectors, wanted);
        for (merged, _) in &found.results {
            let hits = ShardHits::decode(merged.hits.clone()).expect("hits, one after another").hits;
            assert!(hits.len() == merged.count && hits.len() <= wanted.k);
        }
        found
    });
    Some(found)
}
