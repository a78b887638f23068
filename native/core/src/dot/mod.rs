//! The float dot product: one lane order for all instruction sets, so all give the same bits.
//!
//! Element `i` is multiplied and added (two roundings, never fused) to lane `i % 32`; the lanes are
//! then added in halves: 32 to 16, to 8, to 4, to 2, to 1. A tail is padded with zeros, which changes
//! no lane. Results therefore agree exactly between machines and replicas.

use crate::isa::{self, Isa};

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Number of accumulators.
const LANES: usize = 32;

/// The dot product of two vectors. Panics if the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both vectors must have the same length");
    match isa::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are equal.
        Isa::Avx512 => unsafe { x86::dot_avx512(a, b) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::dot_avx2(a, b) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths are equal.
        Isa::Neon => unsafe { aarch64::dot_neon(a, b) },
        _ => scalar::dot(a, b),
    }
}

/// The last, incomplete block of `x`, padded with zeros.
fn padded_tail(x: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    let tail = &x[x.len() / LANES * LANES..];
    block[..tail.len()].copy_from_slice(tail);
    block
}
// TEMP
/// x
pub fn dot_i8(q: &[f32], x: &[i8]) -> f32 { q.iter().zip(x).map(|(a, b)| a * f32::from(*b)).sum() }
/// x
pub fn dot_f16(q: &[f32], x: &[u16]) -> f32 { q.iter().zip(x).map(|(a, b)| a * half::f16::from_bits(*b).to_f32()).sum() }
/// x
pub fn prefetch(_x: &[u8]) {}
/// x
pub fn quantise_i8(r: &[f32], out: &mut [i8]) -> f32 {
    let m = r.iter().fold(0f32, |a, b| a.max(b.abs())) / 127.0;
    out.iter_mut().zip(r).for_each(|(o, v)| *o = if m > 0.0 { (v / m).round() as i8 } else { 0 });
    m
}
