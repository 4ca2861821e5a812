//! Evaluation: images through methods into numbers that can be compared.
//!
//! A run is a function of its configuration, its seed, the weights and the data: the number of
//! threads, and which methods run together, change no score.
//!
//! [`Session`] classifies images one by one; [`Evaluation`] runs whole test sets:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use mint_clip::{burn::tensor::Device, Clip, Lanes, LoadOptions};
//! # use mint_eval::{RunConfig, Session, TrainedPrompts, build_methods, ranking};
//! # let clip = Clip::open("ViT-B-16.pt".as_ref(), LoadOptions::default(), &Device::flex(), Lanes::per_core())?;
//! let (tokenizer, config) = (clip.tokenizer(), RunConfig::default());
//! let names = ["cat", "dog"].map(String::from);
//! let mut methods = build_methods(&config, &clip, &tokenizer, &TrainedPrompts::default())?;
//! let mut session = Session::new(&clip, &tokenizer, &names, &mut methods, &config)?;
//! let picture = mint_datasets::decode(&std::fs::read("picture.jpg")?)?;
//! for outcome in session.classify(&picture, 0)? {
//!     println!("{}", names[ranking(&outcome.scores, 1)[0]]);
//! }
//! # Ok(())
//! # }
//! ```

mod album;
mod basis;
mod cache;
mod calibration;
mod calibration_file;
mod config;
mod error;
mod evaluate;
mod export;
mod fitted_limits;
mod group;
mod loader;
mod lock;
mod loop_config;
mod memory_file;
mod memory_summary;
mod method_id;
mod method_texts;
mod methods;
mod metrics;
mod open_world;
mod pictures;
mod pixels;
mod prompts;
mod published;
mod record;
mod row;
mod session;
mod set_run;
mod tally;
mod texts;
mod usage;
mod views;
mod write_whole;

pub use album::{Album, AlbumError, AlbumMemory};
pub use basis::Basis;
pub use cache::file_index::FileIndex;
pub use cache::groups_on_disk::{GroupOnDisk, file_indices, is_pack, is_whole_pack, mend_pack};
pub use cache::text_cache::TextCache;
pub use cache::{CacheError, CacheGroup, EmbeddingCache};
pub use calibration::{BINS, Bin, Calibration, brier, fitted_temperature, probabilities};
pub use calibration_file::{CalibrationError, FittedAnswers, FittedMethod, FittedTo};
pub use config::{
    CachePrecision, ConfigError, ContextStart, ImageOrder, LearnedStart, Mixing, NotAShard,
    RunConfig, Shard, Starts, UnknownOrder,
};
pub use error::{EvalError, RecordError};
pub use evaluate::Evaluation;
pub use export::{Export, ExportError, Start};
pub use fitted_limits::{
    Example, FitError, FittedTemperature, Guess, GuessRule, LabelledFit, Share, ThresholdRule,
};
pub use loader::{LoadError, Loaded, Loader};
pub use loop_config::{LoopConfig, Observer};
pub use memory_summary::{Contents, Drift, Entries, MemorySummary, OfClass, Recalls};
pub use method_id::{MethodId, UnknownMethod};
pub use method_texts::{MethodTexts, NoFixedTexts};
pub use methods::{ConfiguredMethod, Setup, SetupError, build_methods};
pub use metrics::{Accuracy, ranking, wilson};
pub use open_world::{Answer, NoProbabilities, NoneOfThese, OpenWorld};
pub use pictures::{Classified, KeptPictures, PictureRun, PictureSettings};
pub use pixels::{upload_difference, view_tensor};
pub use prompts::{
    PromptsError, StartContext, TrainedPrompts, cocoop_prompts, maple_prompts,
    read_class_text_lists, read_class_texts, read_descriptors,
};
pub use published::published_top1;
pub use record::lines::{RecordedClass, RecordedLine, RecordedResult};
pub use record::recorded_run::RecordedRun;
pub use record::run_info::{
    Arguments, Difference, HashedFile, Host, RunInfo, TestSetInfo, TrainedFiles, Versions,
    WeightsInfo,
};
pub use record::{EarlierRun, RUN_FILE, Record};
pub use row::Row;
pub use session::{Explanation, Session, SessionError};
pub use tally::recounted;
pub use texts::Texts;
pub use usage::{Meter, Stages, Usage};
pub use views::view_config;
pub use write_whole::write_whole;

// What explanations are made of, for those who draw them.
pub use mint_augment::{ViewPlace, Views};
pub use mint_tuner::{Outcome, Recalled, ScoreKind, StepSummary, Trace, ViewTrace};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
