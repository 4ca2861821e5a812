//! The GPU check as one program to carry: built with CUDA, stripped, and run where there is a GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::process::{built_program, cargo, succeed};

#[derive(Debug, Args)]
pub struct GpuCheckArgs {
    /// Folder for the program and its results
    #[arg(long)]
    out: PathBuf,
    /// Only build the program, to be carried to a machine with a GPU
    #[arg(long)]
    build_only: bool,
    /// Further options of `mint-gpu-check`, after `--`
    #[arg(last = true)]
    options: Vec<String>,
}

/// The program.
const PROGRAM: &str = "mint-gpu-check";

/// What a program may weigh that is carried about.
const MOST_BYTES: u64 = 64 << 20;

/// Builds, strips, and runs.
pub fn run(args: &GpuCheckArgs) -> anyhow::Result<()> {
    let out = args.out.display();
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder `{out}`"))?;
    // Equal functions are folded into one (nothing asks for their addresses), and symbols left out.
    let lean = ["--package", PROGRAM, "--bin", PROGRAM, "--features", "cuda-lean"];
    let link = ["--", "-C", "link-arg=-Wl,--icf=all", "-C", "strip=symbols"];
    succeed(cargo().arg("rustc").args(lean).args(link))?;
    let program = args.out.join(PROGRAM);
    fs::copy(built_program(PROGRAM), &program)
        .with_context(|| format!("cannot write `{}`", program.display()))?;
    let bytes = size(&program)?;
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if bytes > MOST_BYTES {
        bail!("`{}` has {mebibytes:.1} MiB, over {} MiB", program.display(), MOST_BYTES >> 20);
    }
    println!("`{}`: {mebibytes:.1} MiB", program.display());
    let options = args.options.join(" ");
    if args.build_only {
        println!("on a machine with a GPU: `./{PROGRAM} --out results {options}`");
        return Ok(());
    }
    let mut check = Command::new(&program);
    succeed(check.arg("--out").arg(&args.out).args(&args.options))
}

fn size(file: &Path) -> anyhow::Result<u64> {
    let metadata = fs::metadata(file);
    Ok(metadata.with_context(|| format!("cannot read `{}`", file.display()))?.len())
}
