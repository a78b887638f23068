//! The reference kernel.

/// See [`super::hadamard`].
pub fn hadamard(x: &mut [f32], scales: Option<&[f32]>) {
    if let Some(scales) = scales {
        x.iter_mut().zip(scales).for_each(|(v, scale)| *v *= scale);
    }
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}
