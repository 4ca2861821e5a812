//! Many resized crops of one picture.
//!
//! The picture is turned once, so that its columns lie in memory one after the other. Then both
//! passes of Pillow's resize are weighted sums of contiguous lines, which the compiler turns into
//! vector instructions: the horizontal pass of columns, the vertical pass of rows. All arithmetic
//! is on integers, so the order of the sums changes nothing, and the bytes are those of
//! [`resize`](crate::resample::resize).

use image::RgbImage;
use pulp::Arch;

use crate::crop::{CropBox, center_box, short_side_size};
use crate::resample::{Filter, HALF, Taps, clip8};

/// A picture as planes of columns.
#[derive(Debug, Clone)]
pub struct Columns {
    width: u32,
    height: u32,
    /// Shape: `[channel, column, row]`.
    samples: Vec<u8>,
}

/// Channels of a picture.
const CHANNELS: usize = 3;

impl Columns {
    /// Turns a picture.
    pub fn new(image: &RgbImage) -> Self {
        let (width, height) = image.dimensions();
        let (columns, rows) = (width as usize, height as usize);
        let mut samples = vec![0; CHANNELS * columns * rows];
        for (channel, plane) in samples.chunks_exact_mut((columns * rows).max(1)).enumerate() {
            // A few columns at a time, so that the lines that are written stay in cache.
            const TOGETHER: usize = 16;
            for first in (0..columns).step_by(TOGETHER) {
                let last = (first + TOGETHER).min(columns);
                for (y, line) in image.as_raw().chunks_exact(columns * CHANNELS).enumerate() {
                    for x in first..last {
                        plane[x * rows + y] = line[x * CHANNELS + channel];
                    }
                }
            }
        }
        Self { width, height, samples }
    }

    /// A rectangle resized to `size` x `size` pixels with the bilinear filter, mirrored if asked
    /// for.
    ///
    /// Shape of `planes`: `[channel, row, column]`.
    ///
    /// # Panics
    ///
    /// If the rectangle does not lie inside the picture, or `planes` has another length.
    pub fn resized_crop(&self, crop: CropBox, size: u32, mirrored: bool, planes: &mut [u8]) {
        let window = CropBox { top: 0, left: 0, height: size, width: size };
        self.resample(crop, (size, size), window, Filter::Bilinear, mirrored, planes);
    }

    /// The clean view: short side to `size` with the bicubic filter, then the centre square.
    ///
    /// Shape of `planes`: `[channel, row, column]`.
    ///
    /// # Panics
    ///
    /// If the picture is empty or `planes` has another length.
    pub fn resized_center(&self, size: u32, planes: &mut [u8]) {
        let (width, height) = short_side_size(self.width, self.height, size);
        let whole = CropBox { top: 0, left: 0, height: self.height, width: self.width };
        let window = center_box(width, height, size);
        self.resample(whole, (width, height), window, Filter::Bicubic, false, planes);
    }

    /// The pixels of `window` in the picture that `source` is resized to.
    fn resample(
        &self,
        source: CropBox,
        (width, height): (u32, u32),
        window: CropBox,
        filter: Filter,
        mirrored: bool,
        planes: &mut [u8],
    ) {
        assert!(
            source.left + source.width <= self.width && source.top + source.height <= self.height,
            "{source:?} does not lie inside {}x{} pixels",
            self.width,
            self.height
        );
        let across = Taps::new(source.width, width, filter);
        let down = Taps::new(source.height, height, filter);
        let (columns, rows) = (window.width as usize, window.height as usize);
        assert_eq!(planes.len(), CHANNELS * rows * columns, "one plane a channel");
        // Source rows that the vertical pass reads.
        let wanted = down.iter().skip(window.top as usize).take(rows);
        let (mut first, mut last) = (usize::MAX, 0);
        for (start, weights) in wanted.clone() {
            first = first.min(start);
            last = last.max(start + weights.len());
        }
        let height = last.saturating_sub(first);
        let stride = self.height as usize;
        let mut column = vec![0; height];
        let mut narrow = vec![0; height * columns];
        Arch::new().dispatch(|| {
            for channel in 0..CHANNELS {
                let plane = channel * self.width as usize * stride;
                let taps = across.iter().skip(window.left as usize).take(columns);
                for (x, (start, weights)) in taps.enumerate() {
                    let begin = plane
                        + (source.left as usize + start) * stride
                        + source.top as usize
                        + first;
                    blend(&self.samples[begin..], stride, weights, &mut column);
                    let x = if mirrored { columns - 1 - x } else { x };
                    let places = narrow[x..].iter_mut().step_by(columns);
                    places.zip(&column).for_each(|(place, sample)| *place = *sample);
                }
                let target = &mut planes[channel * rows * columns..][..rows * columns];
                let lines = target.chunks_exact_mut(columns);
                for (line, (start, weights)) in lines.zip(wanted.clone()) {
                    blend(&narrow[(start - first) * columns..], columns, weights, line);
                }
            }
        });
    }
}

/// The weighted sum of lines that are `stride` apart, rounded to 8 bits.
#[inline(always)]
fn blend(lines: &[u8], stride: usize, weights: &[i32], target: &mut [u8]) {
    const LANES: usize = 32;
    let length = target.len();
    let (chunks, rest) = target.as_chunks_mut::<LANES>();
    for (index, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (tap, weight) in weights.iter().enumerate() {
            let line = &lines[tap * stride + index * LANES..][..LANES];
            for lane in 0..LANES {
                sums[lane] += i32::from(line[lane]) * weight;
            }
        }
        for lane in 0..LANES {
            chunk[lane] = clip8(sums[lane]);
        }
    }
    let begin = length - rest.len();
    for (index, sample) in rest.iter_mut().enumerate() {
        let taps = weights.iter().enumerate();
        let products =
            taps.map(|(tap, weight)| i32::from(lines[tap * stride + begin + index]) * weight);
        *sample = clip8(HALF + products.sum::<i32>());
    }
}
