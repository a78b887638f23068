//! AVX2 and AVX-512 kernels.

use std::arch::x86_64::*;

use super::{AHEAD, BLOCK, LANES, OFFSET, STEP, UNIT, prefetch_row, scalar};

/// Kernels for AVX-512 with VNNI.
pub mod avx512 {
    use super::*;

    /// See [`crate::kernels::coarse::project`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F and VL.
    #[target_feature(enable = "avx512f,avx512vl")]
    pub unsafe fn project(basis: &[f32], x: &[f32], out: &mut [f32]) {
        scalar::project(basis, x, out);
    }

    /// See [`crate::kernels::coarse::scores`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW and VNNI; `codes.len() == out.len() * query.len()`, and both are whole
    /// blocks and steps.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
        let total: i32 = query.iter().map(|q| i32::from(*q)).sum();
        let start = _mm512_set1_epi32(-OFFSET * total);
        for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
            // Four sums, as each addition must wait for the one before.
            let mut sums = [start, _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()];
            let mut add = |sum: usize, codes: &[u8; BLOCK * STEP], query: &[i8; STEP]| {
                // SAFETY: 64 bytes are readable at `codes`.
                let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
                sums[sum] = _mm512_dpbusd_epi32(sums[sum], codes, _mm512_set1_epi32(four(query)));
            };
            let (codes, queries) = (block.as_chunks().0, query.as_chunks().0);
            let ((codes, last_codes), (queries, last_queries)) = (codes.as_chunks(), queries.as_chunks());
            for (codes, queries) in codes.iter().zip(queries) {
                let (codes, queries): (&[_; 4], &[_; 4]) = (codes, queries);
                (0..4).for_each(|sum| add(sum, &codes[sum], &queries[sum]));
            }
            last_codes.iter().zip(last_queries).for_each(|(codes, query)| add(0, codes, query));
            let add = |a, b| _mm512_add_epi32(a, b);
            let sums = add(add(sums[0], sums[1]), add(sums[2], sums[3]));
            // SAFETY: `out` holds 16 scores.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
        }
    }

    /// See [`crate::kernels::coarse::range`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn range(scores: &[i32]) -> (i32, i32) {
        let mut highest = _mm512_set1_epi32(i32::MIN);
        for block in scores.as_chunks().0 {
            highest = _mm512_max_epi32(highest, load(block));
        }
        (_mm512_reduce_min_epi32(highest), _mm512_reduce_max_epi32(highest))
    }

    /// See [`crate::kernels::coarse::count_at_least`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn count_at_least(scores: &[i32], threshold: i32) -> usize {
        let (threshold, minus_one) = (_mm512_set1_epi32(threshold), _mm512_set1_epi32(-1));
        let mut counts = [_mm512_setzero_si512(); 4];
        let mut add = |at: usize, block: &[i32; BLOCK]| {
            let found = _mm512_cmpge_epi32_mask(load(block), threshold);
            counts[at] = _mm512_mask_sub_epi32(counts[at], found, counts[at], minus_one);
        };
        let (fours, rest) = scores.as_chunks().0.as_chunks::<4>();
        for four in fours {
            (0..4).for_each(|at| add(at, &four[at]));
        }
        rest.iter().for_each(|block| add(0, block));
        let sum = |a, b| _mm512_add_epi32(a, b);
        _mm512_reduce_add_epi32(sum(sum(counts[0], counts[1]), sum(counts[2], counts[3]))) as usize
    }

    /// See [`crate::kernels::coarse::collect_at_least`]. Stores whole registers and keeps what was found: branches
    /// on rare scores would be mispredicted.
    ///
    /// # Safety
    /// The CPU has AVX-512 F and POPCNT.
    #[target_feature(enable = "avx512f,popcnt")]
    pub unsafe fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
        let threshold = _mm512_set1_epi32(threshold);
        let mut positions = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        out.reserve(scores.len());
        let free = out.spare_capacity_mut().as_mut_ptr();
        let mut kept = 0;
        for block in scores.as_chunks().0 {
            let found = _mm512_cmpge_epi32_mask(load(block), threshold);
            // SAFETY: at most 16 are kept for each block before, so 16 more fit the reserved room.
            unsafe {
                _mm512_storeu_si512(free.add(kept).cast(), _mm512_maskz_compress_epi32(found, positions));
            }
            kept += found.count_ones() as usize;
            positions = _mm512_add_epi32(positions, _mm512_set1_epi32(BLOCK as i32));
        }
        // SAFETY: the first `kept` of the spare places were written above.
        unsafe { out.set_len(out.len() + kept) };
    }

    /// See [`crate::kernels::coarse::similarities`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F and BW; every numbered row of `query.len()` lies in `rows`.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn similarities(rows: &[i16], query: &[f32], numbers: &[u32], out: &mut Vec<(f32, u32)>) {
        (0..AHEAD).for_each(|at| prefetch_row(rows, query.len(), numbers, at));
        for (at, number) in numbers.iter().enumerate() {
            prefetch_row(rows, query.len(), numbers, at + AHEAD);
            let row = &rows[*number as usize * query.len()..][..query.len()];
            let mut lanes = [_mm512_setzero_ps(); 2];
            for (row, query) in row.as_chunks::<LANES>().0.iter().zip(query.as_chunks::<LANES>().0) {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    // SAFETY: both chunks hold 32 values, two loads of 16.
                    let (row, query) = unsafe {
                        (
                            _mm256_loadu_si256(row.as_ptr().add(16 * i).cast()),
                            _mm512_loadu_ps(query.as_ptr().add(16 * i)),
                        )
                    };
                    let row = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(row));
                    *lane = _mm512_add_ps(*lane, _mm512_mul_ps(row, query));
                }
            }
            let sum = _mm512_castps_pd(_mm512_add_ps(lanes[0], lanes[1]));
            let low = _mm256_castpd_ps(_mm512_castpd512_pd256(sum));
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(sum));
            out.push((sum_of_8(_mm256_add_ps(low, high)) * UNIT, *number));
        }
    }

    #[target_feature(enable = "avx512f")]
    fn load(block: &[i32; BLOCK]) -> __m512i {
        // SAFETY: a block is as long as the register.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }
}

