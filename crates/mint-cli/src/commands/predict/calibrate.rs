//! Fits temperatures and "none of these" thresholds to pictures, and says how sure they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mint_datasets::{
    FolderError, ImageSet, LabelledImage, Source, open_image_folder, open_image_list,
    pictures_below,
};
use mint_eval::{
    Basis, Classified, Example, FittedAnswers, FittedMethod, FittedTo, Guess, GuessRule,
    LabelledFit, LoadError, Loaded, PictureRun, PictureSettings, Session, Share, ThresholdRule,
};

use crate::output::{counted, error, note, shown};
use crate::progress::Phase;

/// Folders of pictures that belong to no class, unless others are named.
const NONE_FOLDER: &str = "none";

/// Pictures to calibrate on.
pub struct Examples {
    set: Arc<ImageSet>,
    /// For each label its class, or `None` if its pictures belong to no class. `None` if the pictures
    /// have no labels.
    classes: Option<Vec<Option<usize>>>,
}

impl Examples {
    /// Pictures in class folders or in a list, or without labels in a folder.
    ///
    /// # Errors
    ///
    /// If there are no pictures, or some folders are called as classes and others as nothing.
    pub fn find(
        path: &Path,
        class_names: &[String],
        none_folders: &[String],
    ) -> anyhow::Result<Self> {
        let set = if path.is_dir() {
            match open_image_folder(path, None) {
                Ok(set) => set,
                Err(FolderError::Flat { .. }) => return Ok(Self::unlabelled(path)),
                Err(cause) => return Err(cause.into()),
            }
        } else {
            open_image_list(path, None)?
        };
        let plain = |name: &str| name.trim().to_lowercase().replace('_', " ");
        let usual = [NONE_FOLDER.to_owned()];
        let none_folders = if none_folders.is_empty() { &usual[..] } else { none_folders };
        let is_none = |name: &String| none_folders.iter().any(|none| plain(none) == plain(name));
        let class_of = |name: &String| {
            let class = class_names.iter().position(|class| plain(class) == plain(name));
            match class {
                None if is_none(name) => Some(None),
                None => None,
                class => Some(class),
            }
        };
        let known: Vec<Option<Option<usize>>> = set.class_names.iter().map(class_of).collect();
        let unknown: Vec<&String> = set
            .class_names
            .iter()
            .zip(&known)
            .filter(|(_, of)| of.is_none())
            .map(|(it, _)| it)
            .collect();
        match unknown.first() {
            Some(_) if unknown.len() == known.len() && path.is_dir() => {
                note(&format!(
                    "note: no folder of `{}` is called as a class, so its pictures have no labels",
                    path.display()
                ));
                return Ok(Self::unlabelled(path));
            }
            Some(name) => bail!(
                "`--calibrate {}`: `{name}` is none of the classes; give it the name of one, or give it with `--none-folder` if its pictures belong to none",
                path.display()
            ),
            None => {}
        }
        Ok(Self { set: Arc::new(set), classes: Some(known.into_iter().flatten().collect()) })
    }

    fn unlabelled(path: &Path) -> Self {
        let found = pictures_below(path);
        found.warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
        found.unreadable.into_iter().for_each(|cause| error(&cause.into()));
        let image = |path| LabelledImage { path, label: 0 };
        let set = ImageSet {
            id: "pictures".to_owned(),
            title: "pictures".to_owned(),
            test_set: None,
            class_names: Vec::new(),
            images: found.pictures.into_iter().map(image).collect(),
            warnings: Vec::new(),
            source: Source::Folder(PathBuf::new()),
        };
        Self { set: Arc::new(set), classes: None }
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.set.images.len()
    }

    /// Lets every method look at the pictures that are `usable`, and fits to its answers. What the
    /// methods learned from them is forgotten. Returns also how many pictures could not be read.
    ///
    /// # Errors
    ///
    /// If a method fails, or there is too little to fit to.
    pub fn fit(
        &self,
        session: &mut Session<'_>,
        basis: Basis,
        settings: &PictureSettings<'_>,
        usable: impl Fn(&Path, Loaded) -> Result<Loaded, LoadError>,
    ) -> anyhow::Result<(FittedAnswers, u64)> {
        let (n_classes, seed) = (basis.classes.len(), basis.config.seed);
        let mut left_out = 0;
        let mut answers = vec![Vec::new(); session.methods().len()];
        let pictures = counted(self.len() as u64, "picture");
        let phase = Phase::start(format!("calibrating on {pictures}"));
        let loader = settings.loader(self.set.clone(), session, (0..self.len()).collect());
        let mut run = PictureRun::new(session, settings);
        for (index, loaded) in loader {
            let loaded = loaded.and_then(|it| usable(&self.set.images[index].path, it));
            for classified in run.accept(index, loaded)? {
                left_out += self.add(classified, &basis, &mut answers)?;
            }
        }
        for classified in run.flush()? {
            left_out += self.add(classified, &basis, &mut answers)?;
        }
        phase.finish();
        for method in session.methods_mut() {
            if let Some(memory) = method.method.remembers() {
                memory.forget();
            }
        }
        let mut methods = BTreeMap::new();
        for (id, examples) in basis.config.methods.iter().zip(answers) {
            let start = basis.config.fixed_temperature(*id);
            let fitted = match self.classes {
                Some(_) => {
                    LabelledFit::new(&examples, n_classes, start, seed).map(|fit| FittedMethod {
                        temperature: fit.temperature.used,
                        min_probability: fit.min_probability,
                        fitted_to: FittedTo::Examples(fit),
                    })
                }
                None => {
                    let logits: Vec<Vec<f32>> =
                        examples.into_iter().map(|example| example.logits).collect();
                    Guess::new(&logits, n_classes, start).map(|guess| FittedMethod {
                        temperature: start,
                        min_probability: guess.min_probability,
                        fitted_to: FittedTo::Pictures(guess),
                    })
                }
            };
            let fitted = fitted.with_context(|| format!("{} cannot be calibrated", id.title()))?;
            methods.insert(*id, fitted);
        }
        Ok((FittedAnswers::new(basis, methods), left_out))
    }

