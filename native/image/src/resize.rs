//! Resizes a picture that comes in strips of whole rows, keeping only the rows that later ones need.

use std::ops::Range;

use crate::PIXEL;
use crate::kernels;
use crate::weights::{Filter, Line, Weights};

/// Rows that are taken together at most.
const TOGETHER: usize = 4;

/// A picture on its way to another size, one direction after the other.
///
/// What lies between is rounded to bytes, so the order matters: rows first, unless the picture gets lower by more than
/// twice what it gets narrower, as in Pillow 13.
pub struct Resize {
    across: Weights,
    down: Line,
    /// Of the next row to go, the first of them for the row `start`. Those of all rows of a high picture fill memory.
    weights: Vec<i32>,
    start: usize,
    down_first: bool,
    /// The last rows: row `r` at `r % capacity`, resized already unless `down_first`.
    ring: Vec<u8>,
    capacity: usize,
    /// Rows that have come, and that have gone.
    taken: usize,
    emitted: usize,
    summed: Vec<u8>,
    row: Vec<u8>,
}

impl Resize {
    /// From one size to another, `(width, height)` in pixels. Panics if a side is 0.
    pub fn new(from: (usize, usize), to: (usize, usize), filter: Filter) -> Self {
        Self::part(from, to, (0..to.0, 0..to.1), filter)
    }

    /// Only some columns and rows of the result, which are counted from the first of them.
    ///
    /// # Panics
    /// A side is 0, or the part has no pixels or more than the result.
    pub fn part(
        from: (usize, usize),
        to: (usize, usize),
        part: (Range<usize>, Range<usize>),
        filter: Filter,
    ) -> Self {
        let across = Weights::new(Line::new(from.0, to.0, filter).part(part.0));
        let mut down = Line::new(from.1, to.1, filter).part(part.1);
        let mut weights = vec![0; down.taps()];
        let start = down.weigh(0, &mut weights);
        let down_first = from.1.saturating_sub(to.1) > 2 * from.0.saturating_sub(to.0);
        // What one output takes, and the rows that come together.
        let capacity = (down.taps() + TOGETHER).next_multiple_of(TOGETHER);
        let width = across.line().outputs();
        let bytes = PIXEL * if down_first { from.0 } else { width };
        Self {
            across,
            down,
            weights,
            start,
            down_first,
            ring: vec![0; capacity * bytes],
            capacity,
            taken: 0,
            emitted: 0,
            summed: vec![0; bytes],
            row: vec![0; if down_first { width * PIXEL } else { 0 }],
        }
    }

    /// Takes the next rows, and gives away each row of the result that is ready, with its number.
    ///
    /// # Panics
    /// These are not whole rows, or more than the picture has left.
    pub fn push(&mut self, strip: &[u8], mut emit: impl FnMut(usize, &[u8])) {
        let (width, bytes) = (self.across.line().inputs() * PIXEL, self.summed.len());
        assert!(strip.len().is_multiple_of(width), "a strip has whole rows");
        assert!(strip.len() / width <= self.down.inputs() - self.taken, "no more rows than there are");
        let mut rest = strip;
        while !rest.is_empty() {
            let place = self.taken % self.capacity;
            // Up to the next multiple: rows that come together lie together.
            let rows = (TOGETHER - place % TOGETHER).min(rest.len() / width);
            let (these, others) = rest.split_at(rows * width);
            // Rows above and below the part count for nothing.
            if !self.is_complete() && self.taken + rows > self.start {
                let slots = &mut self.ring[place * bytes..][..rows * bytes];
                if self.down_first {
                    slots.copy_from_slice(these);
                } else {
                    kernels::across(these, &self.across, slots);
                }
            }
            self.taken += rows;
            rest = others;
            self.emit(&mut emit);
        }
    }

    /// Whether the last row has gone.
    pub fn is_complete(&self) -> bool {
        self.emitted == self.down.outputs()
    }

    fn emit(&mut self, emit: &mut impl FnMut(usize, &[u8])) {
        let bytes = self.summed.len();
        let mut rows = Vec::new();
        while !self.is_complete() && self.start + self.weights.len() <= self.taken {
            rows.clear();
            let places = (self.start..self.start + self.weights.len()).map(|row| row % self.capacity * bytes);
            rows.extend(places.map(|place| &self.ring[place..place + bytes]));
            kernels::down(&rows, &self.weights, &mut self.summed);
            if self.down_first {
                kernels::across(&self.summed, &self.across, &mut self.row);
                emit(self.emitted, &self.row);
            } else {
                emit(self.emitted, &self.summed);
            }
            self.emitted += 1;
            if !self.is_complete() {
                self.start = self.down.weigh(self.emitted, &mut self.weights);
            }
        }
    }
}
