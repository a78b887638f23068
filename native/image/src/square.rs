//! The network's input: a picture on a white square or cut to it, normalised, channel by channel.

use std::ops::Range;

use crate::resize::Resize;
use crate::weights::Filter;
use crate::{CHANNELS, PIXEL};

const WHITE: usize = 255;

/// How bytes become numbers: each channel's are looked up.
pub struct Levels([[f32; 256]; CHANNELS]);

impl Levels {
    /// `(x - mean) / std` in f32, of x in 0..=255.
    pub fn new(mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        let level = |channel: usize| std::array::from_fn(|x| (x as f32 - mean[channel]) / std[channel]);
        Self(std::array::from_fn(level))
    }
}

/// A square that a picture is put on.
pub struct Square<'a> {
    side: usize,
    /// The columns that the picture takes, and the first of its rows.
    columns: Range<usize>,
    top: usize,
    resize: Resize,
    levels: Levels,
    /// `(CHANNELS, side, side)`.
    planes: &'a mut [f32],
}

impl<'a> Square<'a> {
    /// For a picture of size `from` that is resized to `to`, both `(width, height)`, with its upper left corner `at`
    /// those columns and rows of the square. What lies outside of the square is cut off.
    ///
    /// # Panics
    /// A side is 0, nothing of the picture lies on the square, or `planes` does not hold [`CHANNELS`] of them.
    pub fn new(
        from: (usize, usize),
        to: (usize, usize),
        at: (isize, isize),
        filter: Filter,
        side: usize,
        levels: Levels,
        planes: &'a mut [f32],
    ) -> Self {
        assert_eq!(planes.len(), CHANNELS * side * side, "a plane for each channel");
        let (columns, across) = shared(side, to.0, at.0);
        let (rows, down) = shared(side, to.1, at.1);
        let resize = Resize::part(from, to, (across, down), filter);
        let square = Self { side, columns, top: rows.start, resize, levels, planes };
        for (plane, levels) in square.planes.chunks_exact_mut(side * side).zip(&square.levels.0) {
            plane[..rows.start * side].fill(levels[WHITE]);
            plane[rows.end * side..].fill(levels[WHITE]);
        }
        square
    }

    /// Takes the next rows of the picture; see [`Resize::push`].
    pub fn push(&mut self, strip: &[u8]) {
        let Self { side, columns, top, resize, levels, planes } = self;
        resize.push(strip, |number, pixels| {
            let at = (*top + number) * *side;
            for (channel, (plane, levels)) in
                planes.chunks_exact_mut(*side * *side).zip(&levels.0).enumerate()
            {
                let row = &mut plane[at..][..*side];
                row[..columns.start].fill(levels[WHITE]);
                row[columns.end..].fill(levels[WHITE]);
                for (value, pixel) in row[columns.clone()].iter_mut().zip(pixels.chunks_exact(PIXEL)) {
                    *value = levels[usize::from(pixel[channel])];
                }
            }
        });
    }

    /// Whether all rows have come.
    pub fn is_complete(&self) -> bool {
        self.resize.is_complete()
    }
}

/// Where a line of `length` that begins `at` a place lies on one of `side`: its places there, and what of it they are.
pub fn shared(side: usize, length: usize, at: isize) -> (Range<usize>, Range<usize>) {
    let cut = at.min(0).unsigned_abs();
    let start = at.max(0).unsigned_abs();
    let kept = length.saturating_sub(cut).min(side.saturating_sub(start));
    (start..start + kept, cut..cut + kept)
}
