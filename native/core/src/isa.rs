//! Which instruction set the kernels use: detected once, or forced by a test.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Result, invalid};

/// An instruction set that the kernels have code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// Plain Rust: the reference that every other one must equal.
    Scalar = 1,
    /// x86-64 with AVX2, BMI1, POPCNT and F16C.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, BW, VL, VNNI and VPOPCNTDQ.
    Avx512 = 3,
    /// AArch64 Advanced SIMD.
    Neon = 4,
}

impl Isa {
    const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon];

    /// The name used in settings, tests and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }
}

static AVAILABLE: LazyLock<Vec<Isa>> = LazyLock::new(detect);

/// 0: not forced; otherwise the discriminant of the forced [`Isa`].
static FORCED: AtomicU8 = AtomicU8::new(0);

#[cfg(target_arch = "x86_64")]
fn detect() -> Vec<Isa> {
    let mut found = vec![Isa::Scalar];
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("f16c")
    {
        found.push(Isa::Avx2);
    }
    // What Ice Lake and Zen 4 brought, and every later server part has.
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq");
    if avx512 && found.contains(&Isa::Avx2) {
        found.push(Isa::Avx512);
    }
    found
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Vec<Isa> {
    // Advanced SIMD is part of the AArch64 baseline.
    vec![Isa::Scalar, Isa::Neon]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Vec<Isa> {
    vec![Isa::Scalar]
}

/// The instruction sets this machine can run, slowest first.
pub fn available() -> &'static [Isa] {
    &AVAILABLE
}

/// The instruction set in use: the forced one, else the fastest available.
pub fn active() -> Isa {
    match FORCED.load(Ordering::Relaxed) {
        0 => AVAILABLE[AVAILABLE.len() - 1],
        forced => Isa::ALL[usize::from(forced) - 1],
    }
}

/// Makes every kernel of this process use the named instruction set; `None` undoes it.
///
/// # Errors
/// [`crate::Error::Invalid`] if the name is unknown or this machine cannot run it.
pub fn force(name: Option<&str>) -> Result<()> {
    let Some(name) = name else {
        FORCED.store(0, Ordering::Relaxed);
        return Ok(());
    };
    let Some(isa) = Isa::ALL.into_iter().find(|isa| isa.name() == name) else {
        return invalid(format!("unknown instruction set {name:?}; known: scalar, avx2, avx512, neon"));
    };
    if !AVAILABLE.contains(&isa) {
        return invalid(format!("this machine cannot run {name:?}"));
    }
    FORCED.store(isa as u8, Ordering::Relaxed);
    Ok(())
}
