//! What a sweep is: the file that says it, and what was typed besides.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// A sweep, as its file says it: `configs/bench-all.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sweep {
    pub output: PathBuf,
    #[serde(default = "data")]
    pub data: PathBuf,
    /// None for the demo's own.
    pub weights: Vec<PathBuf>,
    #[serde(default = "auto")]
    pub backend: String,
    #[serde(default = "first")]
    pub seeds: Vec<u64>,
    #[serde(default = "one")]
    pub shards: usize,
    #[serde(default)]
    pub divide_memories: bool,
    pub cache: Option<PathBuf>,
    #[serde(default = "half")]
    pub cache_precision: String,
    #[serde(default)]
    pub options: Vec<String>,
    /// 10^12 operations in a second.
    pub tflops: Option<f64>,
    #[serde(default)]
    pub prompts: Prompts,
    pub groups: Vec<Group>,
    pub rows: RowFiles,
    #[serde(default)]
    pub slurm: Slurm,
}

/// Checkpoints of trained prompts, and files of texts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prompts {
    pub context: Option<PathBuf>,
    pub cocoop: Option<PathBuf>,
    pub maple: Option<PathBuf>,
    pub class_texts: Option<PathBuf>,
    pub descriptors: Option<PathBuf>,
}

/// Test sets that a row goes through one after the other.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    pub name: String,
    pub test_sets: Vec<String>,
    /// Whether each set is a cell of its own.
    #[serde(default)]
    pub one_by_one: bool,
}

/// Configurations of rows, next to the sweep's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RowFiles {
    pub files: Vec<PathBuf>,
}

/// How Slurm runs a task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Slurm {
    pub options: Vec<String>,
    pub cores: usize,
    pub gpus: usize,
}

impl Default for Slurm {
    fn default() -> Self {
        Self { options: Vec::new(), cores: 8, gpus: 0 }
    }
}

fn data() -> PathBuf {
    "data".into()
}

fn auto() -> String {
    "auto".to_owned()
}

fn half() -> String {
    "f16".to_owned()
}

fn first() -> Vec<u64> {
    vec![0]
}

fn one() -> usize {
    1
}

/// A row of the table: a configuration, and what it needs.
#[derive(Debug, Clone)]
pub struct SweepRow {
    /// The file's name without its ending.
    pub name: String,
    pub file: PathBuf,
    pub method: String,
    /// Its file of texts of each class, if it needs one.
    pub class_texts: Option<PathBuf>,
    /// Its file of descriptors of each class, if it needs one.
    pub descriptors: Option<PathBuf>,
    /// The file that is not there, or not named.
    pub lacks: Option<String>,
}

/// What is read of a row's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RowConfig {
    methods: Vec<String>,
    texts: toml::Table,
    starts: toml::Table,
    tps: toml::Table,
    dpe: toml::Table,
}

impl Sweep {
    /// Reads a sweep's file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the sweep `{}`", file.display()))?;
        let sweep: Self = toml::from_str(&text)
            .with_context(|| format!("the sweep `{}` is wrong", file.display()))?;
        if sweep.shards == 0 || sweep.seeds.is_empty() || sweep.groups.is_empty() {
            bail!("the sweep `{}` needs a seed, a group, and at least 1 shard", file.display());
        }
        Ok(sweep)
    }

    /// The rows; `folder` is that of the sweep's file.
    pub fn rows(&self, folder: &Path) -> anyhow::Result<Vec<SweepRow>> {
        self.rows.files.iter().map(|file| self.row(folder.join(file))).collect()
    }

    fn row(&self, file: PathBuf) -> anyhow::Result<SweepRow> {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read the row `{}`", file.display()))?;
        let RowConfig { methods, texts, starts, tps, dpe } = toml::from_str(&text)
            .with_context(|| format!("the row `{}` is wrong", file.display()))?;
        let [method] = &methods[..] else {
            bail!("the row `{}` must have one method, and has {}", file.display(), methods.len());
        };
        let says = |table: &toml::Table, key: &str, value: &str| {
            table.get(key).is_some_and(|said| said.as_str() == Some(value))
        };
        let is_context = |table: &toml::Table| says(table, method, "context");
        let needs_context = method == "coop" || is_context(&texts) || is_context(&starts);
        let adds_texts = dpe.get("with-class-texts").and_then(toml::Value::as_bool) == Some(true);
        let needs_texts = says(&texts, method, "class-texts") || adds_texts;
        let needs_descriptors =
            tps.contains_key("prototypes") && !says(&tps, "prototypes", "texts");
        let Prompts { context, cocoop, maple, class_texts, descriptors } = &self.prompts;
        let needed = match method.as_str() {
            "cocoop" => Some(("cocoop", cocoop)),
            "maple" => Some(("maple", maple)),
            _ if needs_context => Some(("context", context)),
            _ if needs_texts => Some(("class-texts", class_texts)),
            _ if needs_descriptors => Some(("descriptors", descriptors)),
            _ => None,
        };
        let lacks =
            needed.filter(|_| !self.weights.is_empty()).and_then(|(name, given)| match given {
                None => Some(format!("`prompts.{name}` names no file")),
                Some(file) if file.is_file() => None,
                Some(file) if name == "context" => Some(format!(
                    "the checkpoint `{}` is not there; `cargo xtask fetch prompts coop` fetches it",
                    file.display()
                )),
                Some(file) => Some(format!("`{}` is not there", file.display())),
            });
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let class_texts = class_texts.clone().filter(|_| needs_texts);
        let descriptors = descriptors.clone().filter(|_| needs_descriptors);
        Ok(SweepRow { name, method: method.clone(), class_texts, descriptors, file, lacks })
    }
}

impl SweepRow {
    /// Whether the results depend on the images before, with the row's usual settings.
    pub fn remembers(&self) -> bool {
        ["mint", "sar", "tda", "onzeta", "boostadapter", "dota", "oga", "dpe"]
            .contains(&self.method.as_str())
    }

    /// Whether embeddings are not enough.
    pub fn needs_pixels(&self) -> bool {
        ["mint", "sar", "maple"].contains(&self.method.as_str())
    }

    /// 10^12 operations for an image besides its views' embeddings, for ViT-B/16, 64 views and 200
    /// classes: docs/methods.md.
    pub fn tera_operations(&self) -> f64 {
        match self.method.as_str() {
            "mint" => 6.0,
            "sar" => 5.0,
            "tpt" | "ctpt" | "atpt" => 0.13,
            "cocoop" => 0.06,
            "maple" => 0.04,
            _ => 0.001,
        }
    }
}
