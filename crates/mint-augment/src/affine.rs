//! Affine transforms with bilinear sampling, equal to Pillow's `Image.transform` and `rotate`.

use image::RgbImage;

/// Maps target pixel centres to source positions: `x' = a x + b y + c`, `y' = d x + e y + f`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [f64; 6]);

impl Affine {
    /// Shifts each row in proportion to its height.
    pub fn shear_x(factor: f64) -> Self {
        Self([1.0, factor, 0.0, 0.0, 1.0, 0.0])
    }

    /// Shifts each column in proportion to its position.
    pub fn shear_y(factor: f64) -> Self {
        Self([1.0, 0.0, 0.0, factor, 1.0, 0.0])
    }

    /// Moves the picture by (`-x`, `-y`) pixels.
    pub fn translate(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, x, 0.0, 1.0, y])
    }

    /// Turns the picture counter-clockwise about the centre of `width` x `height` pixels.
    pub fn rotation(degrees: f64, width: u32, height: u32) -> Self {
        let radians = -degrees.to_radians();
        let (sin, cos) = (round15(radians.sin()), round15(radians.cos()));
        let minus_sin = round15(-radians.sin());
        let (center_x, center_y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
        Self([
            cos,
            sin,
            cos * -center_x + sin * -center_y + center_x,
            minus_sin,
            cos,
            minus_sin * -center_x + cos * -center_y + center_y,
        ])
    }

    /// The transformed image, of the same size; what comes from outside is black.
    pub fn apply(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        let [a, b, c, d, e, f] = self.0;
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
            let source_x = a * x + b * y + c;
            let source_y = d * x + e * y + f;
            image::Rgb(sample_bilinear(image, source_x, source_y).unwrap_or_default())
        })
    }
}

/// Turns the image counter-clockwise by whole `degrees`, keeping its size.
pub fn rotate(image: &RgbImage, degrees: i32) -> RgbImage {
    let (width, height) = image.dimensions();
    match degrees.rem_euclid(360) {
        0 => image.clone(),
        180 => image::imageops::rotate180(image),
        angle => Affine::rotation(f64::from(angle), width, height).apply(image),
    }
}

/// Pillow's bilinear filter at a position in pixels; `None` outside the image.
fn sample_bilinear(image: &RgbImage, x: f64, y: f64) -> Option<[u8; 3]> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    if x < 0.0 || y < 0.0 || x >= width as f64 || y >= height as f64 {
        return None;
    }
    let (x, y) = (x - 0.5, y - 0.5);
    let (column, row) = (x.floor() as i64, y.floor() as i64);
    let (dx, dy) = (x - column as f64, y - row as f64);
    let left = column.clamp(0, width - 1) as u32;
    let right = (column + 1).clamp(0, width - 1) as u32;
    let upper_row = row.clamp(0, height - 1) as u32;
    let lower_row = if row + 1 < height { (row + 1) as u32 } else { upper_row };

    let mix = |low: f64, high: f64, share: f64| low + (high - low) * share;
    let corner = |column, row| image.get_pixel(column, row).0.map(f64::from);
    let (upper_left, upper_right) = (corner(left, upper_row), corner(right, upper_row));
    let (lower_left, lower_right) = (corner(left, lower_row), corner(right, lower_row));
    Some(std::array::from_fn(|channel| {
        let upper = mix(upper_left[channel], upper_right[channel], dx);
        let lower = mix(lower_left[channel], lower_right[channel], dx);
        // Truncated, not rounded: as Pillow casts.
        mix(upper, lower, dy) as u8
    }))
}

/// Rounds to 15 decimals, as Pillow does with the entries of a rotation matrix.
fn round15(value: f64) -> f64 {
    format!("{value:.15}").parse().expect("a formatted number parses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_quarter_turns_are_the_identity() {
        let image = RgbImage::from_fn(9, 9, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        let turned = (0..4).fold(image.clone(), |turned, _| rotate(&turned, 90));
        assert_eq!(turned, image);
        assert_eq!(rotate(&image, 90), image::imageops::rotate270(&image));
        assert_eq!(rotate(&image, 270), image::imageops::rotate90(&image));
        assert_eq!(rotate(&rotate(&image, 180), 180), image);
        // Counter-clockwise: the upper right corner becomes the upper left one.
        assert_eq!(rotate(&image, 90).get_pixel(0, 0), image.get_pixel(8, 0));
        assert_eq!(rotate(&image, 270).get_pixel(0, 0), image.get_pixel(0, 8));
        assert_eq!(rotate(&image, -90), rotate(&image, 270));
    }

    #[test]
    fn a_quarter_turn_of_an_oblong_image_keeps_its_size() {
        let image = RgbImage::from_pixel(9, 5, image::Rgb([200, 100, 50]));
        for degrees in [90, 270] {
            let turned = rotate(&image, degrees);
            assert_eq!(turned.dimensions(), (9, 5));
            assert_eq!(*turned.get_pixel(4, 2), image::Rgb([200, 100, 50]));
            assert_eq!(*turned.get_pixel(0, 0), image::Rgb([0; 3]), "nothing was there");
        }
    }

    #[test]
    fn whole_translations_move_pixels() {
        let image = RgbImage::from_fn(8, 6, |x, y| image::Rgb([x as u8 * 10, y as u8 * 10, 1]));
        let moved = Affine::translate(2.0, 0.0).apply(&image);
        assert_eq!(moved.get_pixel(1, 3), image.get_pixel(3, 3));
        assert_eq!(moved.get_pixel(7, 3).0, [0, 0, 0]);
    }
}
