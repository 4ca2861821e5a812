//! Options of every command that runs a model.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mint_clip::{Activation, LoadOptions, Precision};
use mint_device::Backend;
use mint_eval::MethodId;

fn method_help() -> String {
    let names: Vec<&str> = MethodId::all().map(MethodId::name).collect();
    format!(
        "Methods, separated by commas: {}; or `all` whose prompts are available [default: mint; for \
         the demo all; for `predict` clip]",
        names.join(", ")
    )
}

/// Which model looks at the images, and how.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    #[arg(long, value_name = "METHODS", value_delimiter = ',', help = method_help())]
    pub method: Vec<String>,
    /// CLIP's weights: ONNX, safetensors, or PyTorch (.pt, .pth, .bin). Given twice where each
    /// tower has a file of its own
    #[arg(long, value_name = "FILE")]
    pub weights: Vec<PathBuf>,
    /// How to read them
    #[command(flatten)]
    pub load: LoadArgs,
    /// Context that learned prompts start from: a checkpoint of CoOp (.pth, or safetensors with
    /// the tensor `ctx`), `words:a photo of a`, or `random:SEED`
    #[arg(long, value_name = "START")]
    pub context: Option<String>,
    /// CoCoOp's checkpoint (.pth, or safetensors with `ctx` and `meta_net`)
    #[arg(long, value_name = "FILE")]
    pub cocoop: Option<PathBuf>,
    /// MaPLe's checkpoint (.pth, .tar, or safetensors with `ctx`, `proj` and the compound prompts)
    #[arg(long, value_name = "FILE")]
    pub maple: Option<PathBuf>,
    /// Settings from a TOML file; command-line options take precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Views of each image, the clean one included [default: 64]
    #[arg(long, value_name = "N")]
    pub views: Option<usize>,
    /// Steps of adaptation for each image [default: MINT 3; TPT, C-TPT, A-TPT, TPS, SAR 1]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Decides the order of the images and every random view [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Divides logits before they become probabilities; changes no ranking [default: 1]
    #[arg(long, value_name = "T", value_parser = positive)]
    pub temperature: Option<f32>,
    /// Device to run the model on [default: cpu]
    #[arg(long)]
    pub backend: Option<Backend>,
    /// The GPU that runs the model, counted from 0 [default: the first]
    #[arg(long, value_name = "N")]
    pub gpu: Option<u16>,
    /// Type of the numbers in CLIP's towers; half precision is for GPUs [default: f32]
    #[arg(long)]
    pub precision: Option<PrecisionArg>,
    /// Take pictures as viewers show them: turned as their files say (EXIF), transparent parts on
    /// white, 16-bit grey from black to white [default: on for `predict`; off elsewhere, as the
    /// published results were made]
    #[arg(long, value_name = "ON|OFF")]
    pub exif_orientation: Option<OrientationArg>,
    /// Cores that run the model [default: all]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Threads that decode images and make views [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub loader_threads: Option<usize>,
}

/// Which way up pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrientationArg {
    /// As viewers show them
    On,
    /// As stored
    Off,
}

/// Type of the numbers in CLIP's towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// Half precision with the range of single precision
    Bf16,
}

impl From<PrecisionArg> for Precision {
    fn from(typed: PrecisionArg) -> Self {
        match typed {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::Bf16 => Self::Bf16,
        }
    }
}

/// What overrides a weight file, or completes it.
#[derive(Debug, Clone, Copy, Args)]
pub struct LoadArgs {
    /// Activation of the MLPs [default: what the weight file or the configuration next to it says]
    #[arg(long)]
    pub activation: Option<ActivationArg>,
    /// Factor of the cosine similarities [default: what the weight file says, else 100]
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    pub logit_scale: Option<f32>,
}

/// Activation of the MLPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationArg {
    /// OpenAI's, DFN's and MetaCLIP's weights
    QuickGelu,
    /// LAION's and DataComp's weights
    Gelu,
}

impl From<ActivationArg> for Activation {
    fn from(typed: ActivationArg) -> Self {
        match typed {
            ActivationArg::QuickGelu => Self::QuickGelu,
            ActivationArg::Gelu => Self::Gelu,
        }
    }
}

impl From<LoadArgs> for LoadOptions {
    fn from(args: LoadArgs) -> Self {
        let activation = args.activation.map(Activation::from);
        Self { activation, logit_scale: args.logit_scale }
    }
}

pub fn positive(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "it must be a number above 0".to_owned())
}

/// A number of threads that a machine can have.
fn threads(text: &str) -> Result<usize, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = 256.max(4 * cores);
    let number = text.parse().map_err(|_| "it must be a whole number".to_owned())?;
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("it must be from 1 to {most}; this machine has {cores} cores"))
}
