//! Software prefetch.

/// Bytes in a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `values` ahead of their use; a hint without effect on results.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    let start = values.as_ptr().cast::<u8>();
    // A slice that does not start with a line reaches into one line more.
    let lead = start.addr() % LINE;
    for at in (0..lead + size_of_val(values)).step_by(LINE) {
        prefetch_line(start.wrapping_sub(lead).wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: SSE is part of the x86-64 baseline, and a prefetch never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn prefetch_line(at: *const u8) {
    // SAFETY: a prefetch never faults and changes neither registers nor memory.
    unsafe { std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags)) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
fn prefetch_line(_: *const u8) {}
