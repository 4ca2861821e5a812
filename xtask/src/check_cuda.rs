//! Compiles the CUDA build without running it, which takes no GPU and no CUDA toolkit.
//!
//! Not part of the tests: the first run reads all of Burn's CUDA backend, which takes minutes.

use crate::process::{cargo, succeed};

/// The features of a build for a GPU.
const BUILD: [&str; 4] = ["--package", "mint-cli", "--features", "cuda"];

/// Checks that it compiles, then that clippy has nothing to say about our crates in it.
pub fn run() -> anyhow::Result<()> {
    println!("mint-cli with the feature `cuda` is compiled; the first time takes minutes");
    run_cargo("check", &[])?;
    println!("running clippy on that build");
    run_cargo("clippy", &["--all-targets", "--", "--deny", "warnings"])?;
    println!("the CUDA build compiles; whether it computes right takes a GPU (docs/gpu.md)");
    Ok(())
}

fn run_cargo(command: &str, options: &[&str]) -> anyhow::Result<()> {
    succeed(cargo().arg(command).args(BUILD).args(options))
}
