//! The command line as it is typed.

mod predict;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use mint_clip::weights::ModelSize;
use mint_clip::{Activation, LoadOptions, Precision};
use mint_device::Backend;
use mint_eval::{CachePrecision, ImageOrder, MethodId, Mixing, Shard, Texts};

pub use self::predict::{OpenWorldArgs, PredictArgs, PredictFormat};

/// What scripts need to know.
const EXIT_CODES: &str = "\
Exit codes: 0 everything was done; 1 something could not be done, or images could not be read; \
2 the command line is wrong; 130 and 143 a signal ended the run, which `--resume` continues";

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
    /// that remember (mint, sar, tda, onzeta, boostadapter, dota, oga, dpe) say of a picture depends
    /// on the pictures before it; else a picture has the same answer wherever it stands, since its
    /// random views are drawn by its content.
    #[command(after_help = EXIT_CODES)]
    Predict(Box<PredictArgs>),
    /// List the test sets and where they are, or check every image of them
    Datasets(DatasetsArgs),
    /// Inspect, verify and convert weight files
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// List, verify and prune the embeddings that `--cache` keeps
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Show what `predict --memory` keeps
    #[command(subcommand)]
    Memory(MemoryCommand),
    /// Print the tables of finished runs
    Report(ReportArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    #[command(hide = true)]
    Man {
        /// Folder for the pages, such as `~/.local/share/man/man1`
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Options of an evaluation.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("own_sets").args(["image_folder", "image_list"]).multiple(true))]
pub struct RunArgs {
    /// Test sets, separated by slashes or commas: A, R, V, K, I; flower102, dtd, pets, cars, ucf101,
    /// caltech101, food101, sun397, aircraft, eurosat; C/fog/5 or C/*/5; `imagenet` or `fine-grained`
    /// for a group; demo-A ... demo-I
    #[arg(long, value_name = "SETS")]
    pub test_sets: Option<String>,
    /// A folder with one folder of images per class, as a further test set
    #[arg(long, value_name = "DIR")]
    pub image_folder: Vec<PathBuf>,
    /// A list of images with their classes (CSV, TSV, JSON, JSON lines), or a webdataset (a `.tar`,
    /// or a folder of them), as a further test set
    #[arg(long, value_name = "FILE")]
    pub image_list: Vec<PathBuf>,
    /// Class names for `--image-folder`, in the order of the sorted folders, and for `--image-list`
    #[arg(long, value_name = "FILE", requires = "own_sets")]
    pub class_names: Option<PathBuf>,
    /// Folder that holds the test sets [default: what the variable MINT_DATA says, else `data`]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Model, methods and views
    #[command(flatten)]
    pub model: ModelArgs,
    /// Use at most N images of each set
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One part of the images, counted from 0
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Order of the images: `shuffled`, `file`, `classes` (one class after the other), or
    /// `dirichlet:0.1` (classes in bursts; any number above 0) [default: shuffled]
    #[arg(long, value_name = "ORDER")]
    pub order: Option<ImageOrder>,
    /// What images are compared with
    #[command(flatten)]
    pub texts: TextArgs,
    /// Fit each method's temperature on this share of each set's images, the first in their order;
    /// they do not count for calibration
    #[arg(long, value_name = "SHARE", conflicts_with = "temperature")]
    pub fit_temperature: Option<f64>,
    /// Mix random views by AugMix [default: by-set]
    #[arg(long)]
    pub augmix: Option<MixingArg>,
    /// Exchange two class names of Food101, as the published code of TPT and MINT does
    #[arg(long)]
    pub official_food101: bool,
    /// Keep the embeddings of all views in this folder, and read those that are there: methods that
    /// need no pixels (all but mint, sar, maple) then run over a set in minutes. A run with one that
    /// needs pixels only adds to it
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Type of the numbers in the cache [default: f16]
    #[arg(long, requires = "cache")]
    pub cache_precision: Option<CachePrecisionArg>,
    /// Folder for the record of the run [default: the next free number in `runs`; none for the demo]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Resume the interrupted run in `--output`; its record has all other options
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Begin the run in `--output`, or resume it if it was begun
    #[arg(long = "continue", requires = "output", conflicts_with = "resume")]
    pub begin_or_resume: bool,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: TableFormat,
    /// Stop at the first image that cannot be read
    #[arg(long)]
    pub strict: bool,
}

/// What images are compared with.
#[derive(Debug, Clone, Args)]
pub struct TextArgs {
    /// Texts that images are compared with, for every method with fixed texts [default: those of
    /// each row]
    #[arg(long)]
    pub texts: Option<TextsArg>,
    /// Texts of each class for `--texts class-texts`: a JSON object from class names to lists of texts
    #[arg(long, value_name = "FILE")]
    pub class_texts: Option<PathBuf>,
    /// What tells each class from others, for TPS: a JSON object from class names to lists of phrases
    #[arg(long, value_name = "FILE")]
    pub descriptors: Option<PathBuf>,
}

/// Type of the numbers in a cache of embeddings.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CachePrecisionArg {
    /// Half the size; scores differ in the third digit or so
    F16,
    /// Scores are the same as without a cache
    F32,
}

impl From<CachePrecisionArg> for CachePrecision {
    fn from(typed: CachePrecisionArg) -> Self {
        match typed {
            CachePrecisionArg::F16 => Self::F16,
            CachePrecisionArg::F32 => Self::F32,
        }
    }
}

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

