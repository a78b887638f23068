//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::{LANES, padded_tail};

/// See [`super::dot`].
///
/// # Safety
/// The CPU has AVX2, and `a` and `b` have the same length.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [_mm256_setzero_ps(); 4];
    let mut add = |x: *const f32, y: *const f32| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: the callers below pass blocks of 32 readable floats, 4 loads of 8.
            let (x, y) = unsafe { (_mm256_loadu_ps(x.add(8 * i)), _mm256_loadu_ps(y.add(8 * i))) };
            *lane = _mm256_add_ps(*lane, _mm256_mul_ps(x, y));
        }
    };
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        add(x.as_ptr(), y.as_ptr());
    }
    if !a.len().is_multiple_of(LANES) {
        let (x, y) = (padded_tail(a), padded_tail(b));
        add(x.as_ptr(), y.as_ptr());
    }
    let low = _mm256_add_ps(lanes[0], lanes[2]);
    let high = _mm256_add_ps(lanes[1], lanes[3]);
    sum_of_8(_mm256_add_ps(low, high))
}

/// See [`super::dot`].
///
/// # Safety
/// The CPU has AVX-512 F, and `a` and `b` have the same length.
#[target_feature(enable = "avx512f")]
pub unsafe fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [_mm512_setzero_ps(); 2];
    let mut add = |x: *const f32, y: *const f32| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: the callers below pass blocks of 32 readable floats, 2 loads of 16.
            let (x, y) = unsafe { (_mm512_loadu_ps(x.add(16 * i)), _mm512_loadu_ps(y.add(16 * i))) };
            *lane = _mm512_add_ps(*lane, _mm512_mul_ps(x, y));
        }
    };
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        add(x.as_ptr(), y.as_ptr());
    }
    if !a.len().is_multiple_of(LANES) {
        let (x, y) = (padded_tail(a), padded_tail(b));
        add(x.as_ptr(), y.as_ptr());
    }
    let sum = _mm512_castps_pd(_mm512_add_ps(lanes[0], lanes[1]));
    let low = _mm256_castpd_ps(_mm512_castpd512_pd256(sum));
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(sum));
    sum_of_8(_mm256_add_ps(low, high))
}

/// Adds 8 lanes in halves.
#[target_feature(enable = "avx")]
fn sum_of_8(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
}
