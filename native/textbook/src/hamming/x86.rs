//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::BLOCK;
use super::nearest::Nearest;

/// Population counts of bytes by nibble look-up (Muła, Kurz & Lemire, "Faster Population Counts Using AVX2
/// Instructions", The Computer Journal 2018).
#[inline]
#[target_feature(enable = "avx2")]
fn ones_in_bytes(bits: __m256i) -> __m256i {
    let counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let low_nibble = _mm256_set1_epi8(0x0F);
    let low = _mm256_and_si256(bits, low_nibble);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), low_nibble);
    _mm256_add_epi8(_mm256_shuffle_epi8(counts, low), _mm256_shuffle_epi8(counts, high))
}

/// See [`super::distances`].
///
/// # Safety
/// The CPU has AVX2 and POPCNT, and `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "avx2,popcnt")]
pub unsafe fn distances_avx2(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = _mm256_setzero_si256();
        for at in (0..words & !3).step_by(4) {
            // SAFETY: `at + 4 <= words`, the length of both slices; loads are unaligned.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(code.as_ptr().add(at).cast()),
                )
            };
            let bytes = ones_in_bytes(_mm256_xor_si256(a, b));
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
        let pair = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
        let blocks = _mm_cvtsi128_si64(pair) + _mm_extract_epi64::<1>(pair);
        let tail = words & !3;
        *out = blocks as u32
            + query[tail..].iter().zip(&code[tail..]).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    }
}

/// See [`super::distances`].
///
/// # Safety
/// The CPU has AVX-512 F and VPOPCNTDQ, and `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub unsafe fn distances_avx512(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = _mm512_setzero_si512();
        for at in (0..words).step_by(8) {
            let mask = (0xFFu16 >> (8 - (words - at).min(8))) as __mmask8;
            // SAFETY: the mask keeps the loads inside `words`, the length of both slices.
            let (a, b) = unsafe {
                (
                    _mm512_maskz_loadu_epi64(mask, query.as_ptr().add(at).cast()),
                    _mm512_maskz_loadu_epi64(mask, code.as_ptr().add(at).cast()),
                )
            };
            total = _mm512_add_epi64(total, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)));
        }
        *out = _mm512_reduce_add_epi64(total) as u32;
    }
}

/// See [`super::top::scan`].
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn scan_avx2(query: &[u64], blocks: &[u64], first: usize, nearest: &mut Nearest) {
    // A byte counts at most 8 for each word.
    const WORDS: usize = 31;
    let zero = _mm256_setzero_si256();
    for (block, first) in blocks.chunks_exact(query.len() * BLOCK).zip((first..).step_by(BLOCK)) {
        let mut totals = [zero; BLOCK / 4];
        for (words, columns) in query.chunks(WORDS).zip(block.chunks(WORDS * BLOCK)) {
            let mut bytes = [zero; BLOCK / 4];
            for (word, column) in words.iter().zip(columns.as_chunks::<BLOCK>().0) {
                let word = _mm256_set1_epi64x(*word as i64);
                for (bytes, codes) in bytes.iter_mut().zip(column.as_chunks::<4>().0) {
                    // SAFETY: an unaligned load of 4 words.
                    let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
                    *bytes = _mm256_add_epi8(*bytes, ones_in_bytes(_mm256_xor_si256(word, codes)));
                }
            }
            for (total, bytes) in totals.iter_mut().zip(bytes) {
                *total = _mm256_add_epi64(*total, _mm256_sad_epu8(bytes, zero));
            }
        }
        let limit = _mm256_set1_epi64x(i64::from(nearest.limit()));
        let below = totals.map(|total| _mm256_cmpgt_epi64(limit, total));
        let any = _mm256_or_si256(_mm256_or_si256(below[0], below[1]), _mm256_or_si256(below[2], below[3]));
        if _mm256_testz_si256(any, any) == 0 {
            let mut distances = [0; BLOCK];
            for (out, total) in distances.as_chunks_mut::<4>().0.iter_mut().zip(totals) {
                // SAFETY: an unaligned store of 4 words.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), total) };
            }
            nearest.offer(first, &distances);
        }
    }
}

/// See [`super::top::scan`].
///
/// # Safety
/// The CPU has AVX-512 F and VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
pub unsafe fn scan_avx512(query: &[u64], blocks: &[u64], first: usize, nearest: &mut Nearest) {
    for (block, first) in blocks.chunks_exact(query.len() * BLOCK).zip((first..).step_by(BLOCK)) {
        let mut totals = [_mm512_setzero_si512(); BLOCK / 8];
        for (word, column) in query.iter().zip(block.as_chunks::<BLOCK>().0) {
            let word = _mm512_set1_epi64(*word as i64);
            for (total, codes) in totals.iter_mut().zip(column.as_chunks::<8>().0) {
                // SAFETY: an unaligned load of 8 words.
                let codes = unsafe { _mm512_loadu_epi64(codes.as_ptr().cast()) };
                *total = _mm512_add_epi64(*total, _mm512_popcnt_epi64(_mm512_xor_si512(word, codes)));
            }
        }
        let limit = _mm512_set1_epi64(i64::from(nearest.limit()));
        let below = totals.map(|total| _mm512_cmplt_epu64_mask(total, limit));
        if below[0] | below[1] != 0 {
            let mut distances = [0; BLOCK];
            for (out, total) in distances.as_chunks_mut::<8>().0.iter_mut().zip(totals) {
                // SAFETY: an unaligned store of 8 words.
                unsafe { _mm512_storeu_epi64(out.as_mut_ptr().cast(), total) };
            }
            nearest.offer(first, &distances);
        }
    }
}

