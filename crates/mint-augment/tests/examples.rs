//! The examples, as a user runs them.

use mint_augment::image::{self, Rgb, RgbImage};

#[allow(dead_code, reason = "the program's own entry is not called here")]
#[path = "../examples/views.rs"]
mod views;

#[test]
fn views_are_written_as_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = RgbImage::from_fn(320, 240, |x, y| Rgb([x as u8, y as u8, 128]));
    views::write_views(&picture, folder.path()).expect("the example runs");
    let clean = image::open(folder.path().join("view-0.png")).expect("a picture").into_rgb8();
    assert_eq!(clean.dimensions(), (224, 224));
    // The centre of the picture stays in the centre of the clean view.
    let Rgb([red, green, blue]) = *clean.get_pixel(112, 112);
    assert!(red.abs_diff(160) < 3 && green.abs_diff(120) < 3 && blue.abs_diff(128) < 3);
    assert!(folder.path().join("view-7.png").is_file());
}
