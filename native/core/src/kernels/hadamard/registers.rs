//! What the vector kernels share: the reference in registers, two levels on each way through memory.

use super::scalar;

/// A vector register of floats.
pub trait Register: Copy {
    /// Floats in it: a power of two.
    const LANES: usize;

    /// # Safety
    /// The CPU has the instruction set, and [`Register::LANES`] floats can be read at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// The CPU has the instruction set, and [`Register::LANES`] floats can be written at `to`.
    unsafe fn store(self, to: *mut f32);

    /// The products, lane by lane.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn multiply(self, other: Self) -> Self;

    /// The sums and the differences, lane by lane.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn butterfly(self, other: Self) -> (Self, Self);

    /// All levels inside one register.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn transform(self) -> Self;
}

/// See [`super::hadamard`].
///
/// # Safety
/// The CPU has the instruction set of `R`, the caller is compiled for it, and the lengths are those of
/// [`super::hadamard`].
#[inline(always)]
pub unsafe fn hadamard<R: Register>(x: &mut [f32], scales: Option<&[f32]>) {
    if x.len() < R::LANES {
        return scalar::hadamard(x, scales);
    }
    for at in (0..x.len()).step_by(R::LANES) {
        // SAFETY: `at + LANES <= x.len()`, as both are powers of two; `scales` has the same length.
        unsafe {
            let to = x.as_mut_ptr().add(at);
            let value = match scales {
                Some(scales) => R::load(to).multiply(R::load(scales.as_ptr().add(at))),
                None => R::load(to),
            };
            value.transform().store(to);
        }
    }
    let mut half = R::LANES;
    while 4 * half <= x.len() {
        for block in x.chunks_exact_mut(4 * half) {
            let start = block.as_mut_ptr();
            for at in (0..half).step_by(R::LANES) {
                // SAFETY: `at + 3 * half + LANES <= 4 * half`, the length of the block.
                unsafe {
                    let to = [0, 1, 2, 3].map(|quarter| start.add(at + quarter * half));
                    let (a, b) = R::load(to[0]).butterfly(R::load(to[1]));
                    let (c, d) = R::load(to[2]).butterfly(R::load(to[3]));
                    let ((a, c), (b, d)) = (a.butterfly(c), b.butterfly(d));
                    a.store(to[0]);
                    b.store(to[1]);
                    c.store(to[2]);
                    d.store(to[3]);
                }
            }
        }
        half *= 4;
    }
    if half < x.len() {
        let (low, high) = x.split_at_mut(half);
        for (a, b) in low.chunks_exact_mut(R::LANES).zip(high.chunks_exact_mut(R::LANES)) {
            // SAFETY: both have LANES floats.
            unsafe {
                let (sum, difference) = R::load(a.as_ptr()).butterfly(R::load(b.as_ptr()));
                sum.store(a.as_mut_ptr());
                difference.store(b.as_mut_ptr());
            }
        }
    }
}
