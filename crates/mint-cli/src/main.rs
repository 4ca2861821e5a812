//! Test-time adaptation for CLIP on the command line.

mod args;
mod commands;
mod demo;
mod hints;
mod interrupt;
mod model;
mod model_source;
mod output;
mod progress;
mod proof;
mod settings;
mod test_sets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;

use crate::args::{Cli, Command};

/// Keeps large blocks at hand: the tensors of one image have the sizes of the next one's, and the
/// system would clear their memory each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return output::answer(&answer),
    };
    output::start_logging();
    // What panics has printed where; a device that fails under way panics in whoever reads from it.
    let result = match catch_unwind(AssertUnwindSafe(|| run(cli))) {
        Ok(result) => result,
        Err(_) => Err(anyhow!(match mint_clip::device_failure() {
            Some(failure) => format!("the device failed: {failure}"),
            None =>
                "the program failed, as told above; what was recorded can be resumed".to_owned(),
        })),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            match error.downcast_ref::<interrupt::Stopped>() {
                Some(stopped) => ExitCode::from(stopped.exit_code()),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => commands::run::run(&cli.run),
        Some(Command::Predict(args)) => commands::predict::run(&args),
        Some(Command::Datasets(args)) => commands::datasets::run(&args),
        Some(Command::Weights(command)) => commands::weights::run(&command),
        Some(Command::Cache(command)) => commands::cache::run(&command),
        Some(Command::Memory(command)) => commands::memory::run(&command),
        Some(Command::Report(args)) => commands::report::run(&args),
        Some(Command::Completions { shell }) => {
            commands::completions::run(shell);
            Ok(())
        }
        Some(Command::Man { folder }) => commands::man::run(&folder),
    }
}
