//! The whole benchmark: mint-cli on every test set, with every method.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::process::{cargo, succeed};

/// Test sets of the published table, then ImageNet itself.
const TEST_SETS: &str = "A/V/R/K/I";

#[derive(Debug, Args)]
pub struct BenchAllArgs {
    /// Test sets, separated by slashes
    #[arg(long, default_value = TEST_SETS)]
    test_sets: String,
    /// Methods, separated by commas
    #[arg(long, default_value = "all")]
    method: String,
    /// Folder that holds the test sets
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// CLIP's weights
    #[arg(long, default_value = "data/weights/ViT-B-16.pt")]
    weights: PathBuf,
    /// The trained context that CoOp's, TPT's and MINT's rows start from
    #[arg(long, default_value = "data/prompts/coop.pth")]
    context: PathBuf,
    /// What runs the model: `cuda`, `cpu`, or `auto`, which is a GPU where there is one. All but
    /// `cpu` build the program with CUDA, which takes no CUDA toolkit
    #[arg(long, default_value = "auto")]
    backend: String,
    /// Further options of mint-cli, after `--`
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs mint-cli; its table and record are the result.
pub fn run(args: &BenchAllArgs) -> anyhow::Result<()> {
    if !args.weights.is_file() {
        bail!(
            "the weights `{}` are not there\nhint: fetch CLIP's weights with `cargo xtask fetch weights`, or name them with `--weights FILE`, and the folder of the test sets with `--data DIR`",
            args.weights.display()
        );
    }
    if !args.context.is_file() {
        bail!(
            "the trained context `{}` is not there\nhint: fetch it with `cargo xtask fetch prompts coop`, or name a checkpoint of CoOp with `--context FILE`",
            args.context.display()
        );
    }
    let cuda = (args.backend != "cpu").then_some(["--features", "cuda"]);
    let mut command = cargo();
    command.args(["run", "--package", "mint-cli"]).args(cuda.into_iter().flatten());
    command.args(["--", "--backend", &args.backend]);
    command.args(["--test-sets", &args.test_sets, "--method", &args.method]);
    command.arg("--data").arg(&args.data).arg("--weights").arg(&args.weights);
    command.arg("--context").arg(&args.context).args(&args.options);
    succeed(&mut command)
}
