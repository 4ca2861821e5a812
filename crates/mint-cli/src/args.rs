//! The command line as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use mint_clip::Precision;
use mint_eval::{MethodId, Shard};

use crate::backend::Chosen;
use crate::random_weights::Size;

/// What scripts need to know.
const EXIT_CODES: &str = "\
Exit codes: 0 everything was done; 1 something could not be done, or images could not be read; \
2 the command line is wrong; 130 and 143 a signal ended the run, with which `--resume` goes on";

/// Test-time adaptation for CLIP: adapts to each image without labels, then classifies it.
///
/// Without any option the embedded demo is run.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do instead of evaluating test sets.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of an evaluation.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Everything but evaluating.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify images with class names of your own
    ///
    /// The default method, clip, is the fastest, and looks at each picture on its own. What methods
    /// that remember (mint, tda, sar) say of a picture depends on the pictures before it.
    #[command(after_help = EXIT_CODES)]
    Predict(PredictArgs),
    /// List the test sets and where they are, or check every image of them
    Datasets(DatasetsArgs),
    /// Look into weight files, prove them, convert them
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Prove a GPU and measure it: random weights, made photographs, the CPU and PyTorch beside it
    #[command(hide = true)]
    GpuCheck(GpuCheckArgs),
    /// Print the tables of finished runs
    Report(ReportArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Options of an evaluation.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Test sets, separated by slashes or commas: A, R, V, K, I, or demo-A ... demo-I
    #[arg(long, value_name = "SETS")]
    pub test_sets: Option<String>,
    /// A folder with one folder of images a class, as a further test set
    #[arg(long, value_name = "DIR")]
    pub image_folder: Vec<PathBuf>,
    /// Class names for `--image-folder`, in the order of the sorted folders
    #[arg(long, value_name = "FILE", requires = "image_folder")]
    pub class_names: Option<PathBuf>,
    /// Folder that holds the test sets [default: what the variable MINT_DATA says, else `data`]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Model, methods and views
    #[command(flatten)]
    pub model: ModelArgs,
    /// At most so many images of each set
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One part of the images, counted from 0
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Order of the images
    #[arg(long)]
    pub order: Option<OrderArg>,
    /// Folder for the record of the run [default: the next free number in `runs`; none for the demo]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on with the run in `--output` that was broken off; the record has all other options
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// Stop at the first image that cannot be read
    #[arg(long)]
    pub strict: bool,
}

/// Which model looks at the images, and how.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Methods, separated by commas: clip, ensemble, coop, cocoop, maple, tpt, sar, mta, zero, mint,
    /// tda, vte; or `all` that have what they need [default: mint; for the demo all; for `predict` clip]
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
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
    /// Settings from a TOML file; options given here count more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Views of each image, the clean one included [default: 64]
    #[arg(long, value_name = "N")]
    pub views: Option<usize>,
    /// Steps of adaptation for each image [default: MINT 3, TPT 1, SAR 1]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Decides the order of the images and every random view [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Divides logits before they become probabilities; changes no ranking [default: 1]
    #[arg(long, value_name = "T", value_parser = positive)]
    pub temperature: Option<f32>,
    /// What runs the model [default: cpu]
    #[arg(long)]
    pub backend: Option<Backend>,
    /// The GPU that runs the model, counted from 0 [default: 0]
    #[arg(long, value_name = "N")]
    pub gpu: Option<u16>,
    /// Type of the numbers in CLIP's towers; half precision is for GPUs [default: f32]
    #[arg(long)]
    pub precision: Option<PrecisionArg>,
    /// Cores that run the model [default: all]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Threads that decode images and make views [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub loader_threads: Option<usize>,
}

