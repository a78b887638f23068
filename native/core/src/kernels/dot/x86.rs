//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::{LANES, padded_tail};

/// See [`super::dot`].
///
/// # Safety
/// The CPU has AVX2, and `a` and `b` have the same length.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_f32_avx2(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: `dot_avx2` passes 8 readable floats.
    dot_avx2(a, b, |y| unsafe { _mm256_loadu_ps(y) })
}

/// See [`super::dot_i8`].
///
/// # Safety
/// The CPU has AVX2, and `query` and `x` have the same length.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_i8_avx2(query: &[f32], x: &[i8]) -> f32 {
    // SAFETY: `dot_avx2` passes 8 readable bytes.
    let load = |y: *const i8| unsafe { _mm_loadl_epi64(y.cast()) };
    dot_avx2(query, x, |y| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load(y))))
}

/// See [`super::dot_f16`].
///
/// # Safety
/// The CPU has AVX2 and F16C, and `query` and `x` have the same length.
#[target_feature(enable = "avx2,f16c")]
pub unsafe fn dot_f16_avx2(query: &[f32], x: &[u16]) -> f32 {
    // SAFETY: `dot_avx2` passes 8 readable half-precision floats.
    let load = |y: *const u16| unsafe { _mm_loadu_si128(y.cast()) };
    dot_avx2(query, x, |y| _mm256_cvtph_ps(load(y)))
}

/// See [`super::dot`].
///
/// # Safety
/// The CPU has AVX-512 F, and `a` and `b` have the same length.
#[target_feature(enable = "avx512f")]
pub unsafe fn dot_f32_avx512(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: `dot_avx512` passes 16 readable floats.
    dot_avx512(a, b, |y| unsafe { _mm512_loadu_ps(y) })
}

/// See [`super::dot_i8`].
///
/// # Safety
/// The CPU has AVX-512 F, and `query` and `x` have the same length.
#[target_feature(enable = "avx512f")]
pub unsafe fn dot_i8_avx512(query: &[f32], x: &[i8]) -> f32 {
    // SAFETY: `dot_avx512` passes 16 readable bytes.
    let load = |y: *const i8| unsafe { _mm_loadu_si128(y.cast()) };
    dot_avx512(query, x, |y| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load(y))))
}

/// See [`super::dot_f16`].
///
/// # Safety
/// The CPU has AVX-512 F, and `query` and `x` have the same length.
#[target_feature(enable = "avx512f")]
pub unsafe fn dot_f16_avx512(query: &[f32], x: &[u16]) -> f32 {
    // SAFETY: `dot_avx512` passes 16 readable half-precision floats.
    let load = |y: *const u16| unsafe { _mm256_loadu_si256(y.cast()) };
    dot_avx512(query, x, |y| _mm512_cvtph_ps(load(y)))
}

/// `widen` is given pointers to 8 readable elements.
#[target_feature(enable = "avx2")]
#[inline]
fn dot_avx2<T: Copy + Default>(a: &[f32], b: &[T], widen: impl Fn(*const T) -> __m256) -> f32 {
    let mut lanes = [_mm256_setzero_ps(); 4];
    let mut add = |x: &[f32; LANES], y: &[T; LANES]| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: blocks of 32 are 4 loads of 8.
            let (x, y) = unsafe { (_mm256_loadu_ps(x.as_ptr().add(8 * i)), y.as_ptr().add(8 * i)) };
            *lane = _mm256_add_ps(*lane, _mm256_mul_ps(x, widen(y)));
        }
    };
    for (x, y) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        add(x, y);
    }
    if !a.len().is_multiple_of(LANES) {
        add(&padded_tail(a), &padded_tail(b));
    }
    let low = _mm256_add_ps(lanes[0], lanes[2]);
    let high = _mm256_add_ps(lanes[1], lanes[3]);
    sum_of_8(_mm256_add_ps(low, high))
}

/// `widen` is given pointers to 16 readable elements.
#[target_feature(enable = "avx512f")]
#[inline]
fn dot_avx512<T: Copy + Default>(a: &[f32], b: &[T], widen: impl Fn(*const T) -> __m512) -> f32 {
    let mut lanes = [_mm512_setzero_ps(); 2];
    let mut add = |x: &[f32; LANES], y: &[T; LANES]| {
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: blocks of 32 are 2 loads of 16.
            let (x, y) = unsafe { (_mm512_loadu_ps(x.as_ptr().add(16 * i)), y.as_ptr().add(16 * i)) };
            *lane = _mm512_add_ps(*lane, _mm512_mul_ps(x, widen(y)));
        }
    };
    for (x, y) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        add(x, y);
    }
    if !a.len().is_multiple_of(LANES) {
        add(&padded_tail(a), &padded_tail(b));
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
