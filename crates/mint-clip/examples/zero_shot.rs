//! Zero-shot classification:
//! `cargo run -p mint-clip --example zero_shot -- WEIGHTS PICTURE NAME NAME...`

use std::error::Error;
use std::path::Path;

use mint_augment::{Normalization, ViewConfig, ViewGenerator, ViewSeed};
use mint_clip::burn::tensor::activation::softmax;
use mint_clip::burn::tensor::{Device, Tensor, TensorData};
use mint_clip::{Clip, Lanes, LoadOptions, PromptSet};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, picture, names @ ..] = &arguments[..] else {
        return Err("give WEIGHTS, a PICTURE and class names".into());
    };
    for (name, probability) in classify(weights.as_ref(), picture.as_ref(), names)? {
        println!("{:5.1} %  {name}", 100.0 * probability);
    }
    Ok(())
}

/// The classes with their probabilities, the best first.
pub(crate) fn classify(
    weights: &Path,
    picture: &Path,
    names: &[String],
) -> Result<Vec<(String, f32)>, Box<dyn Error>> {
    let device = Device::flex();
    let clip = Clip::open(weights, LoadOptions::default(), &device, Lanes::per_core())?;

    // The picture, resized and normalised as CLIP was trained.
    let picture = mint_augment::image::open(picture)?.into_rgb8();
    let size = clip.config.vision.image_size;
    let config = ViewConfig { size: size as u32, count: 1, ..ViewConfig::default() };
    let views = ViewGenerator::new(config)?.views(&picture, ViewSeed { seed: 0, image: 0 })?;
    let pixels = TensorData::new(views.normalized(&Normalization::CLIP), [1, 3, size, size]);

    let prompts = PromptSet::from_template(&clip.tokenizer(), names, "a photo of a {}.")?;
    let texts = clip.text.forward(&prompts, None);
    let image = clip.image.forward(Tensor::from_data(pixels, &device));
    let probabilities: Vec<f32> =
        softmax(clip.logits(image, texts), 1).into_data().try_into_vec()?;

    let mut ranked: Vec<(String, f32)> = names.iter().cloned().zip(probabilities).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(ranked)
}
