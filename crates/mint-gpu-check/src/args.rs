//! The command line as it is typed.

use std::path::PathBuf;

use clap::Parser;
use mint_clip::Precision;
use mint_device::Backend;
use mint_eval::MethodId;

/// Validates a GPU against the CPU and measures it, alone and next to PyTorch.
///
/// Weights and photographs are made from a seed; nothing is read but what is written to `--out`.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
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
    pub precision: Vec<Precision>,
    /// Numbers of classes
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "200,1000")]
    pub classes: Vec<usize>,
    /// Methods that are measured
    #[arg(long, value_delimiter = ',', default_value = "mint,tpt,zero,clip")]
    pub method: Vec<MethodId>,
    /// Views of each image
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub views: usize,
    /// Seconds of measuring for each figure
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub seconds: f64,
    /// A tiny model instead of one of ViT-B/16's size
    #[arg(long)]
    pub tiny: bool,
    /// A Python that may have PyTorch
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub python: PathBuf,
    /// Decides weights, photographs and views
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
