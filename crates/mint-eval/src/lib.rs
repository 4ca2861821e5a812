//! Evaluation: images through methods into numbers that can be compared.
//!
//! A run is a function of its configuration, its seed, the weights and the data: the number of
//! threads, and which methods run beside each other, change no score.

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
mod resume;
mod row;
mod run_info;
mod table;
mod tally;
mod views;

pub use calibration::{Calibration, brier, probabilities};
pub use config::{
    ConfigError, ContextStart, ImageOrder, LearnedStart, MethodTexts, RunConfig, Shard, Starts,
    Texts,
};
pub use error::{EvalError, RecordError};
pub use evaluate::Evaluation;
pub use export::{Export, ExportError, Start};
pub use loader::{LoadError, Loader};
pub use loop_config::{LoopConfig, Observer};
pub use method_id::MethodId;
pub use methods::{ConfiguredMethod, Setup, SetupError, build_methods};
pub use metrics::{Accuracy, ranking, wilson};
pub use pixels::view_tensor;
pub use prompts::{PromptsError, StartContext, TrainedPrompts, cocoop_prompts, maple_prompts};
pub use record::{EarlierRun, RUN_FILE, Record};
pub use row::Row;
pub use run_info::{
    Arguments, Difference, HashedFile, Host, RunInfo, TestSetInfo, TrainedFiles, Versions,
    WeightsInfo,
};
pub use table::{TableStyle, table};
pub use views::view_config;
