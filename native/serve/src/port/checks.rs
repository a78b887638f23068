//! What a search has to be like: the checks of `hasher.convert` and `hasher.identity`, in their order.

use lookalike_core::SearchOptions;

use super::filters::filter_of;
use super::registry::Identity;
use super::text::{number, quoted};
use crate::failure::Failure;
use crate::v1::{HasherServiceSearchRequest, ShardIdentity};

const MAX_K: u32 = 1000;
const MAX_VECTORS: usize = 256;
const MAX_INSTALLATION_ID_BYTES: usize = 64;
const MAX_GENERATION_BYTES: usize = 128;
/// More buckets than any index has.
const MAX_PROBES: u32 = (1 << 31) - 1;
/// What generations cannot be called, as the data folder has files of these names.
const OWN_FILES: [&str; 2] = ["identity.json", "identity.json.part"];

/// Makes sure that a request is meant for this shard.
///
/// # Errors
///
/// It does not say for which it is meant, or for another.
pub fn check_target(target: Option<&ShardIdentity>, own: &Identity) -> Result<(), Failure> {
    let Some(target) = target else {
        let message = "target is missing: say which shard the request is meant for";
        return Err(Failure::invalid(message.to_owned()).because("FIELD_MISSING").at("target"));
    };
    let size = target.installation_id.len();
    if !(1..=MAX_INSTALLATION_ID_BYTES).contains(&size) {
        let field = "target.installation_id";
        let message = format!("{field} has {size} bytes; it must have 1 to {MAX_INSTALLATION_ID_BYTES}");
        let reason = if size == 0 { "FIELD_MISSING" } else { "FIELD_OUT_OF_RANGE" };
        return Err(Failure::invalid(message).because(reason).at(field));
    }
    if !own.installation_id.is_empty() && target.installation_id != own.installation_id {
        let message = format!(
            "the request comes from installation {}, but this hasher belongs to {}",
            quoted(&target.installation_id),
            quoted(&own.installation_id)
        );
        return Err(Failure::precondition("INSTALLATION_MISMATCH", message).at("target"));
    }
    let layout = (target.shard, target.shard_count, target.layout_epoch);
    if layout != own.layout() {
        let words = |(shard, count, epoch)| format!("{shard} of {count} in layout epoch {epoch}");
        let message = format!(
            "the request is meant for shard {}, but this is shard {}",
            words(layout),
            words(own.layout())
        );
        return Err(Failure::precondition("SHARD_LAYOUT_MISMATCH", message).at("target"));
    }
    Ok(())
}

/// Checks what is to name a generation.
///
/// # Errors
///
/// It is malformed.
pub fn check_generation_name(name: &str) -> Result<(), Failure> {
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
    if first && name.len() <= MAX_GENERATION_BYTES && name.bytes().all(known) && !OWN_FILES.contains(&name) {
        return Ok(());
    }
    let message = format!(
        "generation {} is not a valid name: 1 to 128 characters a-z, 0-9, '.', '_' and '-', starting with a letter \
         or digit",
        quoted(name)
    );
    Err(Failure::invalid(message).at("generation"))
}

/// A checked search.
#[derive(Debug)]
pub struct Query {
    /// Vectors of any length but zero, laid out (query, dimension).
    pub vectors: Vec<f32>,
    /// How many there are.
    pub count: usize,
    /// For the engine, ties included.
    pub options: SearchOptions,
    /// Left out of the answer of every vector; empty: none is.
    pub exclude: String,
}

/// Checks a search of a generation with this model and dimension.
///
/// # Errors
///
/// As `hasher.proto` says.
pub fn query_of(
    request: HasherServiceSearchRequest,
    model_version: &str,
    dimension: usize,
) -> Result<Query, Failure> {
    if request.model_version != model_version {
        let message = format!(
            "model_version is {}, but the generation holds vectors of {}",
            quoted(&request.model_version),
            quoted(model_version)
        );
        let failure = Failure::precondition("MODEL_VERSION_MISMATCH", message).at("model_version");
        return Err(failure.with("expected", model_version));
    }
    check_options(&request)?;
    let vectors = vectors_of(&request.vectors_f32_le, dimension)?;
    let filter = request.filter.map(|filter| filter_of(filter, "filter")).transpose()?;
    let options = SearchOptions {
        k: request.k as usize,
        probes: request.probes.map(|probes| probes.min(MAX_PROBES) as usize),
        effort: request.effort,
        filter,
        group: request.group_by_product,
        exact: request.exact,
        ties: true,
        documents: true,
        ..SearchOptions::default()
    };
    let count = vectors.len() / dimension;
    Ok(Query { vectors, count, options, exclude: request.exclude_item_id })
}

fn check_options(request: &HasherServiceSearchRequest) -> Result<(), Failure> {
    let out_of_range = |message: String| Failure::invalid(message).because("FIELD_OUT_OF_RANGE");
    if !(1..=MAX_K).contains(&request.k) {
        let message = format!("k is {}; it must be 1 to {MAX_K}", request.k);
        return Err(out_of_range(message).at("k").with("min", 1).with("max", MAX_K));
    }
    if request.probes == Some(0) {
        return Err(out_of_range("probes is 0; it must be at least 1".to_owned()).at("probes"));
    }
    if let Some(effort) = request.effort
        && !(0.0..=1.0).contains(&effort)
    {
        let message = format!("effort is {}; it must be 0 to 1", number(f64::from(effort)));
        return Err(out_of_range(message).at("effort"));
    }
    if request.effort.is_some() && request.probes.is_some() {
        let message = "effort and probes are both set; set one of them";
        return Err(Failure::invalid(message.to_owned()).at("effort"));
    }
    Ok(())
}

fn vectors_of(data: &[u8], dimension: usize) -> Result<Vec<f32>, Failure> {
    const FIELD: &str = "vectors_f32_le";
    let width = dimension * size_of::<f32>();
    if data.is_empty() || !data.len().is_multiple_of(width) {
        let message = format!(
            "{FIELD} holds {} bytes, which is not a whole number of {dimension}-dimensional float32 vectors ({width} \
             bytes each)",
            data.len()
        );
        let failure = Failure::invalid(message).because("DIMENSION_MISMATCH").at(FIELD);
        return Err(failure.with("dimension", dimension));
    }
    let count = data.len() / width;
    if count > MAX_VECTORS {
        let message = format!("{FIELD} holds {count}; send at most {MAX_VECTORS} in one call");
        return Err(Failure::invalid(message).because("BATCH_TOO_LARGE").at(FIELD).with("max", MAX_VECTORS));
    }
    let (values, _) = data.as_chunks::<4>();
    let vectors: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if !vectors.iter().all(|value| value.is_finite()) {
        let message = format!("{FIELD} contains NaN or infinity");
        return Err(Failure::invalid(message).because("VECTOR_NOT_FINITE").at(FIELD));
    }
    if vectors.chunks_exact(dimension).any(|vector| vector.iter().all(|value| *value == 0.0)) {
        let message = format!("{FIELD} is all zeros and has no direction");
        return Err(Failure::invalid(message).because("VECTOR_ZERO").at(FIELD));
    }
    Ok(vectors)
}
