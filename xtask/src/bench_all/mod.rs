//! The whole benchmark: every row on every test set, here or on a cluster, into one table.

mod local;
mod plan;
mod slurm;
mod sweep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::process::{built_program, cargo, succeed};
use plan::{listed, plan};
use sweep::Sweep;

#[derive(Debug, Args)]
pub struct BenchAllArgs {
    /// What to run: rows, groups of test sets, seeds, shards
    #[arg(long, value_name = "FILE", default_value = "configs/bench-all.toml")]
    config: PathBuf,
    /// Print the plan with an estimate of time and disk, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these rows, separated by commas: names of their files without `.toml`
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Only these test sets as one group, separated by slashes or commas; `C/fog/5` by commas
    #[arg(long)]
    test_sets: Option<String>,
    /// Seeds, separated by commas
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Parts that each cell is divided into
    #[arg(long)]
    shards: Option<usize>,
    /// Folder of the test sets
    #[arg(long)]
    data: Option<PathBuf>,
    /// CLIP's weights
    #[arg(long)]
    weights: Vec<PathBuf>,
    /// The trained context that CoOp's, TPT's and MINT's rows start from
    #[arg(long)]
    context: Option<PathBuf>,
    /// What runs the model: `cuda`, `cpu`, or `auto`, which is a GPU where there is one. All but
    /// `cpu` build the program with CUDA, which takes no CUDA toolkit
    #[arg(long)]
    backend: Option<String>,
    /// Folder of the records and tables
    #[arg(long)]
    output: Option<PathBuf>,
    /// Folder of the cache of embeddings
    #[arg(long)]
    cache: Option<PathBuf>,
    /// What the device does in a second, in 10^12 operations, for the estimate of time
    #[arg(long)]
    tflops: Option<f64>,
    /// Where cells run
    #[arg(long, default_value = "local")]
    launcher: Launcher,
    /// GPUs of this machine that share the cells, such as `0-3` or `0,2`; without shards named,
    /// each cell is divided into as many
    #[arg(long)]
    gpus: Option<String>,
    /// With Slurm: write the scripts and submit nothing
    #[arg(long)]
    no_submit: bool,
    /// Further options of mint-cli, after `--`, in place of those of the same name in the file
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Launcher {
    /// On this machine, one after the other or one per GPU
    Local,
    /// As job arrays of Slurm, with the report after them
    Slurm,
}

/// Runs the cells that are not finished, then writes the tables.
pub fn run(args: &BenchAllArgs) -> anyhow::Result<()> {
    let gpus = args.gpus.as_deref().map(parse_gpus).transpose()?.unwrap_or_default();
    let sweep = typed(args, Sweep::read(&args.config)?, gpus.len());
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let mut rows = sweep.rows(folder)?;
    if let Some(unknown) = args.rows.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        bail!("`{unknown}` is not a row of the sweep; rows are {}", known.join(", "));
    }
    if !args.rows.is_empty() {
        rows.retain(|row| args.rows.contains(&row.name));
    }
    if let Some(missing) = sweep.weights.iter().find(|file| !file.is_file()) {
        bail!(
            "the weights `{}` are not there\nhint: fetch CLIP's weights with `cargo xtask fetch weights`, or name them with `--weights FILE`, and the folder of the test sets with `--data DIR`",
            missing.display()
        );
    }
    if !gpus.is_empty() && sweep.backend == "cpu" {
        bail!("`--gpus` chooses GPUs, but the backend is `cpu`; give `--backend cuda` as well");
    }
    let program = build(&sweep.backend)?;
    let plan = plan(&sweep, &rows, &listed(Command::new(&program), &sweep)?);
    if args.dry_run {
        println!("{}", plan.describe(sweep.tflops));
        return Ok(());
    }
    for skipped in &plan.skipped {
        eprintln!("skipped: {skipped}");
    }
    if plan.tasks.is_empty() {
        bail!("nothing is left to run");
    }
    fs::create_dir_all(&sweep.output)
        .with_context(|| format!("cannot make `{}`", sweep.output.display()))?;
    match args.launcher {
        Launcher::Slurm => slurm::submit(&sweep, &plan.tasks, &program, args.no_submit),
        Launcher::Local => {
            let failed = local::run(&program, &plan.tasks, &gpus)?;
            if failed.len() < plan.tasks.len() {
                report(&program, &sweep.output)?;
            }
            if failed.is_empty() {
                return Ok(());
            }
            bail!("{} of {} cells failed:\n{}", failed.len(), plan.tasks.len(), failed.join("\n"))
        }
    }
}

/// The sweep with what was typed.
fn typed(args: &BenchAllArgs, mut sweep: Sweep, gpus: usize) -> Sweep {
    if let Some(sets) = &args.test_sets {
        let test_sets = split_sets(sets);
        let name = test_sets.join("-").replace(['/', '*'], "-");
        sweep.groups = vec![sweep::Group { name, test_sets, one_by_one: false }];
    }
    if !args.seeds.is_empty() {
        sweep.seeds = args.seeds.clone();
    }
    if !args.weights.is_empty() {
        sweep.weights = args.weights.clone();
    }
    sweep.shards = args.shards.unwrap_or(sweep.shards.max(gpus)).max(1);
    sweep.data = args.data.clone().unwrap_or(sweep.data);
    sweep.prompts.context = args.context.clone().or(sweep.prompts.context);
    sweep.backend = args.backend.clone().unwrap_or(sweep.backend);
    sweep.output = args.output.clone().unwrap_or(sweep.output);
    sweep.tflops = args.tflops.or(sweep.tflops);
    sweep.cache = args.cache.clone().or(sweep.cache);
    sweep.options = with_options(&sweep.options, &args.options);
    sweep
}

