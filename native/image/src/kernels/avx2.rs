//! Kernels for AVX2.
//!
//! `vpmaddwd` multiplies 16 pairs of 16 bits and adds neighbours, but a weight has more bits. So it is cut in two,
//! `weight = high * 2^11 + low`, both of which fit; the two sums are put together at the end.

use std::arch::x86_64::*;

use super::{ROWS, scalar};
use crate::PIXEL;
use crate::weights::{FRACTION_BITS, GROUP, Weights};

const LOW_BITS: i32 = 11;
const LOW_MASK: i32 = (1 << LOW_BITS) - 1;
const SHIFT: i32 = FRACTION_BITS as i32;
/// Bytes that [`down`] sums up together.
const COLUMNS: usize = 16;

/// Two sums of one kind of weight each.
#[derive(Clone, Copy)]
struct Sums {
    high: __m256i,
    low: __m256i,
}

impl Sums {
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        Self { high: _mm256_setzero_si256(), low: _mm256_setzero_si256() }
    }

    /// Adds pairs of values, each with a pair of weights.
    #[target_feature(enable = "avx2")]
    fn add(&mut self, values: __m256i, high: __m256i, low: __m256i) {
        self.high = _mm256_add_epi32(self.high, _mm256_madd_epi16(values, high));
        self.low = _mm256_add_epi32(self.low, _mm256_madd_epi16(values, low));
    }

    /// The whole sums.
    #[target_feature(enable = "avx2")]
    fn joined(self) -> __m256i {
        _mm256_add_epi32(_mm256_slli_epi32::<LOW_BITS>(self.high), self.low)
    }
}

/// Cuts four weights: two pairs of their upper parts, then two of their lower ones.
#[target_feature(enable = "avx2")]
fn cut(weights: __m128i) -> __m256i {
    let (high, low) = (_mm_srai_epi32::<LOW_BITS>(weights), _mm_and_si128(weights, _mm_set1_epi32(LOW_MASK)));
    // Nothing saturates: both have fewer than 16 bits.
    _mm256_castsi128_si256(_mm_packs_epi32(high, low))
}

/// See [`super::across`].
///
/// # Safety
/// The CPU has AVX2; `input` holds rows of `weights.line().inputs()` pixels, `output` as many of `weights.line().outputs()`.
#[target_feature(enable = "avx2")]
pub unsafe fn across(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let (width, resized) = (weights.line().inputs() * PIXEL, weights.line().outputs() * PIXEL);
    let (together, alone) = input.split_at(input.len() / (ROWS * width) * ROWS * width);
    let (output, rest) = output.split_at_mut(together.len() / width * resized);
    for (input, output) in together.chunks_exact(ROWS * width).zip(output.chunks_exact_mut(ROWS * resized)) {
        // SAFETY: so many rows of these widths.
        unsafe { rows_across::<ROWS>(input, weights, output) };
    }
    for (input, output) in alone.chunks_exact(width).zip(rest.chunks_exact_mut(resized)) {
        // SAFETY: one row of these widths.
        unsafe { rows_across::<1>(input, weights, output) };
    }
}

/// Resizes `N` rows.
///
/// # Safety
/// See [`across`]; there are as many rows.
#[target_feature(enable = "avx2")]
unsafe fn rows_across<const N: usize>(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let (width, outputs, taps) = (weights.line().inputs(), weights.line().outputs(), weights.line().taps());
    let grouped = taps / GROUP * GROUP;
    // Of four pixels: the first two in the lower lane, the others in the upper one, channel by channel in pairs.
    let zip = _mm256_setr_epi8(
        0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, //
        8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1,
    );
    let (high_lanes, low_lanes) =
        (_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
    for number in 0..outputs {
        let (start, weights) = weights.of(number);
        let mut sums = [Sums::zero(); N];
        for tap in (0..grouped).step_by(GROUP) {
            // SAFETY: the group is within the taps.
            let cut = cut(unsafe { _mm_loadu_si128(weights.as_ptr().add(tap).cast()) });
            let high = _mm256_permutevar8x32_epi32(cut, high_lanes);
            let low = _mm256_permutevar8x32_epi32(cut, low_lanes);
            for (row, sums) in sums.iter_mut().enumerate() {
                let pixel = row * width + start + tap;
                // SAFETY: `start + taps` is within the row, and the group within the taps, so 16 bytes can be read.
                let four = unsafe { _mm_loadu_si128(input.as_ptr().add(pixel * PIXEL).cast()) };
                sums.add(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four), zip), high, low);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let joined = sums.joined();
            let mut sum =
                _mm_add_epi32(_mm256_castsi256_si128(joined), _mm256_extracti128_si256::<1>(joined));
            for (tap, weight) in weights.iter().enumerate().skip(grouped) {
                let pixel = (row * width + start + tap) * PIXEL;
                let value = i32::from_le_bytes(input[pixel..pixel + PIXEL].try_into().expect("a pixel"));
                let value = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(value));
                sum = _mm_add_epi32(sum, _mm_mullo_epi32(value, _mm_set1_epi32(*weight)));
            }
            let bytes = to_bytes(_mm256_castsi128_si256(sum));
            let to = (row * outputs + number) * PIXEL;
            output[to..to + PIXEL].copy_from_slice(&_mm_cvtsi128_si32(bytes).to_le_bytes());
        }
    }
}

/// Rounds the sums of both lanes, without the half that they lack, to bytes: those of the lower lane first.
#[target_feature(enable = "avx2")]
fn to_bytes(sums: __m256i) -> __m128i {
    let whole = _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(sums, _mm256_set1_epi32(scalar::HALF)));
    let words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
    _mm_packus_epi16(words, words)
}

/// See [`super::down`].
///
/// # Safety
/// The CPU has AVX2; there are as many rows as weights, all of the length of `output`.
#[target_feature(enable = "avx2")]
pub unsafe fn down(rows: &[&[u8]], weights: &[i32], output: &mut [u8]) {
    let whole = output.len() / COLUMNS * COLUMNS;
    for column in (0..whole).step_by(COLUMNS) {
        // SAFETY: every row is as long as `output`, of which 16 bytes are left.
        let load = |row: &[u8]| unsafe { _mm_loadu_si128(row.as_ptr().add(column).cast()) };
        let mut sums = [Sums::zero(); 2];
        for (rows, weights) in rows.chunks(2).zip(weights.chunks(2)) {
            let (first, second, weight) = match (rows, weights) {
                ([first, second], [_, weight]) => (load(first), load(second), *weight),
                _ => (load(rows[0]), _mm_setzero_si128(), 0),
            };
            let cut = cut(_mm_setr_epi32(weights[0], weight, 0, 0));
            let high = _mm256_permutevar8x32_epi32(cut, _mm256_setzero_si256());
            let low = _mm256_permutevar8x32_epi32(cut, _mm256_set1_epi32(2));
            let pairs = [_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second)];
            for (sums, pairs) in sums.iter_mut().zip(pairs) {
                sums.add(_mm256_cvtepu8_epi16(pairs), high, low);
            }
        }
        let [left, right] = sums.map(|sums| to_bytes(sums.joined()));
        // SAFETY: 16 bytes of `output` are left.
        unsafe { _mm_storeu_si128(output.as_mut_ptr().add(column).cast(), _mm_unpacklo_epi64(left, right)) };
    }
    scalar::down_from(whole, rows, weights, output);
}
