//! Dot products of a float query with stored vectors (f32, half precision, 8-bit integers): one lane
//! order for all instruction sets, so all give the same bits.
//!
//! Element `i` is widened to f32, multiplied and added (two roundings, never fused) to lane `i % 32`;
//! the lanes are then added in halves: 32 to 16, to 8, to 4, to 2, to 1. A tail is padded with zeros,
//! which changes no lane. Results therefore agree exactly between machines and replicas. NaN payloads
//! are not specified.

use crate::isa::{self, Isa};

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Number of accumulators.
pub const LANES: usize = 32;

/// Chooses the kernel of the instruction set in use.
macro_rules! dispatch {
    ($a:ident, $b:ident, $scalar:ident, $avx2:ident, $avx512:ident, $neon:ident) => {{
        assert_eq!($a.len(), $b.len(), "both vectors must have the same length");
        match isa::active() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `active` only returns what the CPU was found to have; lengths are equal.
            Isa::Avx512 => unsafe { x86::$avx512($a, $b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { x86::$avx2($a, $b) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths are equal.
            Isa::Neon => unsafe { aarch64::$neon($a, $b) },
            _ => scalar::$scalar($a, $b),
        }
    }};
}

/// The dot product of two vectors. Panics if the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dispatch!(a, b, dot_f32, dot_f32_avx2, dot_f32_avx512, dot_f32_neon)
}

/// The dot product with integers, before their scale. Panics if the lengths differ.
pub fn dot_i8(query: &[f32], x: &[i8]) -> f32 {
    dispatch!(query, x, dot_i8, dot_i8_avx2, dot_i8_avx512, dot_i8_neon)
}

/// The dot product with the bits of half-precision floats (IEEE binary16). Panics if the lengths differ.
pub fn dot_f16(query: &[f32], x: &[u16]) -> f32 {
    dispatch!(query, x, dot_f16, dot_f16_avx2, dot_f16_avx512, dot_f16_neon)
}

/// The last, incomplete block of `x`, padded with zeros.
fn padded_tail<T: Copy + Default>(x: &[T]) -> [T; LANES] {
    let mut block = [T::default(); LANES];
    let tail = &x[x.len() / LANES * LANES..];
    block[..tail.len()].copy_from_slice(tail);
    block
}
