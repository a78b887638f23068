//! Vectors at unit length.

/// Appends a vector at unit length, read from and written as little-endian float32; `None`, and nothing appended, where
/// it has no direction: a value is not finite, or all are zero.
pub fn append_unit(values: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let floats = || values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
    let norm = floats().map(|value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    // One that is not finite makes the sum so, and no finite float32 does.
    if !(norm.is_finite() && norm > 0.0) {
        return None;
    }
    into.extend(floats().flat_map(|value| ((f64::from(value) / norm) as f32).to_le_bytes()));
    Some(())
}
