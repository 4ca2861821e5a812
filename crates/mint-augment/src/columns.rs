//! Many resized crops of one picture.
//!
//! The picture is turned once, so that its columns lie in memory one after the other. Then both
//! passes of Pillow's resize are weighted sums of contiguous lines, which the compiler turns into
//! vector instructions: the horizontal pass of columns, the vertical pass of rows. All arithmetic
//! is on integers, so the order of the sums changes nothing, and the bytes are those of
//! [`resize`](crate::resample::resize).

use image::RgbImage;
use multiversion::multiversion;

use crate::crop::{CleanResize, CropBox};
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

    /// The clean view, with the bicubic filter.
    ///
    /// Shape of `planes`: `[channel, row, column]`.
    ///
    /// # Panics
    ///
    /// If the picture is empty or `planes` has another length.
    pub fn clean(&self, resize: CleanResize, size: u32, planes: &mut [u8]) {
        let whole = CropBox { top: 0, left: 0, height: self.height, width: self.width };
        let (resized, window) = resize.sizes(self.width, self.height, size);
        self.resample(whole, resized, window, Filter::Bicubic, false, planes);
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
        assert_eq!(planes.len(), CHANNELS * rows * columns, "one plane per channel");
        // Source rows that the vertical pass reads.
        let wanted = down.iter().skip(window.top as usize).take(rows);
        let (mut first, mut last) = (usize::MAX, 0);
        for (start, weights) in wanted.clone() {
            first = first.min(start);
            last = last.max(start + weights.len());
        }
        let height = last.saturating_sub(first);
        let stride = self.height as usize;
        let mut blended = vec![0; TURNED * height];
        let mut narrow = vec![0; height * columns];
        for channel in 0..CHANNELS {
            let plane = channel * self.width as usize * stride;
            let taps: Vec<(usize, &[i32])> =
                across.iter().skip(window.left as usize).take(columns).collect();
            for x in (0..columns).step_by(TURNED) {
                let together = TURNED.min(columns - x);
                for (index, column) in blended.chunks_exact_mut(height).take(together).enumerate() {
                    let x = x + index;
                    let (start, weights) = taps[if mirrored { columns - 1 - x } else { x }];
                    let begin = plane
                        + (source.left as usize + start) * stride
                        + source.top as usize
                        + first;
                    blend(&self.samples[begin..], stride, weights, column);
                }
                turn(&blended, height, together, &mut narrow[x..], columns);
            }
            let target = &mut planes[channel * rows * columns..][..rows * columns];
            let lines = target.chunks_exact_mut(columns);
            for (line, (start, weights)) in lines.zip(wanted.clone()) {
                blend(&narrow[(start - first) * columns..], columns, weights, line);
            }
        }
    }
}

/// The weighted sum of lines that are `stride` apart, rounded to 8 bits.
///
/// The weights of a sample add up to 2^22, so sums of 8-bit samples stay within 32 bits: nothing
/// wraps, and without a check for it the compiler can use vectors.
#[multiversion(targets = "simd")]
fn blend(lines: &[u8], stride: usize, weights: &[i32], target: &mut [u8]) {
    const LANES: usize = 32;
    let length = target.len();
    if length < LANES {
        for (index, sample) in target.iter_mut().enumerate() {
            let mut sum = HALF;
            for (tap, weight) in weights.iter().enumerate() {
                sum =
                    sum.wrapping_add(i32::from(lines[tap * stride + index]).wrapping_mul(*weight));
            }
            *sample = clip8(sum);
        }
        return;
    }
    let mut begin = 0;
    while begin < length {
        // The last samples are computed twice where the length is not a multiple.
        begin = begin.min(length - LANES);
        let mut sums = [HALF; LANES];
        let mut place = begin;
        for weight in weights {
            let line: &[u8; LANES] = lines[place..].first_chunk().expect("lines are long enough");
            for lane in 0..LANES {
                sums[lane] = sums[lane].wrapping_add(i32::from(line[lane]).wrapping_mul(*weight));
            }
            place += stride;
        }
        let samples: &mut [u8; LANES] = target[begin..].first_chunk_mut().expect("it fits");
        for lane in 0..LANES {
            samples[lane] = clip8(sums[lane]);
        }
        begin += LANES;
    }
}

/// Columns that are turned at once.
const TURNED: usize = 16;

/// Writes columns of `height` samples, which lie one after the other, as rows that are `stride`
/// apart.
#[multiversion(targets = "simd")]
fn turn(columns: &[u8], height: usize, n_columns: usize, rows: &mut [u8], stride: usize) {
    let mut done = 0;
    if n_columns == TURNED {
        while done + TURNED <= height {
            let mut square = [[0; TURNED]; TURNED];
            for (index, line) in square.iter_mut().enumerate() {
                line.copy_from_slice(&columns[index * height + done..][..TURNED]);
            }
            // Four rounds of interleaving the first half of the lines with the second.
            for _ in 0..4 {
                let mut next = [[0; TURNED]; TURNED];
                for pair in 0..TURNED / 2 {
                    let (a, b) = (square[pair], square[pair + TURNED / 2]);
                    for lane in 0..TURNED / 2 {
                        next[2 * pair][2 * lane] = a[lane];
                        next[2 * pair][2 * lane + 1] = b[lane];
                        next[2 * pair + 1][2 * lane] = a[lane + TURNED / 2];
                        next[2 * pair + 1][2 * lane + 1] = b[lane + TURNED / 2];
                    }
                }
                square = next;
            }
            for (index, line) in square.iter().enumerate() {
                rows[(done + index) * stride..][..TURNED].copy_from_slice(line);
            }
            done += TURNED;
        }
    }
    for row in done..height {
        for column in 0..n_columns {
            rows[row * stride + column] = columns[column * height + row];
        }
    }
}
