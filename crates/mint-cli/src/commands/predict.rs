//! Classifies images with class names of the user's.

use std::path::{Path, PathBuf};

use anyhow::bail;
use image::RgbImage;
use mint_datasets::{ImageSet, LabelledImage, Source, duplicate, quoted, read_class_names};
use mint_eval::{Export, MethodId, RunConfig, Session, Start, probabilities, ranking};
use mint_tuner::{Outcome, ScoreKind};
use serde_json::json;

use crate::args::{Format, PredictArgs};
use crate::demo;
use crate::model::Model;
use crate::model_source::ModelSource;
use crate::output;
use crate::progress::Phase;
use crate::settings::resolve_config;

/// Best classes shown for each image.
const SHOWN: usize = 5;

/// Classifies the images one after the other and prints the best classes of each.
///
/// A picture that cannot be read is named, and the others are classified all the same.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let class_names = class_names(&args.classes)?;
    // What a method that remembers says of a picture depends on the pictures before it.
    let start = RunConfig { methods: vec![MethodId::Clip], ..RunConfig::default() };
    let config = resolve_config(&args.model, start)?;
    let source = ModelSource::of(&args.model);
    let is_demo = source.is_demo();
    if is_demo {
        output::note(
            "warning: without `--weights` the demo's tiny model is used, which knows pictograms only",
        );
    }
    source.trained_files(&config)?;
    let model = Model::load(source, &args.model, config.precision)?;
    let mut methods = model.methods(&config)?;
    let texts = Phase::start(format!("texts of the {} classes", class_names.len()));
    let mut session =
        Session::new(&model.clip, &model.tokenizer, &class_names, &mut methods, &config)?
            .with_image_count(args.images.len());
    texts.finish();
    let images = listed_images(&args.images, class_names.clone());

    let export = match &args.export {
        None => None,
        Some(folder) => {
            let mint = session.methods_mut().iter_mut().find(|method| method.id == MethodId::Mint);
            let memory = mint.and_then(|mint| mint.method.remembers());
            let memory = memory.map(|memory| memory.save()).transpose()?;
            let start = Start {
                clip: &model.clip,
                tokenizer: &model.tokenizer,
                class_names: &images.class_names,
                context: model.start_context(&config)?.context,
                memory: memory.as_ref(),
            };
            Some(Export::create(folder, &start)?)
        }
    };
    let mut results = Vec::new();
    let mut failed = 0;
    for (index, path) in args.images.iter().enumerate() {
        let usable = |image: RgbImage| {
            if is_demo {
                demo::check_pictogram(path, &image)?
            }
            Ok(image)
        };
        let image = match images.load(index).map_err(anyhow::Error::new).and_then(usable) {
            Ok(image) => image,
            Err(error) => {
                output::error(&error);
                failed += 1;
                continue;
            }
        };
        let views = session.views(&image, index)?;
        if let Some(export) = &export {
            export.image(index, &views)?;
        }
        let outcomes = session.classify_views(views);
        let before = results.len();
        for (method, outcome) in session.methods().iter().map(|method| method.id).zip(outcomes) {
            match outcome {
                Ok(outcome) => {
                    let best = best(&outcome, config.temperature, &class_names);
                    results.push(Prediction { path, method, kind: outcome.kind, best });
                }
                Err(error) => {
                    let what = format!("{} on `{}`", method.title(), path.display());
                    output::error(&anyhow::Error::new(error).context(what));
                }
            }
        }
        failed += usize::from(results.len() - before < session.methods().len());
    }
    match args.format {
        Format::Json => output::result(&as_json(&results)?),
        Format::Text => results.iter().for_each(Prediction::print),
    }
    if failed > 0 {
        let pictures = output::counted(args.images.len() as u64, "picture");
        bail!("{failed} of {pictures} could not be classified");
    }
    Ok(())
}

/// What a method says about an image.
struct Prediction<'a> {
    path: &'a Path,
    method: MethodId,
    kind: ScoreKind,
    /// The best first.
    best: Vec<ScoredName>,
}

/// A class, its score and, where the scores are logits, its probability.
struct ScoredName {
    name: String,
    score: f32,
    probability: Option<f32>,
}

impl Prediction<'_> {
    fn print(&self) {
        output::result(&format!("{} ({})", self.path.display(), self.method.title()));
        for ScoredName { name, score, probability } in &self.best {
            output::result(&match probability {
                Some(probability) => format!("  {:5.1} %  {name}", 100.0 * probability),
                None => format!("  {score:5.1} votes  {name}"),
            });
        }
    }
}

fn as_json(predictions: &[Prediction<'_>]) -> anyhow::Result<String> {
    let entry = |prediction: &Prediction<'_>| {
        let best = prediction.best.iter().map(|class| {
            json!({ "class": class.name, "score": class.score, "probability": class.probability })
        });
        json!({
            "path": prediction.path.display().to_string(),
            "method": prediction.method.name(),
            "scores": prediction.kind.to_string(),
            "best": best.collect::<Vec<_>>(),
        })
    };
    let predictions: Vec<_> = predictions.iter().map(entry).collect();
    Ok(serde_json::to_string_pretty(&json!({ "predictions": predictions }))?)
}

/// The best classes.
fn best(outcome: &Outcome, temperature: f64, class_names: &[String]) -> Vec<ScoredName> {
    let probabilities = probabilities(outcome, temperature);
    let entry = |class: usize| ScoredName {
        name: class_names[class].clone(),
        score: outcome.scores[class],
        probability: probabilities.as_ref().map(|values| values[class]),
    };
    ranking(&outcome.scores, SHOWN).into_iter().map(entry).collect()
}

/// Names separated by commas, or the names in a file (`-` for standard input).
fn class_names(text: &str) -> anyhow::Result<Vec<String>> {
    let path = Path::new(if text == "-" { "/dev/stdin" } else { text });
    let names: Vec<String> = if path.is_dir() {
        bail!("`--classes {text}` is a folder; name a file of class names, or write \"cat,dog\"");
    } else if path.exists() {
        read_class_names(path)?
    } else if text.contains(',') {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    } else {
        bail!(
            "`--classes`: there is no file {}; name a file of class names, or write at least two names such as \"cat,dog\"",
            quoted(text)
        );
    };
    if names.len() < 2 {
        bail!(
            "`--classes {}` has one class only, which every picture would be; give at least two",
            quoted(text)
        );
    }
    if let Some((first, second)) = duplicate(&names) {
        bail!(
            "`--classes`: {} is name {} and name {} of {}; give each class once",
            quoted(&names[second]),
            first + 1,
            second + 1,
            names.len()
        );
    }
    Ok(names)
}

/// The files as a set without labels.
fn listed_images(paths: &[PathBuf], class_names: Vec<String>) -> ImageSet {
    let image = |path: &PathBuf| LabelledImage { path: path.clone(), label: 0 };
    ImageSet {
        id: "images".to_owned(),
        title: "images".to_owned(),
        test_set: None,
        class_names,
        images: paths.iter().map(image).collect(),
        warnings: Vec::new(),
        source: Source::Folder(PathBuf::new()),
    }
}
