//! The reference kernel.

/// See [`super::distances`].
pub fn distances(query: &[u64], codes: &[u64], out: &mut [u32]) {
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(query.len())) {
        *out = query.iter().zip(code).map(|(a, b)| (a ^ b).count_ones()).sum();
    }
}
