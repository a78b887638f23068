//! NEON kernel.

use std::arch::aarch64::*;

/// See [`super::distances`].
///
/// # Safety
/// `codes.len() == query.len() * out.len()`.
#[target_feature(enable = "neon")]
pub unsafe fn distances_neon(query: &[u64], codes: &[u64], out: &mut [u32]) {
    let words = query.len();
    let tail = words & !1;
    for (out, code) in out.iter_mut().zip(codes.chunks_exact(words)) {
        let mut total = vdupq_n_u64(0);
        for at in (0..tail).step_by(2) {
            // SAFETY: `at + 2 <= words`, the length of both slices.
            let (a, b) = unsafe { (vld1q_u64(query.as_ptr().add(at)), vld1q_u64(code.as_ptr().add(at))) };
            let bytes = vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b)));
            total = vaddq_u64(total, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
        }
        *out = vaddvq_u64(total) as u32
            + query[tail..].iter().zip(&code[tail..]).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    }
}
