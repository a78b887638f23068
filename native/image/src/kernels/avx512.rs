//! Kernels for AVX-512 with VNNI.
//!
//! `vpdpbusd` multiplies 64 bytes with signed bytes and adds up neighbours in fours. So a weight is cut into its three
//! [`Digits`]; their sums are put together at the end.

use std::arch::x86_64::*;

use super::{ROWS, avx2, scalar};
use crate::PIXEL;
use crate::weights::{DIGITS, Digits, FRACTION_BITS, GROUP, Weights, digits};

/// Bytes of a register, and 32-bit sums in it.
const BYTES: usize = 64;
const LANES: usize = 16;

/// The sums of each digit.
#[derive(Clone, Copy)]
struct Sums([__m512i; DIGITS]);

impl Sums {
    #[target_feature(enable = "avx512f")]
    fn zero() -> Self {
        Self([_mm512_setzero_si512(); DIGITS])
    }

    /// Adds groups of four values, all with the same weights.
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn add(&mut self, values: __m512i, digits: Digits) {
        for (sum, digit) in self.0.iter_mut().zip(digits) {
            *sum = _mm512_dpbusd_epi32(*sum, values, _mm512_set1_epi32(digit));
        }
    }

    /// The whole sums, without their fraction.
    #[target_feature(enable = "avx512f")]
    fn joined(self) -> __m512i {
        let [low, middle, high] = self.0;
        let upper = _mm512_add_epi32(_mm512_slli_epi32::<8>(middle), _mm512_slli_epi32::<16>(high));
        let sum = _mm512_add_epi32(_mm512_add_epi32(low, upper), _mm512_set1_epi32(scalar::HALF));
        _mm512_srai_epi32::<FRACTION_BITS>(sum)
    }
}

/// See [`super::across`].
///
/// # Safety
/// The CPU has AVX-512 F, BW, VL and VNNI; `input` holds rows of `weights.line().inputs()` pixels, `output` as many of
/// `weights.line().outputs()`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn across(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let (width, resized) = (weights.line().inputs() * PIXEL, weights.line().outputs() * PIXEL);
    let whole = if weights.line().taps().is_multiple_of(GROUP) { input.len() / (ROWS * width) } else { 0 };
    let (together, rest) = input.split_at(whole * ROWS * width);
    let (output, rest_output) = output.split_at_mut(whole * ROWS * resized);
    for (input, output) in together.chunks_exact(ROWS * width).zip(output.chunks_exact_mut(ROWS * resized)) {
        // SAFETY: so many rows of these widths, and weights in whole groups.
        unsafe { rows_across(input, weights, output) };
    }
    // SAFETY: whole rows again; a CPU with AVX-512 has AVX2.
    unsafe { avx2::across(rest, weights, rest_output) };
}

/// Resizes [`ROWS`] rows, each in a lane of 128 bits.
///
/// # Safety
/// See [`across`]; there are as many rows, and the weights have whole groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rows_across(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let (width, resized) = (weights.line().inputs() * PIXEL, weights.line().outputs() * PIXEL);
    // Four pixels, channel by channel.
    let by_channel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let by_channel = _mm512_broadcast_i32x4(by_channel);
    for number in 0..weights.line().outputs() {
        let (start, _) = weights.of(number);
        let mut sums = Sums::zero();
        for (group, digits) in weights.digits_of(number).iter().enumerate() {
            let place = (start + group * GROUP) * PIXEL;
            // SAFETY: `start + taps` is within the row, so 16 bytes can be read.
            let load =
                |row: usize| unsafe { _mm_loadu_si128(input.as_ptr().add(row * width + place).cast()) };
            let pixels = _mm512_broadcast_i32x4(load(0));
            let pixels = _mm512_mask_broadcast_i32x4(pixels, 0x00f0, load(1));
            let pixels = _mm512_mask_broadcast_i32x4(pixels, 0x0f00, load(2));
            let pixels = _mm512_mask_broadcast_i32x4(pixels, 0xf000, load(3));
            sums.add(_mm512_shuffle_epi8(pixels, by_channel), *digits);
        }
        let bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(sums.joined(), _mm512_setzero_si512()));
        let mut pixels = [0; ROWS * PIXEL];
        // SAFETY: it has 16 bytes.
        unsafe { _mm_storeu_si128(pixels.as_mut_ptr().cast(), bytes) };
        for (row, pixel) in pixels.chunks_exact(PIXEL).enumerate() {
            output[row * resized + number * PIXEL..][..PIXEL].copy_from_slice(pixel);
        }
    }
}

/// See [`super::down`].
///
/// # Safety
/// The CPU has AVX-512 F, BW and VNNI; there are as many rows as weights, all of the length of `output`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn down(rows: &[&[u8]], weights: &[i32], output: &mut [u8]) {
    const PARTS: usize = BYTES / LANES;
    let groups: Vec<Digits> = weights.chunks(GROUP).map(digits).collect();
    for column in (0..output.len()).step_by(BYTES) {
        let left = output.len() - column;
        let mask = if left < BYTES { (1 << left) - 1 } else { u64::MAX };
        let load = |row: Option<&&[u8]>| match row {
            // SAFETY: every row is as long as `output`, and what is behind its end is not read.
            Some(row) => unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(column).cast()) },
            None => _mm512_setzero_si512(),
        };
        let mut sums = [Sums::zero(); PARTS];
        for (rows, digits) in rows.chunks(GROUP).zip(&groups) {
            let (one, two) = (load(rows.first()), load(rows.get(1)));
            let (three, four) = (load(rows.get(2)), load(rows.get(3)));
            let upper = [_mm512_unpacklo_epi8(one, two), _mm512_unpackhi_epi8(one, two)];
            let lower = [_mm512_unpacklo_epi8(three, four), _mm512_unpackhi_epi8(three, four)];
            for half in 0..2 {
                sums[2 * half].add(_mm512_unpacklo_epi16(upper[half], lower[half]), *digits);
                sums[2 * half + 1].add(_mm512_unpackhi_epi16(upper[half], lower[half]), *digits);
            }
        }
        let [a, b, c, d] = sums.map(|sums| sums.joined());
        let bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        // SAFETY: what is behind the end of `output` is not written.
        unsafe { _mm512_mask_storeu_epi8(output.as_mut_ptr().add(column).cast(), mask, bytes) };
    }
}
