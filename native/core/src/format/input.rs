//! The bytes of a file, taken from the front.

use super::FILE_NAME;
use crate::error::{Result, damaged};

/// The bytes not yet read.
pub struct Input<'a> {
    pub bytes: &'a [u8],
    /// Where they end in the file.
    pub end: usize,
}

impl<'a> Input<'a> {
    /// Where the next byte lies in the file.
    pub fn place(&self) -> usize {
        self.end - self.bytes.len()
    }

    pub fn take<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]]> {
        match count.checked_mul(N).and_then(|length| self.bytes.split_at_checked(length)) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken.as_chunks().0)
            }
            None => damaged(format!("{FILE_NAME} is shorter than its header says")),
        }
    }

    pub fn u64s(&mut self, count: usize) -> Result<Vec<u64>> {
        Ok(self.take(count)?.iter().map(|v| u64::from_le_bytes(*v)).collect())
    }

    pub fn u32s(&mut self, count: usize) -> Result<Vec<u32>> {
        Ok(self.take(count)?.iter().map(|v| u32::from_le_bytes(*v)).collect())
    }

    pub fn f32s(&mut self, count: usize) -> Result<Vec<f32>> {
        Ok(self.take(count)?.iter().map(|v| f32::from_le_bytes(*v)).collect())
    }
}
