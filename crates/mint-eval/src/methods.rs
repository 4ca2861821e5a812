//! From a configuration to methods that can run.

use mint_clip::burn::tensor::{Device, Tensor, TensorData};
use mint_clip::weights::LearnedPrompts;
use mint_clip::{Clip, Tokenizer, WeightsError};
use mint_datasets::ImageNet;
use mint_tuner::{ClassTexts, Method, MethodError, Mint, Mta, Tpt, Zero, ZeroShot};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Normal;

use crate::config::{ContextStart, MethodId, RunConfig, Texts};

/// A configuration that does not fit the model.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The context file cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The context has the wrong shape.
    #[error(
        "the context `{file}` has the shape {shape:?}; this model needs [vectors, {width}], so it was trained for another one"
    )]
    ContextShape {
        /// The file.
        file: String,
        /// Shape of the tensor `ctx`.
        shape: Vec<usize>,
        /// Width of the text tower.
        width: usize,
    },
    /// The file holds the prompts of another method than CoOp.
    #[error(
        "`{file}` is a checkpoint of {method}, whose context means nothing without its other parts; give one of CoOp"
    )]
    OtherPrompts {
        /// The file.
        file: String,
        /// The method that it was trained with.
        method: &'static str,
    },
    /// The context has no words.
    #[error("the words that the context starts from are empty")]
    NoWords,
    /// A method needs a trained context.
    #[error(
        "CoOp, and texts from a context, need a trained context: give its file with `--context`"
    )]
    NoTrainedContext,
    /// The configuration does not fit the model.
    #[error(transparent)]
    Method(#[from] MethodError),
}

/// A method that can run, with its name.
pub type NamedMethod = (MethodId, Box<dyn Method>);

/// Standard deviation of a random context, as in CoOp.
const RANDOM_CONTEXT_STD: f32 = 0.02;
/// Vectors of a random context.
const RANDOM_CONTEXT_VECTORS: usize = 4;

/// The context that learned prompts start from. Shape: `[context, width]`.
pub fn start_context(
    start: &ContextStart,
    clip: &Clip,
    tokenizer: &Tokenizer,
) -> Result<Tensor<2>, SetupError> {
    let width = clip.config.text.width;
    match start {
        ContextStart::File(file) => {
            let prompts = LearnedPrompts::open(file)?;
            context_of(prompts, &file.display().to_string(), width, &clip.device)
        }
        ContextStart::Words(words) => {
            let ids = tokenizer.encode(&words.replace('_', " "));
            if ids.is_empty() {
                return Err(SetupError::NoWords);
            }
            Ok(clip.text.tower().token_rows(&ids))
        }
        ContextStart::Random(seed) => {
            let normal = Normal::new(0.0, RANDOM_CONTEXT_STD).expect("the deviation is positive");
            let mut rng = ChaCha8Rng::seed_from_u64(*seed);
            let values = (0..RANDOM_CONTEXT_VECTORS * width).map(|_| rng.sample(normal)).collect();
            let data = TensorData::new::<f32, _>(values, [RANDOM_CONTEXT_VECTORS, width]);
            Ok(Tensor::from_data(data, &clip.device))
        }
    }
}

/// CoOp's context, checked; `file` is what errors call it.
pub fn context_of(
    prompts: LearnedPrompts,
    file: &str,
    width: usize,
    device: &Device,
) -> Result<Tensor<2>, SetupError> {
    let file = file.to_owned();
    let other = match (&prompts.meta_net, &prompts.maple) {
        (Some(_), _) => Some("CoCoOp"),
        (_, Some(_)) => Some("MaPLe"),
        _ => None,
    };
    if let Some(method) = other {
        return Err(SetupError::OtherPrompts { file, method });
    }
    let context = prompts.context;
    if context.shape[1] != width {
        return Err(SetupError::ContextShape { file, shape: context.shape, width });
    }
    Ok(Tensor::from_data(TensorData::new(context.values, context.shape), device))
}

/// The configured methods. `context` is the start of learned prompts, if any was given.
///
/// Without one TPT and MINT start from the words `a photo of a`.
pub fn build_methods(
    config: &RunConfig,
    clip: &Clip,
    tokenizer: &Tokenizer,
    context: Option<Tensor<2>>,
) -> Result<Vec<NamedMethod>, SetupError> {
    let trained = || context.clone().ok_or(SetupError::NoTrainedContext);
    let start = || match &context {
        Some(context) => Ok(context.clone()),
        None => start_context(&ContextStart::default(), clip, tokenizer),
    };
    let texts = || {
        Ok::<_, SetupError>(match config.texts {
            Texts::Template => ClassTexts::default(),
            Texts::Templates7 => ClassTexts::Ensemble(ImageNet::facts().templates_7.clone()),
            Texts::Templates80 => ClassTexts::Ensemble(ImageNet::facts().templates_80.clone()),
            Texts::Context => ClassTexts::Context(trained()?),
        })
    };
    let build = |&id: &MethodId| -> Result<NamedMethod, SetupError> {
        let zero_shot = |texts| Box::new(ZeroShot::new(id.name(), texts));
        let method: Box<dyn Method> = match id {
            MethodId::Clip => zero_shot(ClassTexts::default()),
            MethodId::Ensemble => {
                zero_shot(ClassTexts::Ensemble(ImageNet::facts().templates_80.clone()))
            }
            MethodId::Coop => zero_shot(ClassTexts::Context(trained()?)),
            MethodId::Tpt => Box::new(Tpt::new(config.tpt.clone(), start()?)),
            MethodId::Mta => Box::new(Mta::new(config.mta.clone(), texts()?)),
            MethodId::Zero => Box::new(Zero::new(config.zero.clone(), texts()?)),
            MethodId::Mint => Box::new(Mint::new(config.mint.clone(), clip, start()?)?),
        };
        Ok((id, method))
    };
    config.methods.iter().map(build).collect()
}
