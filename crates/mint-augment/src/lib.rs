//! Test-time augmentation that equals the Python reference pixel by pixel.
//!
//! Test-time adaptation and ensembling over views need many random crops of one picture, made the
//! way the published results were made: by Pillow and torchvision. This crate reproduces those
//! pixels exactly (the tests compare bytes), draws every random number from a seed, the image's
//! index and the view's index, and uses all cores of the current rayon pool.
//!
//! ```
//! use mint_augment::image::{Rgb, RgbImage};
//! use mint_augment::{Normalization, ViewConfig, ViewGenerator, ViewSeed};
//!
//! # fn main() -> Result<(), mint_augment::ViewError> {
//! let photograph = RgbImage::from_fn(320, 240, |x, y| Rgb([x as u8, y as u8, 128]));
//!
//! // One clean view and seven random crops, 224 x 224 pixels each.
//! let generator = ViewGenerator::new(ViewConfig { count: 8, ..ViewConfig::default() })?;
//! let views = generator.views(&photograph, ViewSeed { seed: 0, image: 17 })?;
//!
//! // The same image and seed give the same views, whatever the number of threads.
//! assert_eq!(views, generator.views(&photograph, ViewSeed { seed: 0, image: 17 })?);
//!
//! let pixels = views.normalized(&Normalization::CLIP); // [view, channel, row, column]
//! assert_eq!(pixels.len(), 8 * 3 * 224 * 224);
//! # Ok(())
//! # }
//! ```
//!
//! The pieces are public too: [`resample::resize`] is Pillow's antialiased resize,
//! [`columns::Columns`] the same for many crops of one picture,
//! [`crop`] holds torchvision's crops, [`tone`] and [`affine`] the operations, [`augmix`] their
//! mixture, [`pixels`] the normalisation.

#![warn(missing_docs)]

pub mod affine;
pub mod augmix;
pub mod columns;
pub mod crop;
pub mod operation;
pub mod pixels;
pub mod resample;
pub mod tone;
mod views;

pub use image;
pub use rand;

pub use augmix::AugMix;
pub use crop::{CleanResize, RandomResizedCrop};
pub use pixels::Normalization;
pub use views::{ViewConfig, ViewError, ViewGenerator, ViewPixels, ViewPlace, ViewSeed, Views};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