/// As [`scan_avx512`] for codes of 4 words as they lie: one query does not pay for columns.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
pub unsafe fn scan_rows_of_4_avx512(
    query: &[u64; 4],
    codes: &[[u64; 4]],
    first: usize,
    nearest: &mut Nearest,
) {
    // SAFETY: an unaligned load of 4 words.
    let query = _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(query.as_ptr().cast()) });
    for (block, first) in codes.as_chunks::<BLOCK>().0.iter().zip((first..).step_by(BLOCK)) {
        let differing = |pair: usize| {
            // SAFETY: an unaligned load of two codes: `pair` is below 8.
            let codes = unsafe { _mm512_loadu_epi64(block.as_ptr().add(2 * pair).cast()) };
            _mm512_popcnt_epi64(_mm512_xor_si512(query, codes))
        };
        let sums = [0, 4].map(|pair| sums_of_4_words([0, 1, 2, 3].map(|next| differing(pair + next))));
        // First codes of the pairs lie in the low half, second ones in the high half.
        offer_fields(sums, |code| code / 2 + code % 2 * 16, first, nearest);
    }
}

/// As [`scan_rows_of_4_avx512`] for codes of 8 words.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
pub unsafe fn scan_rows_of_8_avx512(
    query: &[u64; 8],
    codes: &[[u64; 8]],
    first: usize,
    nearest: &mut Nearest,
) {
    // SAFETY: an unaligned load of 8 words.
    let query = unsafe { _mm512_loadu_epi64(query.as_ptr().cast()) };
    for (block, first) in codes.as_chunks::<BLOCK>().0.iter().zip((first..).step_by(BLOCK)) {
        let differing = |code: usize| {
            // SAFETY: an unaligned load of one code: `code` is below 16.
            let code = unsafe { _mm512_loadu_epi64(block.as_ptr().add(code).cast()) };
            _mm512_popcnt_epi64(_mm512_xor_si512(query, code))
        };
        let sums = [0, 4, 8, 12].map(|code| {
            let halves = sums_of_4_words([0, 1, 2, 3].map(|next| differing(code + next)));
            _mm512_add_epi64(halves, _mm512_shuffle_i64x2::<0x4E>(halves, halves))
        });
        offer_fields(sums, |code| code, first, nearest);
    }
}

/// Sums over the four words of each half of four registers, whose words are below 2^13: the sums for register `i` are
/// in the 16-bit fields `4 j + i` of the half.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_of_4_words(counts: [__m512i; 4]) -> __m512i {
    let low = _mm512_or_si512(counts[0], _mm512_slli_epi64::<16>(counts[1]));
    let high = _mm512_or_si512(counts[2], _mm512_slli_epi64::<16>(counts[3]));
    let words = _mm512_or_si512(low, _mm512_slli_epi64::<32>(high));
    let twos = _mm512_add_epi64(words, _mm512_permutex_epi64::<0xB1>(words));
    _mm512_add_epi64(twos, _mm512_permutex_epi64::<0x4E>(twos))
}

/// Offers a block where any of its distances, which lie in 16-bit fields, is below the limit. `field` gives the
/// field of each of the `BLOCK / N` codes of a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn offer_fields<const N: usize>(
    sums: [__m512i; N],
    field: impl Fn(usize) -> usize,
    first: usize,
    nearest: &mut Nearest,
) {
    let limit = _mm512_set1_epi16(nearest.limit() as i16);
    if sums.iter().any(|sums| _mm512_cmplt_epu16_mask(*sums, limit) != 0) {
        let fields = sums.map(|sums| {
            let mut fields = [0u16; 32];
            // SAFETY: an unaligned store of 32 fields.
            unsafe { _mm512_storeu_epi16(fields.as_mut_ptr().cast(), sums) };
            fields
        });
        let codes = BLOCK / N;
        let of_code = |code: usize| u64::from(fields[code / codes][field(code % codes)]);
        nearest.offer(first, &std::array::from_fn(of_code));
    }
}

/// Lays out the words of a whole block but for the last `words % 4` of each code; see [`super::top::transpose`].
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn transpose_avx2(codes: &[u64], words: usize, block: &mut [u64]) {
    assert!(codes.len() == BLOCK * words && block.len() == BLOCK * words, "one block");
    let (from, to) = (codes.as_ptr(), block.as_mut_ptr());
    for lane in (0..BLOCK).step_by(4) {
        for word in (0..words & !3).step_by(4) {
            // SAFETY: `lane + i < BLOCK` and `word + 4 <= words`: inside a code.
            let load = |i: usize| unsafe { _mm256_loadu_si256(from.add((lane + i) * words + word).cast()) };
            let (a, b, c, d) = (load(0), load(1), load(2), load(3));
            let (ab_even, ab_odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
            let (cd_even, cd_odd) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
            let columns = [
                _mm256_permute2x128_si256::<0x20>(ab_even, cd_even),
                _mm256_permute2x128_si256::<0x20>(ab_odd, cd_odd),
                _mm256_permute2x128_si256::<0x31>(ab_even, cd_even),
                _mm256_permute2x128_si256::<0x31>(ab_odd, cd_odd),
            ];
            for (i, column) in columns.into_iter().enumerate() {
                // SAFETY: `word + i < words` and `lane + 4 <= BLOCK`: inside a column.
                unsafe { _mm256_storeu_si256(to.add((word + i) * BLOCK + lane).cast(), column) };
            }
        }
    }
}
