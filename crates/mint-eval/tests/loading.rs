//! The loader: order, bounded memory, damaged files.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mint_augment::{ViewConfig, ViewGenerator};
use mint_datasets::{ImageSet, LabelledImage, Source};
use mint_eval::Loader;

static OPENED: AtomicUsize = AtomicUsize::new(0);

/// A tiny bitmap, or nonsense for every fifth path.
fn bytes(path: &Path) -> Option<Cow<'static, [u8]>> {
    OPENED.fetch_add(1, Ordering::SeqCst);
    let number: u8 = path.to_str()?.parse().ok()?;
    if number % 5 == 4 {
        return Some(b"BM damaged".as_slice().into());
    }
    let pixel = [number, 2 * number, 255, 0];
    let header = [54 + pixel.len() as u32, 0, 54, 40, 1, 1, 1 | 24 << 16, 0, 0, 0, 0, 0, 0];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    Some([b"BM".as_slice(), &header, &pixel].concat().into())
}

#[test]
fn images_come_in_order_a_few_ahead_and_damaged_ones_as_errors() {
    let images =
        (0..20).map(|number| LabelledImage { path: PathBuf::from(number.to_string()), label: 0 });
    let set = Arc::new(ImageSet {
        id: "bitmaps".to_owned(),
        title: "bitmaps".to_owned(),
        test_set: None,
        class_names: vec!["pixel".to_owned()],
        images: images.collect(),
        warnings: Vec::new(),
        source: Source::Embedded(bytes),
    });
    let config = ViewConfig { size: 8, count: 3, ..ViewConfig::default() };
    let generator = ViewGenerator::new(config).expect("the configuration is valid");
    let indices: Vec<usize> = (0..20).rev().collect();
    let (threads, ahead) = (3, 4);
    let loader = Loader::new(set, generator, 0, indices.clone(), threads, ahead);
    for (position, (index, views)) in loader.enumerate() {
        assert_eq!(index, indices[position]);
        assert_eq!(views.is_err(), index % 5 == 4, "image {index}");
        if let Ok(views) = views {
            assert_eq!(views.into_views().map(|views| views.count), Some(3));
        }
        // This image, and those ahead of it, were opened; nothing further can have been.
        let opened = OPENED.load(Ordering::SeqCst);
        assert!(opened <= position + 1 + ahead, "{opened} opened at position {position}");
        assert!(opened > position);
    }
    assert_eq!(OPENED.load(Ordering::SeqCst), 20);
}
