//! The views of one image: one clean view and any number of random ones.

use image::{Rgb, RgbImage, imageops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::augmix::AugMix;
use crate::columns::Columns;
use crate::crop::{CleanResize, CropBox, RandomResizedCrop};
use crate::pixels::Normalization;
use crate::resample::{Filter, resize};

/// How views are made. The defaults are those of the official code for the ImageNet sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViewConfig {
    /// Side of a view in pixels.
    pub size: u32,
    /// Number of views, the clean one included.
    pub count: usize,
    /// How the clean view is brought to that size.
    pub clean: CleanResize,
    /// Where random views are cut.
    pub crop: RandomResizedCrop,
    /// Probability that a random view is mirrored.
    pub flip_probability: f64,
    /// Mixes each random view with operations on itself; only the fine-grained sets do.
    pub augmix: Option<AugMix>,
    /// Mean and standard deviation of the normalised views.
    pub normalization: Normalization,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            size: 224,
            count: 64,
            clean: CleanResize::Shortest,
            crop: RandomResizedCrop::default(),
            flip_probability: 0.5,
            augmix: None,
            normalization: Normalization::CLIP,
        }
    }
}

/// Something that no views can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The configuration asks for no pixels.
    #[error("views need a size of at least 1 pixel")]
    NoSize,
    /// The configuration asks for no views.
    #[error("the number of views must be at least 1: the clean view is one of them")]
    NoViews,
    /// The image has no pixels.
    #[error("the image is empty ({width}x{height} pixels)")]
    EmptyImage {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// The identity of one image among the random draws of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewSeed {
    /// Seed of the run.
    pub seed: u64,
    /// Index of the image in its test set's file order.
    pub image: u64,
}

impl ViewSeed {
    /// The generator of one view: a function of seed, image and view alone.
    pub fn generator(self, view: u64) -> ChaCha8Rng {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.image.to_le_bytes());
        key[16..24].copy_from_slice(&view.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

/// Makes the views of images.
#[derive(Debug, Clone, Copy)]
pub struct ViewGenerator {
    config: ViewConfig,
}

impl ViewGenerator {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// If it asks for no pixels or no views.
    pub fn new(config: ViewConfig) -> Result<Self, ViewError> {
        if config.size == 0 {
            return Err(ViewError::NoSize);
        }
        if config.count == 0 {
            return Err(ViewError::NoViews);
        }
        Ok(Self { config })
    }

    /// The configuration.
    pub fn config(&self) -> &ViewConfig {
        &self.config
    }

    /// All views of `image`, made in parallel on the current rayon pool.
    ///
    /// The result depends on the image, the configuration and `seed` alone, not on the number of
    /// threads. View 0 is the clean one.
    ///
    /// # Errors
    ///
    /// If the image has no pixels.
    pub fn views(&self, image: &RgbImage, seed: ViewSeed) -> Result<Views, ViewError> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(ViewError::EmptyImage { width, height });
        }
        let pixels = match self.config.augmix {
            None => {
                let columns = Columns::new(image);
                ViewPixels::Rgb8(self.concat(|view, planes| {
                    self.crop(&columns, (width, height), seed, view, planes);
                }))
            }
            Some(augmix) => ViewPixels::Normalized(self.concat(|view, planes| {
                planes.copy_from_slice(&self.mixed(augmix, image, seed, view));
            })),
        };
        let places = (0..self.config.count).map(|view| self.place((width, height), seed, view));
        Ok(Views {
            size: self.config.size,
            count: self.config.count,
            pixels,
            places: places.collect(),
        })
    }

    /// What a view shows of a `width` x `height` image.
    fn place(&self, (width, height): (u32, u32), seed: ViewSeed, view: usize) -> ViewPlace {
        if view == 0 {
            let rectangle = self.config.clean.source(width, height, self.config.size);
            return ViewPlace { rectangle, mirrored: false, mixed: false };
        }
        let (rectangle, mirrored) = self.draw(width, height, &mut seed.generator(view as u64));
        ViewPlace { rectangle, mirrored, mixed: self.config.augmix.is_some() }
    }

