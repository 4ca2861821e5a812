//! A method of one's own: the mean of all views' class distributions.
//! `cargo run -p mint-tuner --example own_method -- WEIGHTS PICTURE NAME NAME...`

use std::error::Error;
use std::path::Path;

use mint_augment::{Normalization, ViewConfig, ViewGenerator, ViewSeed};
use mint_clip::{Clip, Lanes, LoadOptions};
use mint_tuner::burn::tensor::activation::log_softmax;
use mint_tuner::burn::tensor::{Device, Tensor, TensorData};
use mint_tuner::{
    ClassSet, ClassTexts, ImageViews, Method, MethodError, Outcome, Pending, ViewDemand,
};

/// Averages what the views say.
struct MeanOfViews {
    texts: ClassTexts,
}

impl Method for MeanOfViews {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::All
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        // Shared with other methods: texts are embedded once per class set, views once per image.
        let texts = classes.features(&self.texts)?;
        let probabilities = log_softmax(views.logits(&texts).logits, 1).exp();
        // Logarithms of probabilities are logits: their softmax is the probabilities again.
        Ok(Pending::logits(probabilities.mean_dim(0).log()))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, picture, names @ ..] = &arguments[..] else {
        return Err("give WEIGHTS, a PICTURE and class names".into());
    };
    let Outcome { scores, .. } = classify(weights.as_ref(), picture.as_ref(), names)?;
    for (name, score) in names.iter().zip(scores) {
        println!("{:5.1} %  {name}", 100.0 * score.exp());
    }
    Ok(())
}

/// Scores of a picture by the method above.
pub(crate) fn classify(
    weights: &Path,
    picture: &Path,
    names: &[String],
) -> Result<Outcome, Box<dyn Error>> {
    let device = Device::flex();
    let clip = Clip::open(weights, LoadOptions::default(), &device, Lanes::per_core())?;
    let size = clip.config.vision.image_size;
    let generator = ViewGenerator::new(ViewConfig { size: size as u32, ..ViewConfig::default() })?;
    let picture = mint_augment::image::open(picture)?.into_rgb8();
    let views = generator.views(&picture, ViewSeed { seed: 0, image: 0 })?;
    let shape = [views.count, 3, size, size];
    let pixels = TensorData::new(views.normalized(&Normalization::CLIP), shape);

    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, names);
    let views = ImageViews::new(&clip, Tensor::from_data(pixels, &device));
    Ok(MeanOfViews { texts: ClassTexts::default() }.classify(&classes, &views)?)
}
