//! Pillow-exact resizing of 8-bit RGB images.
//!
//! Pillow resizes in two separable passes, horizontal first, with an antialiasing filter whose
//! support grows with the reduction factor. The weights are rounded to 22-bit fixed point and the
//! image between the passes is rounded back to 8 bits. All of that is reproduced here (as of
//! Pillow 12; version 13 changed the order of the passes for tall images).

use image::RgbImage;

/// Bits after the binary point of a filter weight (`32 - 8 - 2` in Pillow).
const PRECISION_BITS: u32 = 22;
/// One half in fixed point: added before the shift, so that the shift rounds.
pub(crate) const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// The interpolation filter of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Triangle filter, support 1.
    Bilinear,
    /// Keys' cubic with `a = -0.5`, support 2.
    Bicubic,
}

impl Filter {
    /// Half-width of the filter at scale 1, in source pixels.
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        }
    }

    /// Value of the filter at distance `x` from its centre.
    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Filter::Bilinear if x < 1.0 => 1.0 - x,
            Filter::Bicubic if x < 1.0 => ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * CUBIC_A,
            _ => 0.0,
        }
    }
}

/// The free parameter of Keys' cubic convolution, as Pillow has it.
const CUBIC_A: f64 = -0.5;

/// Resizes `image` to `width` x `height` pixels.
///
/// # Panics
///
/// If a side of the image or of the target is 0.
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    let (source_width, source_height) = image.dimensions();
    assert!(
        width > 0 && height > 0 && source_width > 0 && source_height > 0,
        "cannot resize {source_width}x{source_height} to {width}x{height} pixels"
    );
    match (source_width == width, source_height == height) {
        (true, true) => image.clone(),
        (false, true) => resize_rows(image, width, 0..height, filter),
        (true, false) => resize_columns(image, &Taps::new(source_height, height, filter), 0),
        (false, false) => {
            let taps = Taps::new(source_height, height, filter);
            // Only the rows that the vertical pass reads go through the horizontal pass.
            let rows = taps.source_range();
            let first_row = rows.start;
            let narrow = resize_rows(image, width, rows, filter);
            resize_columns(&narrow, &taps, first_row)
        }
    }
}

/// The horizontal pass over a range of rows.
fn resize_rows(
    image: &RgbImage,
    width: u32,
    rows: std::ops::Range<u32>,
    filter: Filter,
) -> RgbImage {
    let taps = Taps::new(image.width(), width, filter);
    let source_stride = image.width() as usize * 3;
    let source = image.as_raw();
    let mut output = vec![0u8; width as usize * rows.len() * 3];
    let lines = output.chunks_exact_mut(width as usize * 3);
    for (target_line, y) in lines.zip(rows.clone()) {
        let line = &source[y as usize * source_stride..][..source_stride];
        for (pixel, (start, weights)) in target_line.chunks_exact_mut(3).zip(taps.iter()) {
            let mut sums = [HALF; 3];
            for (sample, weight) in line[start * 3..].chunks_exact(3).zip(weights) {
                for channel in 0..3 {
                    sums[channel] += i32::from(sample[channel]) * weight;
                }
            }
            for channel in 0..3 {
                pixel[channel] = clip8(sums[channel]);
            }
        }
    }
    RgbImage::from_raw(width, rows.len() as u32, output).expect("one row per line")
}

/// The vertical pass over an image whose first row is row `first_row` of the source.
fn resize_columns(image: &RgbImage, taps: &Taps, first_row: u32) -> RgbImage {
    let stride = image.width() as usize * 3;
    let source = image.as_raw();
    let mut output = vec![0u8; stride * taps.len()];
    let mut sums = vec![0i32; stride];
    for (target_line, (start, weights)) in output.chunks_exact_mut(stride).zip(taps.iter()) {
        sums.fill(HALF);
        let lines = source[(start - first_row as usize) * stride..].chunks_exact(stride);
        for (line, &weight) in lines.zip(weights) {
            for (sum, &sample) in sums.iter_mut().zip(line) {
                *sum += i32::from(sample) * weight;
            }
        }
        for (sample, &sum) in target_line.iter_mut().zip(&sums) {
            *sample = clip8(sum);
        }
    }
    RgbImage::from_raw(image.width(), taps.len() as u32, output).expect("one line per tap row")
}

/// Fixed point to 8 bits, saturating.
#[inline(always)]
pub(crate) fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// For each target position: where its source samples start and their fixed-point weights.
pub(crate) struct Taps {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    weights: Vec<i32>,
    /// Weights reserved for each target position.
    capacity: usize,
}

impl Taps {
    pub(crate) fn new(source: u32, target: u32, filter: Filter) -> Self {
        let scale = f64::from(source) / f64::from(target);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let capacity = support.ceil() as usize * 2 + 1;
        let inverse_scale = 1.0 / filter_scale;

        let mut taps = Taps {
            starts: Vec::with_capacity(target as usize),
            lengths: Vec::with_capacity(target as usize),
            weights: vec![0; target as usize * capacity],
            capacity,
        };
        let mut exact = vec![0.0f64; capacity];
        for position in 0..target as usize {
            let center = (position as f64 + 0.5) * scale;
            // Truncation towards zero, then the clamp: as the C casts do it.
            let start = ((center - support + 0.5) as i64).max(0);
            let end = ((center + support + 0.5) as i64).min(i64::from(source));
            let length = (end - start) as usize;
            let mut total = 0.0;
            for (offset, weight) in exact[..length].iter_mut().enumerate() {
                let distance = (offset as f64 + start as f64 - center + 0.5) * inverse_scale;
                *weight = filter.weight(distance);
                total += *weight;
            }
            let row = &mut taps.weights[position * capacity..][..length];
            for (fixed, weight) in row.iter_mut().zip(&exact) {
                let normalised = if total == 0.0 { *weight } else { weight / total };
                *fixed = to_fixed_point(normalised);
            }
            taps.starts.push(start as usize);
            taps.lengths.push(length);
        }
        taps
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    /// `(first source sample, weights)` of each target position, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> + Clone {
        self.starts
            .iter()
            .zip(&self.lengths)
            .zip(self.weights.chunks_exact(self.capacity))
            .map(|((&start, &length), weights)| (start, &weights[..length]))
    }

    /// The source samples that any target position reads.
    fn source_range(&self) -> std::ops::Range<u32> {
        let end = self.starts.last().zip(self.lengths.last());
        let end = end.map_or(0, |(start, length)| start + length);
        self.starts.first().map_or(0, |&start| start as u32)..end as u32
    }
}

/// Rounds half away from zero, as Pillow does.
fn to_fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}
