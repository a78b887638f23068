//! The network's input: a picture in the middle of a white square, normalised, channel by channel.

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
    width: usize,
    left: usize,
    top: usize,
    resize: Resize,
    levels: Levels,
    /// `(CHANNELS, side, side)`.
    planes: &'a mut [f32],
}

impl<'a> Square<'a> {
    /// For a picture of size `from` that is resized to `to`, both `(width, height)`.
    ///
    /// # Panics
    /// A side is 0, `to` does not fit on the square, or `planes` does not hold [`CHANNELS`] of them.
    pub fn new(
        from: (usize, usize),
        to: (usize, usize),
        filter: Filter,
        side: usize,
        levels: Levels,
        planes: &'a mut [f32],
    ) -> Self {
        let (width, height) = to;
        assert!(width <= side && height <= side, "the picture fits on the square");
        assert_eq!(planes.len(), CHANNELS * side * side, "a plane for each channel");
        let (left, top) = ((side - width) / 2, (side - height) / 2);
        let resize = Resize::new(from, to, filter);
        let square = Self { side, width, left, top, resize, levels, planes };
        for (plane, levels) in square.planes.chunks_exact_mut(side * side).zip(&square.levels.0) {
            plane[..top * side].fill(levels[WHITE]);
            plane[(top + height) * side..].fill(levels[WHITE]);
        }
        square
    }

    /// Takes the next rows of the picture; see [`Resize::push`].
    pub fn push(&mut self, strip: &[u8]) {
        let Self { side, width, left, top, resize, levels, planes } = self;
        resize.push(strip, |number, pixels| {
            let at = (*top + number) * *side;
            for (channel, (plane, levels)) in
                planes.chunks_exact_mut(*side * *side).zip(&levels.0).enumerate()
            {
                let row = &mut plane[at..][..*side];
                row[..*left].fill(levels[WHITE]);
                row[*left + *width..].fill(levels[WHITE]);
                for (value, pixel) in row[*left..][..*width].iter_mut().zip(pixels.chunks_exact(PIXEL)) {
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
