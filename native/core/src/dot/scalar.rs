//! The reference kernel.

use super::{LANES, padded_tail};

/// See [`super::dot`].
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let mut add = |x: &[f32], y: &[f32]| {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    };
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        add(x, y);
    }
    add(&padded_tail(a), &padded_tail(b));
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}
