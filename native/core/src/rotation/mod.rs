//! Rotations before the sign codes: a structured random one, or one that is learned from the vectors.

mod learned;
mod random;

pub use learned::LearnedRotation;
pub use random::RandomRotation;

/// Which rotation an index has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RotationKind {
    /// All directions alike; the seed alone defines it.
    #[default]
    Random,
    /// Codes shorter than the vectors look along the directions in which residuals differ most.
    Learned,
}

impl RotationKind {
    const ALL: [Self; 2] = [Self::Random, Self::Learned];

    /// The kind of this [`RotationKind::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name used in settings and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Learned => "learned",
        }
    }
}

/// A rotation of either kind. Its first `dim` outputs are one rotation of the input.
#[derive(Clone, Debug)]
pub enum Rotation {
    /// See [`RotationKind::Random`].
    Random(RandomRotation),
    /// See [`RotationKind::Learned`].
    Learned(LearnedRotation),
}

impl Rotation {
    /// Number of outputs.
    pub fn width(&self) -> usize {
        match self {
            Self::Random(rotation) => rotation.width(),
            Self::Learned(rotation) => rotation.dim(),
        }
    }

    /// Writes the rotated `x` to `out` (length `width`); `scratch` is overwritten. Panics if a length differs.
    pub fn apply(&self, x: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        match self {
            Self::Random(rotation) => rotation.apply(x, scratch, out),
            Self::Learned(rotation) => rotation.apply(x, out),
        }
    }

    /// How far the first `dim` outputs can be from exact arithmetic, as a share of the input's length.
    pub fn apply_error(&self) -> f64 {
        match self {
            Self::Random(rotation) => rotation.error(),
            Self::Learned(rotation) => rotation.apply_error(),
        }
    }

    /// The same of [`Rotation::invert`], whose exact result is that of the transposed matrix.
    pub fn invert_error(&self) -> f64 {
        match self {
            Self::Random(rotation) => rotation.error(),
            Self::Learned(rotation) => rotation.invert_error(),
        }
    }

    /// From the first `dim` outputs back to the input. Panics if a length differs.
    pub fn invert(&self, rotated: &[f32], out: &mut [f32]) {
        match self {
            Self::Random(rotation) => rotation.invert(rotated, out),
            Self::Learned(rotation) => rotation.invert(rotated, out),
        }
    }
}
