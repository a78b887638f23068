//! What each pixel of a line counts for in each pixel of a shorter or longer one.
//!
//! A filter as wide as an output pixel, and never narrower than an input pixel, lies over the input (antialiasing). Its
//! values are divided by their sum in f64 and rounded to fixed point, half away from zero: the order of operations of
//! Pillow's `Resample.c`, because another one rounds differently.

use std::ops::Range;

/// Fraction bits of a weight. A sum of weighted bytes then fits 32 bits with its sign and some room for overshoot.
pub const FRACTION_BITS: u32 = 22;

/// Weights come in groups of so many, where the line is long enough.
pub const GROUP: usize = 4;

/// The shape of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' cubic convolution with a = -0.5.
    Bicubic,
}

impl Filter {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bilinear" => Some(Self::Bilinear),
            "bicubic" => Some(Self::Bicubic),
            _ => None,
        }
    }

    /// Beyond this distance from the centre the filter is 0.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// A line of pixels that is resized.
#[derive(Clone, Debug)]
pub struct Line {
    inputs: usize,
    /// The first output of a part, and how many it has.
    first: usize,
    outputs: usize,
    taps: usize,
    filter: Filter,
    /// Inputs for each output of the whole line, and half the width of the filter in inputs.
    scale: f64,
    support: f64,
    /// The filter over the inputs of an output.
    values: Vec<f64>,
}

impl Line {
    /// From `inputs` pixels to `outputs`. Panics if either is 0.
    pub fn new(inputs: usize, outputs: usize, filter: Filter) -> Self {
        assert!(inputs > 0 && outputs > 0, "a line has pixels");
        let scale = inputs as f64 / outputs as f64;
        let support = filter.support() * scale.max(1.0);
        // Zeros fill the last group.
        let taps = (support.ceil() as usize * 2 + 1).next_multiple_of(GROUP).min(inputs);
        Self { inputs, first: 0, outputs, taps, filter, scale, support, values: Vec::new() }
    }

    /// Only some of the outputs, which are counted from the first of them. Panics if there are none, or too few.
    pub fn part(self, outputs: Range<usize>) -> Self {
        assert!(!outputs.is_empty() && outputs.end <= self.outputs, "a part has pixels of the line");
        Self { first: self.first + outputs.start, outputs: outputs.len(), ..self }
    }

    /// Pixels before.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Pixels after.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Weights of each output.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Writes the weights of an output, and returns the input that the first of them is for.
    ///
    /// # Panics
    /// There are not [`Line::taps`].
    pub fn weigh(&mut self, output: usize, weights: &mut [i32]) -> usize {
        assert_eq!(weights.len(), self.taps, "all weights of an output");
        let centre = ((self.first + output) as f64 + 0.5) * self.scale;
        // Casts cut off; what would be below 0 becomes 0.
        let first = (centre - self.support + 0.5) as usize;
        let last = ((centre + self.support + 0.5) as usize).min(self.inputs);
        let start = first.min(self.inputs - self.taps);
        let shrink = 1.0 / self.scale.max(1.0);
        self.values.clear();
        self.values.extend((first..last).map(|x| self.filter.at((x as f64 - centre + 0.5) * shrink)));
        let sum: f64 = self.values.iter().sum();
        weights.fill(0);
        for (weight, value) in weights[first - start..].iter_mut().zip(&self.values) {
            *weight = to_fixed(if sum == 0.0 { *value } else { value / sum });
        }
        start
    }
}

/// Bytes that [`digits`] cuts a weight into.
pub const DIGITS: usize = 3;

/// A group of weights cut into signed bytes: `weight = low + 2^8 middle + 2^16 high`, the low ones of all first.
pub type Digits = [i32; DIGITS];

/// The weights of all outputs of a line, for many lines.
#[derive(Clone, Debug)]
pub struct Weights {
    line: Line,
    starts: Vec<usize>,
    fixed: Vec<i32>,
    /// Of each whole group.
    digits: Vec<Digits>,
}

impl Weights {
    /// Of such lines.
    pub fn new(mut line: Line) -> Self {
        let mut fixed = vec![0; line.outputs * line.taps];
        let outputs = fixed.chunks_exact_mut(line.taps);
        let starts = outputs.enumerate().map(|(output, weights)| line.weigh(output, weights)).collect();
        let groups = fixed.chunks_exact(line.taps).flat_map(|weights| weights.chunks_exact(GROUP));
        let digits = groups.map(digits).collect();
        Self { line, starts, fixed, digits }
    }

    /// What they are for.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The first input that counts for an output, and the weights of it and those behind it.
    pub fn of(&self, output: usize) -> (usize, &[i32]) {
        (self.starts[output], &self.fixed[output * self.line.taps..][..self.line.taps])
    }

    /// What [`digits`] makes of the whole groups of an output.
    pub fn digits_of(&self, output: usize) -> &[Digits] {
        let groups = self.line.taps / GROUP;
        &self.digits[output * groups..][..groups]
    }
}

/// Cuts a group of weights, or fewer, into bytes.
pub fn digits(weights: &[i32]) -> Digits {
    // With this added, the signed bytes become those of an unsigned number, which differ in their highest bit.
    const BIAS: i32 = 0x80_8080;
    let mut bytes = [[0; GROUP]; DIGITS];
    for (place, weight) in weights.iter().enumerate() {
        let cut = ((weight + BIAS) ^ BIAS).to_le_bytes();
        debug_assert_eq!(cut[DIGITS], 0, "weights have 24 bits");
        for (bytes, digit) in bytes.iter_mut().zip(cut) {
            bytes[place] = digit;
        }
    }
    bytes.map(i32::from_le_bytes)
}

fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << FRACTION_BITS);
    // Not `round`: adding a half may round up to the next integer.
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}
