//! The Walsh-Hadamard transform, O(P log P) additions: the contract and the choice of kernel.

use crate::isa::{self, Isa};

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod registers;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Multiplies `x` by `scales`, where there are any, and transforms it in place, not normalised.
///
/// Level by level, strides 1, 2, 4 …: each output is a fixed tree of additions, so all instruction
/// sets give the same bits. Panics if the length is not a power of two, or that of `scales` differs.
pub fn hadamard(x: &mut [f32], scales: Option<&[f32]>) {
    assert!(x.len().is_power_of_two(), "the length must be a power of two");
    assert!(scales.is_none_or(|scales| scales.len() == x.len()), "one scale for each value");
    match isa::active() {
        // Bound by loads and stores: registers twice as wide measured no faster.
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `active` only returns what the CPU was found to have; lengths are checked above.
        Isa::Avx512 | Isa::Avx2 => unsafe { x86::hadamard_avx2(x, scales) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: Advanced SIMD is part of the AArch64 baseline; lengths are checked above.
        Isa::Neon => unsafe { aarch64::hadamard_neon(x, scales) },
        _ => scalar::hadamard(x, scales),
    }
}
