//! What a run's results depend on, and how the run is started again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use mint_datasets::{ImageSet, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::{CachePrecision, ContextStart, RunConfig};

/// What is known about a run before it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunInfo {
    /// What was named on the command line, to go on with the run from its folder alone.
    pub arguments: Arguments,
    /// The whole configuration.
    pub config: RunConfig,
    /// The weights.
    pub weights: WeightsInfo,
    /// Files of trained prompts.
    pub prompts: TrainedFiles,
    /// The test sets in their order, which decides what is remembered in each.
    pub test_sets: Vec<TestSetInfo>,
    /// Versions of this program and of Burn.
    pub versions: Versions,
    /// The machine that began the run.
    pub host: Host,
    /// The device that ran the tensors.
    pub device: String,
}

/// What was named on the command line, besides what the configuration has. Paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arguments {
    /// Published test sets and those of the demo, as they were typed.
    pub test_sets: Option<String>,
    /// Folders of class folders.
    pub image_folders: Vec<PathBuf>,
    /// Lists of images, and webdatasets.
    #[serde(default)]
    pub image_lists: Vec<PathBuf>,
    /// Class names for those.
    pub class_names: Option<PathBuf>,
    /// Folder that holds the published test sets.
    pub data: PathBuf,
    /// Weight files; none for the demo's.
    pub weights: Vec<PathBuf>,
    /// Activation that was given for the weights.
    pub activation: Option<String>,
    /// Scale of the logits that was given for the weights.
    pub logit_scale: Option<f32>,
    /// What runs the model.
    pub backend: Option<String>,
    /// Folder of the cache of embeddings.
    #[serde(default)]
    pub cache: Option<PathBuf>,
}

/// Which weights were used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeightsInfo {
    /// Every file that numbers were read from.
    pub files: Vec<HashedFile>,
    /// Activation of the MLPs.
    pub activation: String,
    /// Factor of the cosine similarities.
    pub logit_scale: f32,
    /// Dimensions of the towers, and how pixels are prepared for them.
    pub model: Value,
}

/// A file with its checksum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HashedFile {
    /// File, or a name for what is embedded.
    pub file: String,
    /// Hexadecimal SHA-256 of the file.
    pub sha256: String,
}

/// Files of trained prompts; `None` where a method starts from none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainedFiles {
    /// CoOp's context, which MINT starts from as well.
    pub context: Option<HashedFile>,
    /// CoCoOp's checkpoint.
    pub cocoop: Option<HashedFile>,
    /// MaPLe's checkpoint.
    pub maple: Option<HashedFile>,
    /// Texts of each class.
    #[serde(default)]
    pub class_texts: Option<HashedFile>,
    /// Descriptors of each class.
    #[serde(default)]
    pub descriptors: Option<HashedFile>,
}

/// A test set as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestSetInfo {
    /// Short name.
    pub id: String,
    /// The folder of class folders, absolute; `None` for embedded sets.
    pub folder: Option<PathBuf>,
    /// Number of classes.
    pub classes: usize,
    /// Hexadecimal SHA-256 of the class names in label order.
    pub class_names_sha256: String,
    /// Number of images.
    pub images: usize,
    /// Hexadecimal SHA-256 of the paths and labels of all images.
    pub images_sha256: String,
}

/// Versions of the programs involved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// This project.
    pub mint: String,
    /// The tensor library.
    pub burn: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// Number of cores available.
    pub cores: usize,
}

/// A value that two runs differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Name of the value, such as `mint.steps`.
    pub name: String,
    /// What it is now.
    pub now: String,
    /// What the record has.
    pub recorded: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, now, recorded } = self;
        write!(formatter, "`{name}` is {now}, the record has {recorded}")
    }
}

impl RunInfo {
    /// What `recorded` differs in, of all that the results depend on.
    pub fn differences(&self, recorded: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        compare("", &self.compared(), &recorded.compared(), &mut differences);
        let ids = |info: &Self| info.test_sets.iter().map(|set| set.id.clone()).collect::<Vec<_>>();
        if ids(self) == ids(recorded) {
            for (now, recorded) in self.test_sets.iter().zip(&recorded.test_sets) {
                let name = format!("test set {}", now.id);
                compare(&name, &json!(now), &json!(recorded), &mut differences);
            }
        }
        differences
    }

