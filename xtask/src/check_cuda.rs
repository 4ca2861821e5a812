//! Compiles the CUDA build without running it, which takes no GPU and no CUDA toolkit.
//!
//! Not part of the tests: the first run reads all of Burn's CUDA backend, which takes minutes.

use std::process::Command;

use anyhow::{Context, bail};

/// The features of a build for a GPU.
const BUILD: [&str; 4] = ["--package", "mint-cli", "--features", "cuda"];

/// Checks that it compiles, then that clippy has nothing to say about our crates in it.
pub fn run() -> anyhow::Result<()> {
    println!("mint-cli with the feature `cuda` is compiled; the first time takes minutes");
    cargo("check", &[])?;
    println!("clippy reads our crates in that build");
    cargo("clippy", &["--all-targets", "--", "--deny", "warnings"])?;
    println!("the CUDA build compiles; whether it computes right takes a GPU (docs/gpu.md)");
    Ok(())
}

fn cargo(command: &str, options: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .arg(command)
        .args(BUILD)
        .args(options)
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("`cargo {command} {} {}` ended with {status}", BUILD.join(" "), options.join(" "));
    }
    Ok(())
}