/// Kernels for AVX2.
pub mod avx2 {
    use super::*;

    /// See [`crate::kernels::coarse::project`].
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn project(basis: &[f32], x: &[f32], out: &mut [f32]) {
        scalar::project(basis, x, out);
    }

    /// See [`crate::kernels::coarse::scores`]. Bytes are widened first: products of unsigned and signed bytes
    /// would not fit the 16 bits of `pmaddubsw`.
    ///
    /// # Safety
    /// The CPU has AVX2; `codes.len() == out.len() * query.len()`, and both are whole blocks and steps.
    #[target_feature(enable = "avx2")]
    pub unsafe fn scores(codes: &[u8], query: &[i8], out: &mut [i32]) {
        let total: i32 = query.iter().map(|q| i32::from(*q)).sum();
        let correction = _mm256_set1_epi32(-OFFSET * total);
        for (block, out) in codes.chunks_exact(BLOCK * query.len()).zip(out.chunks_exact_mut(BLOCK)) {
            // Two sums for each cell, of the first and of the second two coordinates of a step.
            let mut sums = [_mm256_setzero_si256(); 4];
            for (codes, query) in block.as_chunks::<{ BLOCK * STEP }>().0.iter().zip(query.as_chunks().0) {
                let query = _mm256_cvtepi8_epi16(_mm_set1_epi32(four(query)));
                for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes are readable at `codes`.
                    let codes = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) });
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, query));
                }
            }
            for (pair, out) in sums.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<8>().0) {
                let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(pair[0], pair[1]));
                // SAFETY: `out` holds 8 scores.
                unsafe {
                    _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_add_epi32(halves, correction));
                }
            }
        }
    }

    /// See [`crate::kernels::coarse::range`].
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn range(scores: &[i32]) -> (i32, i32) {
        scalar::range(scores)
    }

    /// See [`crate::kernels::coarse::count_at_least`].
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn count_at_least(scores: &[i32], threshold: i32) -> usize {
        scalar::count_at_least(scores, threshold)
    }

    /// See [`crate::kernels::coarse::collect_at_least`].
    ///
    /// # Safety
    /// The CPU has AVX2 and BMI1.
    #[target_feature(enable = "avx2,bmi1")]
    pub unsafe fn collect_at_least(scores: &[i32], threshold: i32, out: &mut Vec<u32>) {
        scalar::collect_at_least(scores, threshold, out);
    }

    /// See [`crate::kernels::coarse::similarities`].
    ///
    /// # Safety
    /// The CPU has AVX2; every numbered row of `query.len()` lies in `rows`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn similarities(rows: &[i16], query: &[f32], numbers: &[u32], out: &mut Vec<(f32, u32)>) {
        (0..AHEAD).for_each(|at| prefetch_row(rows, query.len(), numbers, at));
        for (at, number) in numbers.iter().enumerate() {
            prefetch_row(rows, query.len(), numbers, at + AHEAD);
            let row = &rows[*number as usize * query.len()..][..query.len()];
            let mut lanes = [_mm256_setzero_ps(); 4];
            for (row, query) in row.as_chunks::<LANES>().0.iter().zip(query.as_chunks::<LANES>().0) {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    // SAFETY: both chunks hold 32 values, four loads of 8.
                    let (row, query) = unsafe {
                        (
                            _mm_loadu_si128(row.as_ptr().add(8 * i).cast()),
                            _mm256_loadu_ps(query.as_ptr().add(8 * i)),
                        )
                    };
                    let row = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(row));
                    *lane = _mm256_add_ps(*lane, _mm256_mul_ps(row, query));
                }
            }
            let (low, high) = (_mm256_add_ps(lanes[0], lanes[2]), _mm256_add_ps(lanes[1], lanes[3]));
            out.push((sum_of_8(_mm256_add_ps(low, high)) * UNIT, *number));
        }
    }
}

/// Four bytes as one integer, to be spread over a register.
fn four(bytes: &[i8; STEP]) -> i32 {
    i32::from_le_bytes(bytes.map(|b| b as u8))
}

/// Adds 8 lanes in halves.
#[target_feature(enable = "avx")]
fn sum_of_8(v: __m256) -> f32 {
    let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
}
