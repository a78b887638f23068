//! Packing the signs of floats into words: the contract and the choice of kernel.

use crate::isa::{self, Isa};

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Values in a word.
const WORD: usize = 64;

/// Sets bit `i % 64`, counted from the least significant, of word `i / 64` where `values[i]` is not
/// negative (a zero of either sign is not, a NaN counts as negative), and clears it elsewhere.
///
/// Panics unless `values.len() == 64 * out.len()`.
pub fn pack_signs(values: &[f32], out: &mut [u64]) {
    assert_eq!(Some(values.len()), out.len().checked_mul(WORD), "one word per 64 values");
    match isa::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are checked above.
        Isa::Avx512 => unsafe { x86::pack_signs_avx512(values, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::pack_signs_avx2(values, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths are checked above.
        Isa::Neon => unsafe { aarch64::pack_signs_neon(values, out) },
        _ => scalar::pack_signs(values, out),
    }
}
