//! Checks on what callers hand in, and the normalisation to unit length.

use std::collections::HashSet;

use crate::error::{Result, invalid};
use crate::kernels::scan::MAX_BITS;

/// The id that pads short result rows; no item may have it.
pub const NO_ID: u64 = u64::MAX;

/// Largest vector dimension.
pub const MAX_DIM: usize = 16_384;

/// Fewest bits in a code.
pub const MIN_BITS: usize = 64;

/// Checks a code width: a multiple of 64 from 64 to 2,048.
///
/// # Errors
/// [`crate::Error::Invalid`] for any other number.
pub fn check_bits(bits: usize) -> Result<()> {
    if !bits.is_multiple_of(64) || !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return invalid(format!("bits must be a multiple of 64 from 64 to 2048, not {bits}"));
    }
    Ok(())
}

/// Checks that `vectors` holds `rows` finite vectors of `dim` and scales each to unit length. `what` they are to the
/// caller, such as "query", stands before the number of a row.
///
/// # Errors
/// [`crate::Error::Invalid`] for another length, and for NaN, infinity or a zero vector, naming the row.
pub fn unit_vectors(what: &str, vectors: &[f32], rows: usize, dim: usize) -> Result<Vec<f32>> {
    if rows.checked_mul(dim) != Some(vectors.len()) {
        return invalid(format!(
            "vectors must hold {rows} rows of dimension {dim}, not {} values",
            vectors.len()
        ));
    }
    let mut out = Vec::with_capacity(vectors.len());
    for (row, vector) in vectors.chunks_exact(dim).enumerate() {
        if vector.iter().any(|v| !v.is_finite()) {
            return invalid(format!("{what} {row} has a NaN or infinite value"));
        }
        let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return invalid(format!("{what} {row} has zero length, so it has no direction to compare"));
        }
        out.extend(vector.iter().map(|v| (f64::from(*v) / norm) as f32));
    }
    Ok(out)
}

/// Checks the ids and products of one batch.
///
/// # Errors
/// [`crate::Error::Invalid`] if the lengths differ, an id repeats, or an id or product is [`NO_ID`].
pub fn check_ids(ids: &[u64], products: &[u64]) -> Result<()> {
    if ids.len() != products.len() {
        return invalid(format!("{} ids but {} products", ids.len(), products.len()));
    }
    if ids.contains(&NO_ID) || products.contains(&NO_ID) {
        return invalid("2**64-1 pads short results and cannot be an id or a product");
    }
    let mut seen = HashSet::with_capacity(ids.len());
    match ids.iter().find(|id| !seen.insert(**id)) {
        Some(id) => invalid(format!("id {id} appears more than once in one batch")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_checked() {
        for bits in [0, 32, 100, 2112] {
            assert!(check_bits(bits).is_err(), "{bits}");
        }
        for bits in [64, 192, 2048] {
            assert!(check_bits(bits).is_ok(), "{bits}");
        }
    }
}
