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

mod cache;
mod calibration;
mod config;
mod error;
mod evaluate;
mod export;
mod lines;
mod loader;
mod loop_config;
mod memory_file;
mod method_id;
mod methods;
mod metrics;
mod pixels;
mod prompts;
mod published;
mod record;
mod recorded_run;
mod resume;
mod row;
mod run_info;
mod session;
mod set_run;
mod tally;
mod usage;
mod views;
mod write_whole;

pub use cache::{CacheError, CacheGroup, EmbeddingCache, GroupOnDisk};
pub use calibration::{BINS, Calibration, brier, probabilities};
pub use config::{
    CachePrecision, ConfigError, ContextStart, ImageOrder, LearnedStart, MethodTexts, Mixing,
    NotAShard, RunConfig, Shard, Starts, Texts, UnknownOrder,
};
pub use error::{EvalError, RecordError};
pub use evaluate::Evaluation;
pub use export::{Export, ExportError, Start};
pub use lines::{RecordedClass, RecordedLine, RecordedResult};
pub use loader::{LoadError, Loaded, Loader};
pub use loop_config::{LoopConfig, Observer};
pub use method_id::{MethodId, UnknownMethod};
pub use methods::{ConfiguredMethod, Setup, SetupError, build_methods};
pub use metrics::{Accuracy, ranking, wilson};
pub use pixels::view_tensor;
pub use prompts::{
    PromptsError, StartContext, TrainedPrompts, cocoop_prompts, maple_prompts, read_class_texts,
};
pub use published::published_top1;
pub use record::{EarlierRun, RUN_FILE, Record};
pub use recorded_run::RecordedRun;
pub use row::Row;
pub use run_info::{
    Arguments, Difference, HashedFile, Host, RunInfo, TestSetInfo, TrainedFiles, Versions,
    WeightsInfo,
};
pub use session::{Session, SessionError};
pub use tally::recounted;
pub use usage::{Meter, Stages, Usage};
pub use views::view_config;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