    /// Everything that the results depend on, and nothing else.
    fn compared(&self) -> Value {
        let ids: Vec<&str> = self.test_sets.iter().map(|set| set.id.as_str()).collect();
        let mut compared = compared(&self.config, &self.weights, &self.prompts, &self.versions);
        compared["test-sets"] = json!(ids);
        compared
    }
}

/// What results depend on, whatever images they are of.
pub(crate) fn compared(
    config: &RunConfig,
    weights: &WeightsInfo,
    prompts: &TrainedFiles,
    versions: &Versions,
) -> Value {
    // Where files lie does not matter, what is in them does.
    let mut config = config.clone();
    if matches!(config.context, Some(ContextStart::File(_))) {
        config.context = None;
    }
    (config.cocoop, config.maple) = (None, None);
    (config.class_texts, config.descriptors) = (None, None);
    // A cache in single precision changes nothing.
    config.cache = config.cache.filter(|&precision| precision != CachePrecision::F32);
    let sums = |files: &[HashedFile]| -> Vec<String> {
        files.iter().map(|file| file.sha256.clone()).collect()
    };
    let trained = |file: &Option<HashedFile>| file.as_ref().map(|file| file.sha256.clone());
    json!({
        "": config,
        "weights": {
            "sha256": sums(&weights.files),
            "activation": weights.activation,
            "logit-scale": weights.logit_scale,
            "model": weights.model,
        },
        "context": { "sha256": trained(&prompts.context) },
        "cocoop": { "sha256": trained(&prompts.cocoop) },
        "maple": { "sha256": trained(&prompts.maple) },
        "class-texts": { "sha256": trained(&prompts.class_texts) },
        "descriptors": { "sha256": trained(&prompts.descriptors) },
        "version": versions,
    })
}

/// Goes through two values side by side.
pub(crate) fn compare(
    name: &str,
    now: &Value,
    recorded: &Value,
    differences: &mut Vec<Difference>,
) {
    let join = |key: &str| match (name, key) {
        ("", key) => key.to_owned(),
        (name, "") => name.to_owned(),
        (name, key) => format!("{name}.{key}"),
    };
    match (now, recorded) {
        _ if now == recorded => {}
        (Value::Object(now), Value::Object(recorded)) => {
            let keys: BTreeSet<&String> = now.keys().chain(recorded.keys()).collect();
            for key in keys {
                let of = |values: &serde_json::Map<String, Value>| {
                    values.get(key).cloned().unwrap_or(Value::Null)
                };
                compare(&join(key), &of(now), &of(recorded), differences);
            }
        }
        _ => differences.push(Difference {
            name: name.to_owned(),
            now: in_words(now),
            recorded: in_words(recorded),
        }),
    }
}

/// Differences that a message lists.
const LISTED: usize = 20;

/// Differences, a line each, as far as a message can hold them.
pub(crate) fn listed(differences: &[Difference]) -> String {
    let shown = differences.iter().take(LISTED);
    let mut lines: String = shown.map(|difference| format!("\n  {difference}")).collect();
    if differences.len() > LISTED {
        lines += &format!("\n  and {} more", differences.len() - LISTED);
    }
    lines
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(in_words).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

impl WeightsInfo {
    /// The names of the files.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.file.as_str()).collect();
        names.join(" + ")
    }
}

impl TestSetInfo {
    /// Of a set that was found.
    pub fn new(set: &ImageSet) -> Self {
        let mut names = Sha256::new();
        for name in &set.class_names {
            names.update(name.as_bytes());
            names.update([0]);
        }
        let mut images = Sha256::new();
        for image in &set.images {
            images.update(image.path.as_os_str().as_encoded_bytes());
            images.update([0]);
            images.update(image.label.to_le_bytes());
        }
        let folder = match &set.source {
            Source::Folder(folder) => {
                Some(std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone()))
            }
            Source::Members(_) | Source::Embedded(_) => None,
        };
        Self {
            id: set.id.clone(),
            folder,
            classes: set.class_names.len(),
            class_names_sha256: hex(&names.finalize()),
            images: set.images.len(),
            images_sha256: hex(&images.finalize()),
        }
    }
}

