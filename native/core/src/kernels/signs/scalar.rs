//! The reference kernel.

use super::WORD;

/// See [`super::pack_signs`].
pub fn pack_signs(values: &[f32], out: &mut [u64]) {
    for (word, values) in out.iter_mut().zip(values.chunks_exact(WORD)) {
        *word = values.iter().enumerate().fold(0, |word, (i, v)| word | u64::from(*v >= 0.0) << i);
    }
}