/// Options of `datasets`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DatasetsArgs {
    /// What to do instead of listing.
    #[command(subcommand)]
    pub command: Option<DatasetsCommand>,
    /// Where the sets are, and how to write about them.
    #[command(flatten)]
    pub place: DatasetsPlace,
}

/// Where the sets are, and how to write about them.
#[derive(Debug, Args)]
pub struct DatasetsPlace {
    /// Folder that holds the test sets
    #[arg(long, value_name = "DIR", env = "MINT_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What `datasets` does beyond listing.
#[derive(Debug, Subcommand)]
pub enum DatasetsCommand {
    /// Read every image, and say what is missing, damaged, doubled or misplaced
    ///
    /// Ends with 1 if a set, or an image of it, cannot be used; warnings alone end with 0.
    Doctor(DoctorArgs),
}

/// Options of `datasets doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Test sets, as for `--test-sets` [default: all that are found]
    #[arg(value_name = "SETS")]
    pub sets: Option<String>,
    /// First mend what loses nothing: move images up that are a folder too deep, and sort ImageNet's
    /// flat validation folder into class folders
    #[arg(long)]
    pub fix: bool,
    /// Only say what `--fix` would move
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
    /// The classes of ImageNet's validation images: `ILSVRC2012_devkit_t12.tar.gz`, `valprep.sh`,
    /// `LOC_val_solution.csv`, or a synset per line
    #[arg(long, value_name = "FILE", requires = "fix")]
    pub labels: Option<PathBuf>,
    /// Where the sets are, and how to write about them.
    #[command(flatten)]
    pub place: DatasetsPlace,
}

/// What `cache` does.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Say what is kept: images, size, and what the embeddings depend on
    List(CachePlace),
    /// Read every file and compare its checksum; ends with 1 if one is damaged
    Verify(CachePlace),
    /// Remove what is named
    ///
    /// A run that uses the cache at the same time computes again what it misses.
    #[command(group = ArgGroup::new("what").required(true).multiple(true))]
    Prune {
        /// Which cache
        #[command(flatten)]
        place: CachePlace,
        /// Damaged files, and groups whose description is damaged
        #[arg(long, group = "what")]
        damaged: bool,
        /// Groups that nothing was added to for this many days
        #[arg(long, value_name = "DAYS", group = "what")]
        older_than: Option<u64>,
        /// Groups by the names of their folders
        #[arg(long, value_name = "NAME", group = "what")]
        group: Vec<String>,
        /// Everything
        #[arg(long, group = "what")]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// A cache.
#[derive(Debug, Args)]
pub struct CachePlace {
    /// Folder of the cache
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What `memory` does.
#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// Say what a memory is of, and what each method remembers: slots, counts, and how far keys and
    /// prompts have moved
    Inspect {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Form of the results on standard output
        #[arg(long, default_value = "text")]
        format: Format,
    },
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
        /// Largest absolute difference allowed
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
        model: ModelSize,
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
    /// Folders of runs, or of several; the parts of a divided run (`--shard`) are put together
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: ReportFormat,
    /// Also write the one run that the folders are the parts of, as if it had never been divided
    #[arg(long, value_name = "DIR")]
    pub merge: Option<PathBuf>,
    /// Folder of the test sets, for the pictures of a page, if they are no longer where the run was
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for the terminal
    Text,
    /// One JSON object
    Json,
}

/// Form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// A table for the terminal; of several test sets, one column per set
    Text,
    /// A line per method and test set, with intervals, calibration and times
    Long,
    /// One JSON object
    Json,
    /// A table for a document
    Markdown,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for the terminal; of several test sets, one column per set
    Text,
    /// A line per method and test set, with intervals, calibration and times
    Long,
    /// One JSON object
    Json,
    /// A table for a document
    Markdown,
    /// A line per method and test set with everything that is known
    Csv,
    /// A table for a paper, with the package `booktabs`
    Latex,
    /// A page with plots and pictures that needs nothing else
    Html,
}

/// Texts that images are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextsArg {
    /// `a photo of a {}.`
    Template,
    /// CoOp's template of the test set
    SetTemplate,
    /// The mean of the templates that DOTA, BoostAdapter and DPE have for the test set
    SetEnsemble,
    /// The mean of 7 templates
    #[value(name = "templates-7")]
    Templates7,
    /// The mean of 80 templates
    #[value(name = "templates-80")]
    Templates80,
    /// The trained context
    Context,
    /// The mean of the texts of each class in `--class-texts`
    ClassTexts,
}

impl From<TextsArg> for Texts {
    fn from(typed: TextsArg) -> Self {
        match typed {
            TextsArg::Template => Self::Template,
            TextsArg::SetTemplate => Self::SetTemplate,
            TextsArg::SetEnsemble => Self::SetEnsemble,
            TextsArg::Templates7 => Self::Templates7,
            TextsArg::Templates80 => Self::Templates80,
            TextsArg::Context => Self::Context,
            TextsArg::ClassTexts => Self::ClassTexts,
        }
    }
}

/// Whether random views are mixed by AugMix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MixingArg {
    /// For the fine-grained sets, as the published code does
    BySet,
    /// For every set
    Always,
    /// For none
    Never,
}

impl From<MixingArg> for Mixing {
    fn from(typed: MixingArg) -> Self {
        match typed {
            MixingArg::BySet => Self::BySet,
            MixingArg::Always => Self::Always,
            MixingArg::Never => Self::Never,
        }
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
