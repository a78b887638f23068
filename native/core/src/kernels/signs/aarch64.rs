//! NEON kernel.

use std::arch::aarch64::*;

use super::WORD;

/// See [`super::pack_signs`].
///
/// # Safety
/// `values.len() == 64 * out.len()`.
#[target_feature(enable = "neon")]
pub unsafe fn pack_signs_neon(values: &[f32], out: &mut [u64]) {
    // SAFETY: four readable integers.
    let weights = unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) };
    for (word, values) in out.iter_mut().zip(values.chunks_exact(WORD)) {
        *word = 0;
        for i in 0..16 {
            // SAFETY: `values` has 64 floats, 16 loads of 4.
            let v = unsafe { vld1q_f32(values.as_ptr().add(4 * i)) };
            let bits = vaddvq_u32(vandq_u32(vcgezq_f32(v), weights));
            *word |= u64::from(bits) << (4 * i);
        }
    }
}
