//! Options of `weights`.

use std::path::PathBuf;

use clap::Subcommand;
use mint_clip::weights::ModelSize;

use super::Format;
use super::model::{LoadArgs, positive};

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
