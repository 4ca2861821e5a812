//! Classifies images with class names of the user's.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mint_augment::{ViewConfig, ViewGenerator, ViewSeed};
use mint_datasets::{ImageSet, LabelledImage, Source, read_class_names};
use mint_eval::{Export, MethodId, RunConfig, Start, ranking, view_tensor};
use mint_tuner::{ImageViews, ViewDemand};
use serde_json::json;

use crate::args::{Format, PredictArgs};
use crate::model::{Model, resolve_config};
use crate::output;

/// Best classes shown for each image.
const SHOWN: usize = 5;

/// Classifies the images one after the other and prints the best classes of each.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let class_names = class_names(&args.classes)?;
    let config = resolve_config(&args.model, RunConfig::default())?;
    if args.model.weights.is_empty() {
        output::note(
            "warning: without `--weights` the demo's tiny model is used, which knows pictograms only",
        );
    }
    let model = Model::load(&args.model)?;
    let mut methods = model.methods(&config)?;
    let mut views = 1;
    for (_, method) in &mut methods {
        method.start_test_set(&model.clip, &model.tokenizer, &class_names)?;
        if method.view_demand() == ViewDemand::All {
            views = config.views;
        }
    }
    let size = model.clip.config.vision.image_size as u32;
    let view_config = ViewConfig { size, count: views, ..ViewConfig::default() };
    let generator = ViewGenerator::new(view_config)?;
    let pass_config = config.mint.pass(&model.clip.config)?;
    let images = listed_images(&args.images, class_names);

    let export = match &args.export {
        None => None,
        Some(folder) => {
            let start = Start {
                clip: &model.clip,
                tokenizer: &model.tokenizer,
                class_names: &images.class_names,
                context: model.start_context(&config)?,
                memory: methods.iter().find_map(|(_, method)| method.memory()),
            };
            Some(Export::create(folder, &start)?)
        }
    };
    let mut results = Vec::new();
    for (index, path) in args.images.iter().enumerate() {
        let image = images.load(index)?;
        let seed = ViewSeed { seed: config.seed, image: index as u64 };
        let views = generator.views(&image, seed)?;
        if let Some(export) = &export {
            export.image(index, &views)?;
        }
        let pixels = view_tensor(views, &view_config.normalization, &model.clip.device);
        let views = ImageViews::new(&model.clip, pixels, &pass_config);
        for (id, method) in &mut methods {
            let scores = method.classify(&views)?.scores;
            results.push(Prediction {
                path,
                method: *id,
                best: best(&scores, &images.class_names),
            });
        }
    }
    match args.format {
        Format::Json => output::result(&as_json(&results)?),
        Format::Text | Format::Markdown => results.iter().for_each(Prediction::print),
    }
    Ok(())
}

/// What a method says about an image.
struct Prediction<'a> {
    path: &'a Path,
    method: MethodId,
    /// Name, score and probability, the best first.
    best: Vec<(String, f32, f32)>,
}

impl Prediction<'_> {
    fn print(&self) {
        output::result(&format!("{} ({})", self.path.display(), self.method.title()));
        for (name, _, probability) in &self.best {
            output::result(&format!("  {:5.1} %  {name}", 100.0 * probability));
        }
    }
}

fn as_json(predictions: &[Prediction<'_>]) -> anyhow::Result<String> {
    let entry = |prediction: &Prediction<'_>| {
        let best = prediction.best.iter().map(|(class, score, probability)| {
            json!({ "class": class, "score": score, "probability": probability })
        });
        json!({
            "path": prediction.path.display().to_string(),
            "method": prediction.method.name(),
            "best": best.collect::<Vec<_>>(),
        })
    };
    let predictions: Vec<_> = predictions.iter().map(entry).collect();
    Ok(serde_json::to_string_pretty(&json!({ "predictions": predictions }))?)
}

/// The best classes with their softmax probabilities.
fn best(scores: &[f32], class_names: &[String]) -> Vec<(String, f32, f32)> {
    let order = ranking(scores, SHOWN);
    let largest = order.first().map_or(0.0, |&class| scores[class]);
    let total: f32 = scores.iter().map(|score| (score - largest).exp()).sum();
    let entry = |class: usize| {
        (class_names[class].clone(), scores[class], (scores[class] - largest).exp() / total)
    };
    order.into_iter().map(entry).collect()
}

/// Names divided by commas, or the names in a file.
fn class_names(text: &str) -> anyhow::Result<Vec<String>> {
    if Path::new(text).is_file() {
        return Ok(read_class_names(Path::new(text))?);
    }
    let looks_like_file = [".json", ".txt"].iter().any(|end| text.ends_with(end));
    if !text.contains(',') && (looks_like_file || text.contains(std::path::MAIN_SEPARATOR)) {
        bail!("the file of class names `{text}` is not there");
    }
    let names: Vec<String> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        bail!("`--classes` has no names; write some such as \"cat,dog\", or name a file");
    }
    Ok(names)
}

/// The files as a set without labels.
fn listed_images(paths: &[PathBuf], class_names: Vec<String>) -> ImageSet {
    let image = |path: &PathBuf| LabelledImage { path: path.clone(), label: 0 };
    ImageSet {
        id: "images".to_owned(),
        title: "images".to_owned(),
        class_names,
        images: paths.iter().map(image).collect(),
        warnings: Vec::new(),
        source: Source::Folder(PathBuf::new()),
    }
}
