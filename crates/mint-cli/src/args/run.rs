//! Options of an evaluation.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use mint_eval::{CachePrecision, ImageOrder, Mixing, Shard, Texts};

use super::ModelArgs;

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