impl ModelArgs {
    /// What is to run the model.
    pub fn chosen(&self) -> Chosen {
        let backend = self.backend.unwrap_or(Backend::Cpu);
        Chosen { backend, gpu: self.gpu, threads: self.threads }
    }
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

/// What overrides a weight file, or completes it.
#[derive(Debug, Clone, Copy, Args)]
pub struct LoadArgs {
    /// Activation of the MLPs [default: what the weight file or the configuration beside it says]
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

/// Options of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Image files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// At least two class names separated by commas, or a file of them (`-` for standard input):
    /// one per line, a JSON list or object, CSV or TSV
    #[arg(long, value_name = "NAMES|FILE")]
    pub classes: String,
    /// Model, methods and views
    #[command(flatten)]
    pub model: ModelArgs,
    /// Also write views, tokens, context and memory, for another implementation to compare with
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Options of `gpu-check`.
#[derive(Debug, Args)]
pub struct GpuCheckArgs {
    /// Folder for the results, and for weights and photographs
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What is checked
    #[arg(long, default_value = "cuda")]
    pub backend: Backend,
    /// Which GPU, counted from 0
    #[arg(long, value_name = "N")]
    pub gpu: Option<u16>,
    /// Types of the numbers in the towers
    #[arg(long, value_delimiter = ',', default_value = "f32,f16,bf16")]
    pub precision: Vec<PrecisionArg>,
    /// Numbers of classes
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "200,1000")]
    pub classes: Vec<usize>,
    /// Methods that are measured
    #[arg(long, value_delimiter = ',', default_value = "mint,tpt,zero,clip")]
    pub method: Vec<String>,
    /// Views of each image
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub views: usize,
    /// Seconds of measuring for each figure
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub seconds: f64,
    /// The demo's tiny model in place of one of ViT-B/16's size
    #[arg(long)]
    pub tiny: bool,
    /// A Python that may have PyTorch
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub python: PathBuf,
    /// Decides weights, photographs and views
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// Options of `datasets`.
#[derive(Debug, Args)]
pub struct DatasetsArgs {
    /// `doctor` decodes every image and names those that cannot be used
    pub action: Option<DatasetsAction>,
    /// Folder that holds the test sets
    #[arg(long, value_name = "DIR", env = "MINT_DATA", default_value = "data")]
    pub data: PathBuf,
}

/// What `datasets` does beyond listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DatasetsAction {
    /// Decode every image.
    Doctor,
}

/// What `weights` does.
#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// Say what a weight file or a checkpoint of prompts holds, and what loading it would do
    Inspect {
        /// The file, or the files of both towers
        #[arg(required = true, value_name = "FILE", num_args = 1..=2)]
        files: Vec<PathBuf>,
        /// How to read them
        #[command(flatten)]
        load: LoadArgs,
        /// Form of the results on standard output
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Compare a model's outputs with recorded ones; fails if they differ by more than the tolerance
    Verify {
        /// The file, or the files of both towers
        #[arg(required = true, value_name = "FILE", num_args = 1..=2)]
        files: Vec<PathBuf>,
        /// A safetensors file with `pixel_values`, `input_ids`, and outputs such as `image_embeds`
        #[arg(long, value_name = "IO.safetensors")]
        reference: PathBuf,
        /// Largest absolute difference that is no failure
        #[arg(long, default_value_t = 2e-4, value_parser = positive)]
        tolerance: f32,
        /// What the names of the recorded outputs start with, such as `fp16.`
        #[arg(long, default_value = "")]
        prefix: String,
        /// How to read the weights
        #[command(flatten)]
        load: LoadArgs,
        /// Form of the results on standard output
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Write a model of a published size with random values, to measure time and memory
    Random {
        /// Size of the model: ViT-B/32, ViT-B/16 or ViT-L/14
        #[arg(long, default_value = "ViT-B/16")]
        model: Size,
        /// Decides the values
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// The safetensors file to write, in half precision with OpenAI's tensor names
        file: PathBuf,
    },
    /// Write a model as safetensors with OpenAI's tensor names
    Convert {
        /// The file, or the files of both towers, then the file to write
        #[arg(required = true, value_name = "FILE", num_args = 2..=3)]
        files: Vec<PathBuf>,
        /// How to read the weights
        #[command(flatten)]
        load: LoadArgs,
    },
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of a run, or of several
    pub folder: PathBuf,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// All cores of the processor
    Cpu,
    /// A GPU of NVIDIA; needs a program built with `--features cuda`
    Cuda,
    /// CUDA if everything that it needs is there, else the CPU
    Auto,
}

/// Form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for the terminal
    Text,
    /// One JSON object
    Json,
    /// A table for a document
    Markdown,
}

/// Order of the images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderArg {
    /// Shuffled once, from the seed
    Shuffled,
    /// As the files are sorted
    File,
}

/// The typed precision.
pub fn precision(typed: PrecisionArg) -> Precision {
    match typed {
        PrecisionArg::F32 => Precision::F32,
        PrecisionArg::F16 => Precision::F16,
        PrecisionArg::Bf16 => Precision::Bf16,
    }
}

fn positive(text: &str) -> Result<f32, String> {
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

/// Splits what was typed at slashes and commas.
pub fn split_names(text: &str) -> Vec<&str> {
    text.split(['/', ',']).map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// Which methods are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Methods {
    /// Those that the configuration names.
    Configured,
    /// Every one that has what it needs.
    All,
    /// Just these.
    Named(Vec<MethodId>),
}

/// The methods that were typed.
pub fn parse_methods(names: &[String]) -> anyhow::Result<Methods> {
    if names.iter().any(|name| name.trim().eq_ignore_ascii_case("all")) {
        return Ok(Methods::All);
    }
    let parse = |name: &String| name.parse::<MethodId>().map_err(anyhow::Error::msg);
    let methods = names.iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(if methods.is_empty() { Methods::Configured } else { Methods::Named(methods) })
}
