//! The reference.

use crate::PIXEL;
use crate::weights::{FRACTION_BITS, Weights};

/// What sums begin at.
pub const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// See [`super::across`].
pub fn across(input: &[u8], weights: &Weights, output: &mut [u8]) {
    let rows = input.chunks_exact(weights.line().inputs() * PIXEL);
    for (row, resized) in rows.zip(output.chunks_exact_mut(weights.line().outputs() * PIXEL)) {
        for (number, pixel) in resized.chunks_exact_mut(PIXEL).enumerate() {
            let (start, weights) = weights.of(number);
            let mut sums = [HALF; PIXEL];
            for (from, weight) in row[start * PIXEL..].chunks_exact(PIXEL).zip(weights) {
                for (sum, value) in sums.iter_mut().zip(from) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
                }
            }
            pixel.copy_from_slice(&sums.map(to_byte));
        }
    }
}

/// See [`super::down`].
pub fn down(rows: &[&[u8]], weights: &[i32], output: &mut [u8]) {
    down_from(0, rows, weights, output);
}

/// As [`down`], from a column on.
pub fn down_from(first: usize, rows: &[&[u8]], weights: &[i32], output: &mut [u8]) {
    const COLUMNS: usize = 64;
    for start in (first..output.len()).step_by(COLUMNS) {
        let columns = start..output.len().min(start + COLUMNS);
        let mut sums = [HALF; COLUMNS];
        for (row, weight) in rows.iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(&row[columns.clone()]) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        for (byte, sum) in output[columns].iter_mut().zip(sums) {
            *byte = to_byte(sum);
        }
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}