    /// Adds what the methods say of a picture; one that cannot be read is told and left out.
    fn add(
        &self,
        Classified { index, outcomes }: Classified,
        basis: &Basis,
        answers: &mut [Vec<Example>],
    ) -> anyhow::Result<u64> {
        let image = &self.set.images[index];
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(cause) => {
                error(
                    &anyhow::Error::new(cause).context("a picture is left out of the calibration"),
                );
                return Ok(1);
            }
        };
        let label = self.classes.as_ref().and_then(|classes| classes[image.label]);
        for ((of_method, outcome), id) in
            answers.iter_mut().zip(outcomes).zip(&basis.config.methods)
        {
            let place = || format!("{} on `{}`", id.title(), shown(&image.path));
            of_method.push(Example { logits: outcome.with_context(place)?.scores, label });
        }
        Ok(0)
    }
}

/// What was fitted, in words.
pub fn report(fitted: &FittedAnswers) -> String {
    let mut lines = Vec::new();
    let remembering = fitted.basis.config.remembering();
    for (id, FittedMethod { temperature, min_probability, fitted_to }) in &fitted.methods {
        lines.push(format!("calibration of {}", id.title()));
        let body = match fitted_to {
            FittedTo::Examples(fit) => of_examples(fit),
            FittedTo::Pictures(guess) => of_pictures(guess),
        };
        lines.extend(body.into_iter().map(|line| format!("  {line}")));
        lines.push(format!(
            "  used: temperature {temperature:.4}, none of these below a probability of {}",
            exact(*min_probability)
        ));
        if remembering.contains(id) {
            lines.push(
                "  its answers depend on the pictures before, and will differ from those that were calibrated"
                    .to_owned(),
            );
        }
    }
    lines.join("\n")
}

fn of_examples(fit: &LabelledFit) -> Vec<String> {
    let examples = counted(fit.examples, "example");
    let none = match fit.none_examples {
        0 => "none of no class".to_owned(),
        count => format!("{count} of no class"),
    };
    let t = &fit.temperature;
    let mut lines = vec![
        format!("{examples} of the classes, {none}; right: {}", share(&fit.right)),
        format!(
            "temperature: {:.4} fits best (95 % of redrawn examples: {:.4} to {:.4})",
            t.best, t.interval.0, t.interval.1
        ),
        format!(
            "  mean surprise at examples left out of a fit: {:.4} nats, without a fit {:.4}: {}",
            t.surprise,
            t.surprise_before,
            if t.is_fitted { "it is used" } else { "it is not used" }
        ),
    ];
    lines.push(match fit.rule {
        ThresholdRule::Balance => {
            "threshold: keeps the most right answers less pictures of no class (Youden's index)".to_owned()
        }
        ThresholdRule::Quantile => {
            "threshold: turns down a twentieth of right answers, since there are no pictures of no class to weigh against".to_owned()
        }
    });
    lines.push("expected errors, each example judged by a fit to others:".to_owned());
    let mut expect = |what: &str, of: &Share| {
        if of.of > 0 {
            lines.push(format!("  {what}: {}", share(of)));
        }
    };
    expect("right answers turned down", &fit.right_turned_down);
    expect("pictures of no class accepted", &fit.none_accepted);
    expect("wrong answers accepted", &fit.wrong_accepted);
    if fit.none_examples == 0 {
        lines.push("  what it does with pictures of no class is not known".to_owned());
    }
    lines
}

fn of_pictures(guess: &Guess) -> Vec<String> {
    let deciles: Vec<String> = guess.deciles.iter().map(|p| format!("{p:.3}")).collect();
    let mut lines = vec![
        format!("{} without labels", counted(guess.pictures, "picture")),
        format!("confidences, from the lowest to the highest tenth: {}", deciles.join(" ")),
    ];
    if guess.none_by_text > 0 {
        lines.push(format!("{} are none by a text of none", guess.none_by_text));
    }
    lines.push(format!(
        "share of the spread between the parts of the best split: {:.2} (0.75 for an even spread)",
        guess.separation
    ));
    lines.push(match guess.rule {
        GuessRule::Otsu => format!("threshold: that split (Otsu's); {} are below", guess.below),
        GuessRule::Quantile => format!(
            "threshold: a twentieth of the pictures, since there is no sign of two groups; {} are below",
            guess.below
        ),
    });
    lines.push(
        "this is a guess: how many of these pictures belong to a class, and how many answers are right, cannot be known without labels"
            .to_owned(),
    );
    lines
}

/// `3 of 40, 7.5 % (2.6 to 19.9)`.
fn share(share: &Share) -> String {
    let Share { count, of, interval: (low, high) } = share;
    let percent = 100.0 * *count as f64 / (*of).max(1) as f64;
    format!("{count} of {of}, {percent:.1} % (95 %: {:.1} to {:.1})", 100.0 * low, 100.0 * high)
}

/// A probability with as many digits as tell it from 1.
fn exact(probability: f64) -> String {
    match 1.0 - probability {
        rest if rest > 1e-3 || rest == 0.0 => format!("{probability:.4}"),
        rest => format!("1 - {rest:.1e}"),
    }
}