impl HashedFile {
    /// What is embedded, by name.
    pub fn embedded(name: &str, bytes: &[u8]) -> Self {
        Self { file: name.to_owned(), sha256: hex(&Sha256::digest(bytes)) }
    }

    /// A file, read piece by piece.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read(file: &Path) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let mut reader = BufReader::with_capacity(1 << 20, File::open(file)?);
        io::copy(&mut reader, &mut digest)?;
        Ok(Self { file: file.display().to_string(), sha256: hex(&digest.finalize()) })
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            mint: env!("CARGO_PKG_VERSION").to_owned(),
            burn: mint_clip::BURN_VERSION.to_owned(),
        }
    }
}

impl Host {
    /// This machine.
    pub fn current() -> Self {
        Self {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RunInfo {
        let hashed =
            |file: &str| HashedFile { file: file.to_owned(), sha256: format!("{file}-sum") };
        let set = |id: &str| TestSetInfo {
            id: id.to_owned(),
            folder: Some(PathBuf::from("/data").join(id)),
            classes: 3,
            class_names_sha256: "names".to_owned(),
            images: 9,
            images_sha256: "images".to_owned(),
        };
        RunInfo {
            arguments: Arguments::default(),
            config: RunConfig {
                context: Some(ContextStart::File("ctx.pth".into())),
                ..RunConfig::default()
            },
            weights: WeightsInfo {
                files: vec![hashed("clip")],
                activation: "gelu".to_owned(),
                logit_scale: 100.0,
                model: Value::Null,
            },
            prompts: TrainedFiles { context: Some(hashed("ctx.pth")), ..TrainedFiles::default() },
            test_sets: vec![set("A"), set("R")],
            versions: Versions::default(),
            host: Host::current(),
            device: "cpu".to_owned(),
        }
    }

    #[test]
    fn everything_that_results_depend_on_is_compared_and_named() {
        let changed = |change: fn(&mut RunInfo)| {
            let mut now = info();
            change(&mut now);
            let differences = now.differences(&info());
            differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        for (change, expected) in [
            ((|_| {}) as fn(&mut RunInfo), ""),
            (|info| info.config.views = 12, "`views` is 12, the record has 64"),
            (|info| info.config.limit = Some(5), "`limit` is 5, the record has none"),
            (
                |info| info.config.mint.optimizer.learning_rate = 0.5,
                "`mint.optimizer.learning-rate` is 0.5, the record has 0.005",
            ),
            (
                |info| info.test_sets.swap(0, 1),
                "`test-sets` is [`R`, `A`], the record has [`A`, `R`]",
            ),
            (|info| info.test_sets.truncate(1), "`test-sets` is [`A`], the record has [`A`, `R`]"),
            (
                |info| info.test_sets[1].class_names_sha256 = "others".to_owned(),
                "`test set R.class_names_sha256` is `others`, the record has `names`",
            ),
            (
                |info| info.test_sets[0].images_sha256 = "others".to_owned(),
                "`test set A.images_sha256` is `others`, the record has `images`",
            ),
            (
                |info| info.weights.files[0].sha256 = "x".to_owned(),
                "`weights.sha256` is [`x`], the record has [`clip-sum`]",
            ),
            (
                |info| info.prompts.context = None,
                "`context.sha256` is none, the record has `ctx.pth-sum`",
            ),
            (|info| info.config.context = Some(ContextStart::File("moved.pth".into())), ""),
            (|info| info.weights.files[0].file = "moved".to_owned(), ""),
            (
                |info| info.versions.mint = "9".to_owned(),
                concat!("`version.mint` is `9`, the record has `", env!("CARGO_PKG_VERSION"), "`"),
            ),
        ] {
            assert_eq!(changed(change), expected);
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_equal() {
        let text = serde_json::to_string(&info()).expect("it can be written");
        let back: RunInfo = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(info().differences(&back), []);
    }
}
