//! Options of `predict`.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CachePrecisionArg, ModelArgs, TextArgs};

/// Options of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Pictures; folders, with all folders in them; patterns such as `'photos/**/*.jpg'`; or `-` for
    /// paths on standard input, one a line or separated by NUL
    #[arg(required_unless_present = "calibrate", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// At least two class names separated by commas, or a file of them (`-` for standard input):
    /// one per line, maybe after an id and a tab; a JSON list; a JSON object from each class to its
    /// texts; CSV or TSV
    #[arg(long, value_name = "NAMES|FILE")]
    pub classes: String,
    /// Text that pictures are compared with, with `{}` where the class name goes, such as `a photo of
    /// a {}, a type of pet.`
    #[arg(long, value_name = "TEXT")]
    pub template: Option<String>,
    /// What pictures are compared with
    #[command(flatten)]
    pub texts: TextArgs,
    /// Model, methods and views
    #[command(flatten)]
    pub model: ModelArgs,
    /// Classes that are shown for each picture, the best first
    #[arg(long, value_name = "N", default_value = "5")]
    pub top: NonZero<usize>,
    /// Form of the results: as text, JSON lines and CSV they come picture by picture [default: what
    /// the ending of `--output` says, else text]
    #[arg(long)]
    pub format: Option<PredictFormat>,
    /// File for the results, in place of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on where an interrupted run left `--output`, for JSON lines and CSV
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Keep the embeddings of pictures and class texts in this folder, and use those that are there:
    /// pictures seen before, wherever they lie now, then take no time. For methods that need no
    /// pixels (all but mint, sar, maple)
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Type of the numbers in the cache [default: f32]
    #[arg(long, requires = "cache")]
    pub cache_precision: Option<CachePrecisionArg>,
    /// When an answer is none of the classes
    #[command(flatten)]
    pub open_world: OpenWorldArgs,
    /// Let methods that remember go on from this file, and keep there what they remember: pictures
    /// in several runs then have the answers of one. `memory inspect` shows what is in it
    #[arg(long, value_name = "FILE")]
    pub memory: Option<PathBuf>,
    /// Also write views, tokens, context and memory, for another implementation to compare with
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Also write a page that shows how the answers came about, for the first 20 pictures: views and
    /// their entropies, probabilities after each step, recalled slots
    #[arg(long, value_name = "FILE")]
    pub explain: Option<PathBuf>,
}

/// When an answer is none of the classes.
#[derive(Debug, Args)]
pub struct OpenWorldArgs {
    /// A text that stands for none of the classes, such as `a photo of something else.`: it competes
    /// with them, and is used as it is, without a template. May be given several times
    #[arg(long, value_name = "TEXT")]
    pub none: Vec<String>,
    /// Answer "none of these" if the best probability is lower, from 0 to 1
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true)]
    pub min_probability: Option<f64>,
    /// Answer "none of these" if the two best probabilities are nearer to each other, from 0 to 1
    #[arg(long, value_name = "M", value_parser = probability, allow_negative_numbers = true)]
    pub min_margin: Option<f64>,
    /// Fit a temperature and a least probability to labelled examples: a folder with a folder for
    /// each class, or a list of files with their classes; or guess the least probability from a
    /// folder of pictures without labels
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["temperature", "min_probability"])]
    pub calibrate: Option<PathBuf>,
    /// Name of a folder in `--calibrate`, or of a class in its list, whose pictures belong to none of
    /// the classes [default: none]
    #[arg(long, value_name = "NAME", requires = "calibrate")]
    pub none_folder: Vec<String>,
    /// Use what an earlier `--calibrate` found; with `--calibrate`, write it to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["temperature", "min_probability"])]
    pub calibration: Option<PathBuf>,
}

impl PredictArgs {
    /// Form of the results.
    pub fn format(&self) -> PredictFormat {
        let ending = self.output.as_ref().and_then(|file| file.extension()?.to_str());
        let of_ending = || match ending {
            Some("csv") => PredictFormat::Csv,
            Some("jsonl") => PredictFormat::Jsonl,
            Some("json") => PredictFormat::Json,
            _ => PredictFormat::Text,
        };
        self.format.unwrap_or_else(of_ending)
    }
}

/// Form of what is said about pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PredictFormat {
    /// Text for the terminal
    Text,
    /// A JSON object on a line for each picture and method
    Jsonl,
    /// Path, method, and the best labels with their probabilities
    Csv,
    /// One JSON object at the end
    Json,
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}
