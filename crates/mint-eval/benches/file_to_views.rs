//! Views a second on one core, from the file to the normalised tensor:
//! `cargo bench --workspace --bench file_to_views --profile dev -- IMAGE...`

use std::path::Path;
use std::time::Instant;

use mint_augment::{ViewConfig, ViewGenerator, ViewSeed};
use mint_clip::burn::tensor::Device;
use mint_eval::view_tensor;

/// The fastest of this many runs counts.
const RUNS: u64 = 15;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let generator = ViewGenerator::new(ViewConfig::default()).expect("the defaults are valid");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let files: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    if files.is_empty() {
        println!(
            "name image files: cargo bench --workspace --bench file_to_views --profile dev -- IMAGE..."
        );
    }
    let count = generator.config().count as f64;
    for file in files {
        let mut best = [f64::INFINITY; 2];
        for image in 0..RUNS {
            let run = pool.install(|| seconds(Path::new(&file), image, &generator));
            best = [best[0].min(run[0]), best[1].min(run[1])];
        }
        println!(
            "{file}: {:.0} views a second, {:.0} with upload and normalisation",
            count / best[0],
            count / best[1]
        );
    }
}

/// Seconds up to the 8-bit views, and up to the tensor.
fn seconds(file: &Path, image: u64, generator: &ViewGenerator) -> [f64; 2] {
    let clock = Instant::now();
    let bytes = std::fs::read(file).expect("the file can be read");
    let picture = mint_datasets::decode(&bytes).expect("the file can be decoded");
    let views = generator.views(&picture, ViewSeed { seed: 0, image }).expect("it has pixels");
    let views_done = clock.elapsed().as_secs_f64();
    let tensor = view_tensor(views, &generator.config().normalization, &Device::flex());
    assert_eq!(tensor.dims()[0], generator.config().count);
    [views_done, clock.elapsed().as_secs_f64()]
}
