//! Laws of the view generator.

use image::RgbImage;
use mint_augment::columns::Columns;
use mint_augment::crop::{CleanResize, CropBox};
use mint_augment::resample::{Filter, resize};
use mint_augment::{
    AugMix, Normalization, ViewConfig, ViewError, ViewGenerator, ViewPixels, ViewSeed, Views,
    pixels,
};
use proptest::prelude::*;

const SEED: ViewSeed = ViewSeed { seed: 3, image: 41 };

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8])
    })
}

fn views_with_threads(threads: usize, config: ViewConfig, seed: ViewSeed) -> Views {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let generator = ViewGenerator::new(config).expect("the configuration is valid");
    pool.install(|| generator.views(&picture(90, 70), seed)).expect("the image has pixels")
}

fn small(count: usize) -> ViewConfig {
    ViewConfig { size: 32, count, ..ViewConfig::default() }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for augmix in [None, Some(AugMix::default())] {
        let config = ViewConfig { augmix, ..small(9) };
        let alone = views_with_threads(1, config, SEED);
        assert_eq!(alone, views_with_threads(2, config, SEED));
        assert_eq!(alone, views_with_threads(5, config, SEED));
    }
}

#[test]
fn fewer_views_are_the_first_of_more_views() {
    let (ViewPixels::Rgb8(few), ViewPixels::Rgb8(many)) = (
        views_with_threads(2, small(4), SEED).pixels,
        views_with_threads(2, small(9), SEED).pixels,
    ) else {
        panic!("no AugMix was asked for")
    };
    assert_eq!(few, many[..few.len()]);
}

#[test]
fn seed_and_image_index_each_change_the_random_views_only() {
    let samples =
        |seed, image| match views_with_threads(1, small(3), ViewSeed { seed, image }).pixels {
            ViewPixels::Rgb8(samples) => samples,
            ViewPixels::Normalized(_) => panic!("no AugMix was asked for"),
        };
    let clean = 3 * 32 * 32;
    let reference = samples(0, 0);
    for other in [samples(1, 0), samples(0, 1)] {
        assert_eq!(reference[..clean], other[..clean]);
        assert_ne!(reference[clean..], other[clean..]);
    }
}

#[test]
fn view_zero_is_the_clean_view_with_and_without_augmix() {
    let clean = CleanResize::Shortest.apply(&picture(90, 70), 32);
    let ViewPixels::Rgb8(plain) = views_with_threads(1, small(1), SEED).pixels else {
        panic!("no AugMix was asked for")
    };
    assert_eq!(plain, pixels::planes(&clean));
    let config = ViewConfig { augmix: Some(AugMix::default()), ..small(1) };
    let ViewPixels::Normalized(mixed) = views_with_threads(1, config, SEED).pixels else {
        panic!("AugMix was asked for")
    };
    assert_eq!(mixed, Normalization::CLIP.planes(&clean));
}

