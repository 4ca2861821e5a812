//! Where a model and its trained prompts come from: the embedded demo, or files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use mint_clip::weights::{LearnedPrompts, Origin};
use mint_clip::{Checkpoint, LoadOptions};
use mint_device::Explained;
use mint_eval::{ContextStart, FileIndex, HashedFile, RunConfig, TrainedFiles};

use crate::args::ModelArgs;
use crate::demo;
use crate::output;

/// Where a model comes from. The demo's brings the prompts that were trained for it.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// The embedded demo.
    Demo,
    /// The files of its weights.
    Files(Vec<PathBuf>),
}

impl ModelSource {
    /// What was typed; without weights the demo.
    pub fn of(args: &ModelArgs) -> Self {
        match &args.weights[..] {
            [] => Self::Demo,
            files => Self::Files(files.to_vec()),
        }
    }

    /// Whether it is the demo.
    pub fn is_demo(&self) -> bool {
        matches!(self, Self::Demo)
    }

    /// The weights, opened and checked, with the checksums of their files, which `known` may have.
    pub fn checkpoint(
        &self,
        options: LoadOptions,
        known: Option<Arc<FileIndex>>,
    ) -> anyhow::Result<(Checkpoint, Checksums)> {
        let Self::Files(files) = self else {
            let bytes = demo::weights()?;
            let hashed = vec![HashedFile::embedded(demo::WEIGHTS, &bytes)];
            let name = Path::new(demo::WEIGHTS);
            return Ok((Checkpoint::from_bytes(name, bytes, options)?, Checksums::Known(hashed)));
        };
        files.iter().try_for_each(|file| check_weight_file(file))?;
        let checkpoint = Checkpoint::open(files, options)?;
        checkpoint.check_vocabulary()?;
        let hashed = Checksums::start(&checkpoint, known);
        if checkpoint.logit_scale()?.1 == Origin::Assumed {
            output::note(
                "note: the weight files do not state the scale of the logits; 100 is assumed, as in all published models (`--logit-scale` overrides)",
            );
        }
        if checkpoint.activation().1 == &Origin::Assumed {
            output::note(
                "note: nothing states the activation; QuickGELU is assumed, as in OpenAI's models (keep the model's configuration next to the file, or give `--activation`)",
            );
        }
        Ok((checkpoint, hashed))
    }

    /// Trained prompts and what errors call them: those of the file if one was given, else the
    /// demo's of that name for the demo.
    pub fn prompts(
        &self,
        given: Option<&Path>,
        of_demo: &str,
    ) -> anyhow::Result<Option<(LearnedPrompts, String)>> {
        Ok(match given {
            Some(file) => Some((LearnedPrompts::open(file)?, file.display().to_string())),
            None if self.is_demo() => Some((demo::prompts(of_demo)?, of_demo.to_owned())),
            None => None,
        })
    }

    /// Checksums of the trained prompts that the methods start from.
    pub fn trained_files(&self, config: &RunConfig) -> anyhow::Result<TrainedFiles> {
        let hashed = |file: Option<&PathBuf>, what: &str, option: &str, of_demo: &str| match file {
            Some(file) => HashedFile::read(file).map(Some).with_context(|| {
                format!("cannot read {what} `{}`, which `{option}` names", file.display())
            }),
            None if self.is_demo() => {
                Ok(Some(HashedFile::embedded(of_demo, &demo::trained(of_demo)?)))
            }
            None => Ok(None),
        };
        let lists = |file: &Option<PathBuf>, what: &str, option: &str| match file {
            Some(file) => hashed(Some(file), what, option, ""),
            None => Ok(None),
        };
        let context = |file| hashed(file, "the trained context", "--context", demo::CONTEXT);
        Ok(TrainedFiles {
            context: match &config.context {
                Some(ContextStart::File(file)) => context(Some(file))?,
                Some(_) => None,
                None => context(None)?,
            },
            cocoop: hashed(
                config.cocoop.as_ref(),
                "CoCoOp's checkpoint",
                "--cocoop",
                demo::COCOOP,
            )?,
            maple: hashed(config.maple.as_ref(), "MaPLe's checkpoint", "--maple", demo::MAPLE)?,
            class_texts: lists(&config.class_texts, "the class texts", "--class-texts")?,
            descriptors: lists(&config.descriptors, "the descriptors", "--descriptors")?,
        })
    }
}

/// The checksums of every file that a checkpoint's numbers are in, which are computed while they are
/// read.
pub enum Checksums {
    /// Those of the demo.
    Known(Vec<HashedFile>),
    /// They are on their way.
    Computed(JoinHandle<anyhow::Result<Vec<HashedFile>>>),
}

impl Checksums {
    /// Begins to compute those that `known` does not have.
    pub fn start(checkpoint: &Checkpoint, known: Option<Arc<FileIndex>>) -> Self {
        let files: Vec<PathBuf> = checkpoint.sources().into_iter().map(Path::to_owned).collect();
        Self::Computed(std::thread::spawn(move || {
            let checksum = |file: &PathBuf| {
                let hashed = match &known {
                    Some(known) => known.hashed(file),
                    None => HashedFile::read(file),
                };
                hashed.with_context(|| format!("cannot read the weights `{}`", file.display()))
            };
            files.iter().map(checksum).collect()
        }))
    }

    /// Waits for them.
    pub fn finish(self) -> anyhow::Result<Vec<HashedFile>> {
        match self {
            Self::Known(hashed) => Ok(hashed),
            Self::Computed(thread) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}

/// People type the names of models where files are meant.
fn check_weight_file(file: &Path) -> Result<(), Explained> {
    let name = file.display().to_string();
    if file.exists() || !name.to_ascii_lowercase().starts_with("vit-") {
        return Ok(());
    }
    Err(Explained {
        problem: format!("there is no file `{name}`"),
        detail: "`--weights` takes a file of weights, and this looks like the name of a model"
            .to_owned(),
        hint: format!(
            "`cargo xtask fetch weights {name}` in a checkout of this project fetches OpenAI's, if it is one of theirs; docs/weights.md names others"
        ),
    })
}
