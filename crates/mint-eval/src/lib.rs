//! Evaluation: images through methods into numbers that can be compared.
//!
//! A run is a function of its configuration, its seed, the weights and the data: the number of
//! threads, and which methods run beside each other, change no score.

mod config;
mod evaluate;
mod export;
mod loader;
mod memory_file;
mod methods;
mod metrics;
mod pixels;
mod record;
mod table;

pub use config::{ContextStart, ImageOrder, MethodId, RunConfig, Shard};
pub use evaluate::{EvalError, Evaluation, LoopConfig, Observer, Row};
pub use export::{Export, ExportError, Start};
pub use loader::{LoadError, Loader};
pub use methods::{NamedMethod, SetupError, build_methods, context_of, start_context};
pub use metrics::{Accuracy, ranking, wilson};
pub use pixels::view_tensor;
pub use record::{
    Host, RUN_FILE, Record, RecordError, RunInfo, Versions, WeightsFile, WeightsInfo,
};
pub use table::{TableStyle, table};