#[test]
fn impossible_requests_are_errors() {
    let no_views = ViewGenerator::new(ViewConfig { count: 0, ..ViewConfig::default() });
    assert_eq!(no_views.err(), Some(ViewError::NoViews));
    let no_size = ViewGenerator::new(ViewConfig { size: 0, ..ViewConfig::default() });
    assert_eq!(no_size.err(), Some(ViewError::NoSize));
    let generator = ViewGenerator::new(small(2)).expect("the configuration is valid");
    let empty = generator.views(&RgbImage::new(0, 5), SEED);
    assert_eq!(empty.err(), Some(ViewError::EmptyImage { width: 0, height: 5 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_image_size_gives_all_views(width in 1u32..200, height in 1u32..200, count in 1usize..5) {
        let generator = ViewGenerator::new(small(count)).expect("the configuration is valid");
        let views = generator.views(&picture(width, height), SEED).expect("the image has pixels");
        let ViewPixels::Rgb8(samples) = views.pixels else { panic!("no AugMix was asked for") };
        prop_assert_eq!(samples.len(), count * 3 * 32 * 32);
    }

    #[test]
    fn views_are_resized_crops_of_the_picture(
        width in 1u32..150, height in 1u32..150, size in 1u32..70, mirrored: bool,
        place in any::<[u32; 4]>(),
    ) {
        let picture = picture(width, height);
        let (left, top) = (place[0] % width, place[1] % height);
        let crop = CropBox {
            top, left, height: 1 + place[2] % (height - top), width: 1 + place[3] % (width - left),
        };
        let mut expected = resize(&crop.crop(&picture), size, size, Filter::Bilinear);
        if mirrored {
            image::imageops::flip_horizontal_in_place(&mut expected);
        }
        let mut planes = vec![0; 3 * (size * size) as usize];
        let columns = Columns::new(&picture);
        columns.resized_crop(crop, size, mirrored, &mut planes);
        prop_assert_eq!(&planes, &mint_augment::pixels::planes(&expected));
        for clean in [CleanResize::Shortest, CleanResize::Squash] {
            columns.clean(clean, size, &mut planes);
            let expected = clean.apply(&picture, size);
            prop_assert_eq!(&planes, &mint_augment::pixels::planes(&expected));
        }
        let squashed = resize(&picture, size, size, Filter::Bicubic);
        prop_assert_eq!(CleanResize::Squash.apply(&picture, size), squashed);
    }

    #[test]
    fn augmix_stays_within_the_range_of_normalised_samples(seed: u64) {
        let config = ViewConfig { augmix: Some(AugMix::default()), ..small(4) };
        let views = views_with_threads(1, config, ViewSeed { seed, image: 0 });
        let ViewPixels::Normalized(samples) = views.pixels else { panic!("AugMix was asked for") };
        let table = Normalization::CLIP.table().concat();
        let low = table.iter().copied().fold(f32::INFINITY, f32::min) - 1e-5;
        let high = table.iter().copied().fold(f32::NEG_INFINITY, f32::max) + 1e-5;
        prop_assert!(samples.iter().all(|sample| (low..=high).contains(sample)));
    }
}

/// Cut out, resized and mirrored as it says, each view has the pixels that it has.
#[test]
fn every_view_says_what_it_shows_of_the_image() {
    let views = views_with_threads(1, small(12), SEED);
    assert_eq!(views.places.len(), 12);
    let clean = views.places[0];
    assert_eq!(clean.rectangle, CropBox { top: 0, left: 9, height: 70, width: 70 });
    assert!(!clean.mirrored);
    for (view, place) in views.places.iter().enumerate().skip(1) {
        let crop = place.rectangle.crop(&picture(90, 70));
        let mut shown = resize(&crop, 32, 32, Filter::Bilinear);
        if place.mirrored {
            image::imageops::flip_horizontal_in_place(&mut shown);
        }
        assert_eq!(views.picture(view), Some(shown), "view {view}");
        assert!(!place.mixed);
    }
    let mirrored = views.places.iter().filter(|place| place.mirrored).count();
    assert!((1..11).contains(&mirrored), "{mirrored}");

    let mixed =
        views_with_threads(1, ViewConfig { augmix: Some(AugMix::default()), ..small(12) }, SEED);
    assert!(!mixed.places[0].mixed && mixed.places[1..].iter().all(|place| place.mixed));
    let rectangles =
        |views: &Views| views.places.iter().map(|place| place.rectangle).collect::<Vec<_>>();
    assert_eq!(rectangles(&mixed), rectangles(&views));
    let squashed = ViewConfig { clean: CleanResize::Squash, ..small(1) };
    let whole = CropBox { top: 0, left: 0, height: 70, width: 90 };
    assert_eq!(views_with_threads(1, squashed, SEED).places[0].rectangle, whole);
}

proptest! {
    #[test]
    fn clean_views_show_a_part_of_the_image(width in 1u32..300, height in 1u32..300) {
        let generator = ViewGenerator::new(small(1)).expect("the configuration is valid");
        let views = generator.views(&picture(width, height), SEED).expect("the image has pixels");
        let CropBox { top, left, height: rows, width: columns } = views.places[0].rectangle;
        prop_assert!(rows >= 1 && top + rows <= height && columns >= 1 && left + columns <= width);
        // The long side after the resize was truncated.
        prop_assert!(rows.abs_diff(columns) <= 2 + rows / 25, "{rows} {columns}");
    }
}
