//! Views per second: `cargo bench -p mint-augment`.

use divan::Bencher;
use divan::counter::ItemsCount;
use image::RgbImage;
use mint_augment::{AugMix, ViewConfig, ViewGenerator, ViewSeed};

fn main() {
    divan::main();
}

/// A picture with edges and gradients, of the usual size of an ImageNet photograph.
fn photograph() -> RgbImage {
    RgbImage::from_fn(500, 375, |x, y| {
        let checks = if (x / 17 + y / 23) % 2 == 0 { 80 } else { 0 };
        image::Rgb([(x / 3) as u8 + checks, (y / 2) as u8, ((x * y) / 700) as u8])
    })
}

fn bench_views(bencher: Bencher, threads: usize, config: ViewConfig) {
    let generator = ViewGenerator::new(config).expect("the configuration is valid");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let image = photograph();
    bencher
        .counter(ItemsCount::new(config.count))
        .bench(|| pool.install(|| generator.views(&image, ViewSeed { seed: 0, image: 0 })));
}

#[divan::bench(args = [1, 2])]
fn crops(bencher: Bencher, threads: usize) {
    bench_views(bencher, threads, ViewConfig::default());
}

#[divan::bench(args = [1, 2])]
fn crops_with_augmix(bencher: Bencher, threads: usize) {
    let config = ViewConfig { augmix: Some(AugMix::default()), ..ViewConfig::default() };
    bench_views(bencher, threads, config);
}
