//! The reference kernels.

use half::f16;

use super::{LANES, padded_tail};

/// See [`super::dot`].
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b, |y| y)
}

/// See [`super::dot_i8`].
pub fn dot_i8(query: &[f32], x: &[i8]) -> f32 {
    dot(query, x, f32::from)
}

/// See [`super::dot_f16`].
pub fn dot_f16(query: &[f32], x: &[u16]) -> f32 {
    dot(query, x, |bits| f16::from_bits(bits).to_f32_const())
}

fn dot<T: Copy + Default>(a: &[f32], b: &[T], widen: impl Fn(T) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let mut add = |x: &[f32], y: &[T]| {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * widen(*y);
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