    /// One view without AugMix. View 0 is the clean view; it draws nothing.
    fn crop(
        &self,
        image: &Columns,
        (width, height): (u32, u32),
        seed: ViewSeed,
        view: usize,
        planes: &mut [u8],
    ) {
        if view == 0 {
            return image.clean(self.config.clean, self.config.size, planes);
        }
        let (rectangle, mirrored) = self.draw(width, height, &mut seed.generator(view as u64));
        image.resized_crop(rectangle, self.config.size, mirrored, planes);
    }

    /// Where a random view is cut, and whether it is mirrored.
    fn draw(&self, width: u32, height: u32, rng: &mut ChaCha8Rng) -> (CropBox, bool) {
        let rectangle = self.config.crop.sample(width, height, rng);
        (rectangle, rng.random::<f64>() < self.config.flip_probability)
    }

    fn mixed(&self, augmix: AugMix, image: &RgbImage, seed: ViewSeed, view: usize) -> Vec<f32> {
        let normalization = &self.config.normalization;
        if view == 0 {
            return normalization.planes(&self.config.clean.apply(image, self.config.size));
        }
        let rng = &mut seed.generator(view as u64);
        let size = self.config.size;
        let (rectangle, mirrored) = self.draw(image.width(), image.height(), rng);
        let mut picture = resize(&rectangle.crop(image), size, size, Filter::Bilinear);
        if mirrored {
            imageops::flip_horizontal_in_place(&mut picture);
        }
        augmix.sample(picture.dimensions(), rng).apply(&picture, normalization)
    }

    /// The planes of all views; `fill` writes one view's.
    fn concat<T: Copy + Default + Send>(&self, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
        let samples = 3 * (self.config.size as usize).pow(2);
        let mut all = vec![T::default(); samples * self.config.count];
        all.par_chunks_exact_mut(samples)
            .enumerate()
            .for_each(|(index, planes)| fill(index, planes));
        all
    }
}

/// The views of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    /// Side of a view in pixels.
    pub size: u32,
    /// Number of views.
    pub count: usize,
    /// The samples of all views.
    pub pixels: ViewPixels,
    /// What each view shows of the image. Length: view.
    pub places: Vec<ViewPlace>,
}

/// What a view shows of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewPlace {
    /// The rectangle in pixels of the image; to the nearest pixel for the clean view.
    pub rectangle: CropBox,
    /// Whether left and right are exchanged.
    pub mirrored: bool,
    /// Whether AugMix changed its colours and shapes.
    pub mixed: bool,
}

/// The samples of views. Shape: `[view, channel, row, column]`.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewPixels {
    /// 8-bit samples, to be normalised by whoever reads them.
    Rgb8(Vec<u8>),
    /// Normalised samples: mixing happens after normalisation, so they have no 8-bit form.
    Normalized(Vec<f32>),
}

impl Views {
    /// One view as a picture; `None` if views are mixed, which is done after normalisation, or if
    /// there is no view of that number.
    pub fn picture(&self, view: usize) -> Option<RgbImage> {
        let ViewPixels::Rgb8(samples) = &self.pixels else { return None };
        let plane = (self.size as usize).pow(2);
        let planes = samples.chunks_exact(3 * plane).nth(view)?;
        Some(RgbImage::from_fn(self.size, self.size, |x, y| {
            let place = (y * self.size + x) as usize;
            Rgb([0, 1, 2].map(|channel| planes[channel * plane + place]))
        }))
    }

    /// Normalised samples of all views, whatever form they have.
    ///
    /// Shape: `[view, channel, row, column]`.
    pub fn normalized(self, normalization: &Normalization) -> Vec<f32> {
        match self.pixels {
            ViewPixels::Normalized(samples) => samples,
            ViewPixels::Rgb8(samples) => {
                let plane = (self.size as usize).pow(2);
                let mut values = vec![0.0; samples.len()];
                let planes = values.par_chunks_exact_mut(plane);
                let planes = planes.zip(samples.par_chunks_exact(plane)).enumerate();
                planes.for_each(|(index, (values, samples))| {
                    normalization.apply(index % 3, samples, values);
                });
                values
            }
        }
    }
}
