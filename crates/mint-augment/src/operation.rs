//! The nine operations that AugMix chains, with the strengths of the official code.

use image::RgbImage;
use rand::{Rng, RngExt};

use crate::affine::{Affine, rotate};
use crate::tone;

/// One of the nine kinds, without its strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Stretch each channel to the full range.
    Autocontrast,
    /// Equalise each channel's histogram.
    Equalize,
    /// Keep the highest bits.
    Posterize,
    /// Turn about the centre.
    Rotate,
    /// Invert bright samples.
    Solarize,
    /// Shift rows.
    ShearX,
    /// Shift columns.
    ShearY,
    /// Move horizontally.
    TranslateX,
    /// Move vertically.
    TranslateY,
}

impl OperationKind {
    /// All kinds, in the official order.
    pub const ALL: [OperationKind; 9] = [
        OperationKind::Autocontrast,
        OperationKind::Equalize,
        OperationKind::Posterize,
        OperationKind::Rotate,
        OperationKind::Solarize,
        OperationKind::ShearX,
        OperationKind::ShearY,
        OperationKind::TranslateX,
        OperationKind::TranslateY,
    ];

    /// The operation of this kind at `level` (0 to 10), for images of `width` x `height` pixels.
    ///
    /// `negative` reverses the direction of the geometric kinds; the others ignore it.
    pub fn at_level(self, level: f64, negative: bool, (width, height): (u32, u32)) -> Operation {
        let part = |maximum: f64| level * maximum / 10.0;
        let whole = |maximum: f64| part(maximum) as i32;
        let sign = if negative { -1 } else { 1 };
        match self {
            OperationKind::Autocontrast => Operation::Autocontrast,
            OperationKind::Equalize => Operation::Equalize,
            OperationKind::Posterize => Operation::Posterize { bits: 4 - whole(4.0) as u32 },
            OperationKind::Rotate => Operation::Rotate { degrees: sign * whole(30.0) },
            OperationKind::Solarize => Operation::Solarize { threshold: 256 - whole(256.0) as u32 },
            OperationKind::ShearX => Operation::ShearX { factor: f64::from(sign) * part(0.3) },
            OperationKind::ShearY => Operation::ShearY { factor: f64::from(sign) * part(0.3) },
            OperationKind::TranslateX => {
                Operation::TranslateX { pixels: sign * whole(f64::from(width) / 3.0) }
            }
            OperationKind::TranslateY => {
                Operation::TranslateY { pixels: sign * whole(f64::from(height) / 3.0) }
            }
        }
    }

    /// Whether the kind has a direction that is drawn.
    fn is_signed(self) -> bool {
        matches!(
            self,
            OperationKind::Rotate
                | OperationKind::ShearX
                | OperationKind::ShearY
                | OperationKind::TranslateX
                | OperationKind::TranslateY
        )
    }

    /// Whether the kind has a strength that is drawn.
    fn has_level(self) -> bool {
        !matches!(self, OperationKind::Autocontrast | OperationKind::Equalize)
    }
}

/// One operation with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// See [`tone::autocontrast`].
    Autocontrast,
    /// See [`tone::equalize`].
    Equalize,
    /// See [`tone::posterize`].
    Posterize {
        /// Bits kept of each sample, 0 to 8.
        bits: u32,
    },
    /// See [`rotate`].
    Rotate {
        /// Degrees, counter-clockwise.
        degrees: i32,
    },
    /// See [`tone::solarize`].
    Solarize {
        /// Samples from here on are inverted.
        threshold: u32,
    },
    /// See [`Affine::shear_x`].
    ShearX {
        /// Pixels of shift a row.
        factor: f64,
    },
    /// See [`Affine::shear_y`].
    ShearY {
        /// Pixels of shift a column.
        factor: f64,
    },
    /// See [`Affine::translate`].
    TranslateX {
        /// Pixels to the left.
        pixels: i32,
    },
    /// See [`Affine::translate`].
    TranslateY {
        /// Pixels upwards.
        pixels: i32,
    },
}

impl Operation {
    /// Draws a kind, a level in `[0.1, severity)` and a direction.
    pub fn sample(severity: f64, size: (u32, u32), rng: &mut impl Rng) -> Self {
        let kind = OperationKind::ALL[rng.random_range(0..OperationKind::ALL.len())];
        let level =
            if kind.has_level() { 0.1 + (severity - 0.1) * rng.random::<f64>() } else { 0.0 };
        let negative = kind.is_signed() && rng.random::<f64>() > 0.5;
        kind.at_level(level, negative, size)
    }

    /// The image after the operation, of the same size.
    pub fn apply(self, image: &RgbImage) -> RgbImage {
        match self {
            Operation::Autocontrast => tone::autocontrast(image),
            Operation::Equalize => tone::equalize(image),
            Operation::Posterize { bits } => tone::posterize(image, bits),
            Operation::Rotate { degrees } => rotate(image, degrees),
            Operation::Solarize { threshold } => tone::solarize(image, threshold),
            Operation::ShearX { factor } => Affine::shear_x(factor).apply(image),
            Operation::ShearY { factor } => Affine::shear_y(factor).apply(image),
            Operation::TranslateX { pixels } => Affine::translate(pixels.into(), 0.0).apply(image),
            Operation::TranslateY { pixels } => Affine::translate(0.0, pixels.into()).apply(image),
        }
    }
}
