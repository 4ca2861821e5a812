//! MINT on pictures, one after the other:
//! `cargo run -p mint-tuner --example mint -- WEIGHTS NAME,NAME... PICTURE...`

use std::error::Error;
use std::path::Path;

use mint_augment::{Normalization, ViewConfig, ViewGenerator, ViewSeed};
use mint_clip::{Clip, Lanes, LoadOptions};
use mint_tuner::burn::tensor::{Device, Tensor, TensorData};
use mint_tuner::{ClassSet, ImageViews, Method, Mint, MintConfig, Outcome};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, names, pictures @ ..] = &arguments[..] else {
        return Err("give WEIGHTS, class names and pictures".into());
    };
    let names: Vec<String> = names.split(',').map(str::to_owned).collect();
    let pictures: Vec<&Path> = pictures.iter().map(Path::new).collect();
    for (picture, outcome) in pictures.iter().zip(adapt(weights.as_ref(), &names, &pictures)?) {
        let best =
            (0..names.len()).max_by(|&a, &b| outcome.scores[a].total_cmp(&outcome.scores[b]));
        let losses: Vec<f32> = outcome.steps.iter().map(|step| step.loss).collect();
        println!("{}: {}, losses {losses:?}", picture.display(), names[best.unwrap_or(0)]);
    }
    Ok(())
}

/// What MINT says of each picture. It remembers, so their order matters.
pub(crate) fn adapt(
    weights: &Path,
    names: &[String],
    pictures: &[&Path],
) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let device = Device::flex();
    let clip = Clip::open(weights, LoadOptions::default(), &device, Lanes::per_core())?;
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, names);
    let context = clip.context_of(&tokenizer, "a photo of a");
    let mut mint = Mint::new(MintConfig::default(), &clip, context)?;

    let size = clip.config.vision.image_size;
    let generator = ViewGenerator::new(ViewConfig { size: size as u32, ..ViewConfig::default() })?;
    let mut outcomes = Vec::new();
    for (index, picture) in pictures.iter().enumerate() {
        let picture = mint_augment::image::open(picture)?.into_rgb8();
        let views = generator.views(&picture, ViewSeed { seed: 0, image: index as u64 })?;
        let shape = [views.count, 3, size, size];
        let pixels = TensorData::new(views.normalized(&Normalization::CLIP), shape);
        let views = ImageViews::new(&clip, Tensor::from_data(pixels, &device));
        outcomes.push(mint.classify(&classes, &views)?);
    }
    Ok(outcomes)
}