/// Names separated by slashes or commas; those of ImageNet-C contain slashes.
fn split_sets(text: &str) -> Vec<String> {
    let is_corrupted = |part: &str| part.starts_with("C/") || part.starts_with("c/");
    let names = |part: &str| -> Vec<String> {
        if is_corrupted(part) {
            return vec![part.to_owned()];
        }
        part.split('/').map(str::to_owned).collect()
    };
    text.split(',').flat_map(names).collect()
}

/// Options, of which those of the same name are replaced.
fn with_options(options: &[String], typed: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut is_kept = true;
    for word in options {
        if word.starts_with("--") {
            is_kept = !typed.contains(word);
        }
        if is_kept {
            kept.push(word.clone());
        }
    }
    kept.extend_from_slice(typed);
    kept
}

/// `0-3` and `0,2` as numbers.
fn parse_gpus(text: &str) -> anyhow::Result<Vec<usize>> {
    let number = |text: &str| {
        text.trim().parse::<usize>().with_context(|| format!("`{text}` is not a GPU's number"))
    };
    let mut gpus = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((from, to)) => gpus.extend(number(from)?..=number(to)?),
            None => gpus.push(number(part)?),
        }
    }
    if gpus.is_empty() {
        bail!("`{text}` names no GPU");
    }
    Ok(gpus)
}

fn build(backend: &str) -> anyhow::Result<PathBuf> {
    let cuda = (backend != "cpu").then_some(["--features", "cuda"]);
    succeed(cargo().args(["build", "--package", "mint-cli"]).args(cuda.into_iter().flatten()))?;
    // A cell may run in another folder than this program.
    let program = built_program("mint-cli");
    program.canonicalize().with_context(|| format!("`{}` was not built", program.display()))
}

/// Forms of the report, with the names of their files.
const REPORTS: [(&str, &str); 4] = [
    ("html", "report.html"),
    ("latex", "table.tex"),
    ("csv", "table.csv"),
    ("json", "report.json"),
];

/// Prints the table, and writes it in every form.
fn report(program: &Path, folder: &Path) -> anyhow::Result<()> {
    for (format, file) in REPORTS {
        let mut command = Command::new(program);
        command.arg("report").arg(folder).args(["--format", format]);
        let output = command.output().context("mint-cli cannot be run")?;
        if !output.status.success() {
            bail!("the report: {}", String::from_utf8_lossy(&output.stderr));
        }
        let path = folder.join(file);
        fs::write(&path, output.stdout)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    succeed(Command::new(program).arg("report").arg(folder))?;
    eprintln!("page and tables: `{}`", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_numbers_and_ranges() {
        assert_eq!(parse_gpus("0-3").expect("a range"), [0, 1, 2, 3]);
        assert_eq!(parse_gpus("0,2-3").expect("both"), [0, 2, 3]);
        assert!(parse_gpus("a").is_err());
        assert!(parse_gpus("3-1").is_err());
    }

    #[test]
    fn typed_options_replace_those_of_the_file() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let options = with_options(&words("--limit 20 --strict --views 16"), &words("--limit 2"));
        assert_eq!(options, words("--strict --views 16 --limit 2"));
    }

    #[test]
    fn the_sweep_of_the_paper_is_valid_and_counts_what_it_costs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let mut sweep = Sweep::read(&root.join("bench-all.toml")).expect("a sweep");
        sweep.prompts.context = Some(root.join("mint.toml"));
        let rows = sweep.rows(&root).expect("rows");
        let lacking: Vec<&str> =
            rows.iter().filter(|row| row.lacks.is_some()).map(|row| row.name.as_str()).collect();
        assert_eq!(lacking, ["maple", "cocoop", "tps-micro", "dpe-cupl"]);
        let listed = [("A", Some(7_500)), ("R", None), ("pets", Some(3_669))];
        let listed = listed.map(|(set, images)| (set.to_owned(), images)).into();
        let all = plan(&sweep, &rows, &listed);
        // 28 rows; one group, whose other sets are not listed, and ten single sets.
        assert_eq!(all.tasks.len(), 28 * 11);
        assert!(all.skipped.iter().any(|skipped| skipped.starts_with("R: not usable")));
        let on_pets: Vec<_> =
            all.tasks.iter().filter(|task| task.name.ends_with("on pets, seed 0")).collect();
        assert_eq!(on_pets[0].tera_operations, Some(3_669.0 * 6.0));
        assert!(on_pets[0].fills_cache && !on_pets[1].fills_cache);
        sweep.shards = 2;
        let divided = plan(&sweep, &rows, &listed);
        assert_eq!(divided.tasks.len(), 11 * (2 * 20 + 8), "what remembers is not divided");
        sweep.cache = None;
        let uncached = plan(&sweep, &rows, &listed);
        let clip = |name: &str| uncached.tasks.iter().find(|task| task.name.starts_with(name));
        let operations = clip("clip on pets").and_then(|task| task.tera_operations);
        assert!(operations > Some(3_669.0 * 1.12), "{operations:?}");
    }
}
