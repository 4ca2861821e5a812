//! Fetches published weights, prompts and test sets: `cargo xtask fetch`.

mod archive;
mod datasets;
mod download;
mod drive;
#[cfg(test)]
mod local_server;
mod sources;
#[cfg(test)]
mod tests;
mod unpack;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use self::download::{Downloader, State, Wanted};

/// The Hugging Face Hub.
const HUB: &str = "https://huggingface.co";

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CLIP's weights
    Weights {
        /// Which model: ViT-B/16, ViT-B/32 or ViT-L/14
        #[arg(default_value = "ViT-B/16")]
        model: String,
        /// Which of the published files
        #[arg(long, default_value = "pt")]
        format: WeightsFormat,
        #[command(flatten)]
        options: Options,
    },
    /// Files of a repository on the Hugging Face Hub, such as OpenCLIP's weights with their
    /// configuration
    Hub {
        /// The repository, such as laion/CLIP-ViT-B-16-laion2B-s34B-b88K
        repository: String,
        /// Its files, such as open_clip_config.json
        #[arg(required = true)]
        files: Vec<String>,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
        #[command(flatten)]
        options: Options,
    },
    /// Test sets, unpacked to where they are looked for
    Datasets(datasets::DatasetsArgs),
    /// Trained prompts
    Prompts {
        /// Which method's
        method: PromptMethod,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// Folder to put the files into [default: data/weights, or data/prompts]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Only check the files that are there; nothing is fetched
    #[arg(long)]
    verify_only: bool,
    /// Further places of the same files, tried in this order before the published one: the URL of
    /// a folder
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// The Hugging Face Hub, or a mirror of it
    #[arg(long, value_name = "URL", env = "HF_ENDPOINT", default_value = HUB)]
    hub: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WeightsFormat {
    /// OpenAI's own TorchScript archive
    Pt,
    /// Hugging Face's safetensors
    Safetensors,
    /// One ONNX file for each tower
    Onnx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PromptMethod {
    /// The context that CoOp's authors trained on ImageNet, 16 shots, seed 1
    Coop,
}

/// Fetches, or checks, and says what it did.
pub fn run(args: &FetchArgs) -> anyhow::Result<()> {
    let downloader = Downloader {
        stall: Duration::from_secs(60),
        pause: Duration::from_secs(1),
        attempts: 5,
        progress: true,
    };
    for line in fetch(&args.what, &downloader)? {
        println!("{line}");
    }
    Ok(())
}

/// One line per file.
fn fetch(what: &What, downloader: &Downloader) -> anyhow::Result<Vec<String>> {
    match what {
        What::Weights { model, format, options } => {
            let folder = options.folder("data/weights");
            let files = sources::weights(model, *format, options.hub())?;
            let files: Vec<_> = files.into_iter().map(|file| options.mirrored(file)).collect();
            files.iter().map(|file| fetch_file(file, &folder, options, downloader)).collect()
        }
        What::Hub { repository, files, revision, options } => {
            // Repositories call their files alike.
            let folder = options.folder("data/weights").join(repository.replace('/', "--"));
            let file = |file: &String| {
                let wanted = sources::hub_file(options.hub(), repository, revision, file)?;
                fetch_file(&options.mirrored(wanted), &folder, options, downloader)
            };
            files.iter().map(file).collect()
        }
        What::Datasets(args) => datasets::fetch(args, downloader),
        What::Prompts { method: PromptMethod::Coop, options } => {
            let folder = options.folder("data/prompts");
            let (archive, member) = sources::coop()?;
            let archive = options.mirrored(archive);
            let target = folder.join("coop.pth");
            if !options.verify_only && target.is_file() {
                return Ok(vec![format!("`{}` already exists", target.display())]);
            }
            let line = fetch_file(&archive, &folder, options, downloader)?;
            if options.verify_only {
                return Ok(vec![line]);
            }
            archive::take_member(&folder.join(&archive.name), &member, &target)?;
            Ok(vec![line, format!("unpacked `{}`", target.display())])
        }
    }
}

fn fetch_file(
    file: &Wanted,
    folder: &Path,
    options: &Options,
    downloader: &Downloader,
) -> anyhow::Result<String> {
    let target = folder.join(&file.name);
    let state = if options.verify_only {
        downloader.verify(file, &target)?
    } else {
        downloader.fetch(file, &target)?
    };
    let what = match state {
        State::Verified => "is what its publisher states (size and SHA-256)",
        State::AsBefore => "is the same as at its first download (no checksum is published)",
        State::Recorded => "was recorded as it is (no checksum is published)",
    };
    Ok(format!("`{}` {what}", target.display()))
}

impl Options {
    fn folder(&self, default: &str) -> PathBuf {
        self.into.clone().unwrap_or_else(|| default.into())
    }

    /// The Hub; a variable that is set to nothing counts as not set.
    fn hub(&self) -> &str {
        if self.hub.is_empty() { HUB } else { &self.hub }
    }

    fn mirrored(&self, file: Wanted) -> Wanted {
        mirrored(file, &self.mirror)
    }
}

/// The file with its mirrors before the published places.
fn mirrored(mut file: Wanted, mirrors: &[String]) -> Wanted {
    let own = mirrors.iter().map(|url| format!("{}/{}", url.trim_end_matches('/'), file.name));
    file.urls = own.chain(file.urls).collect();
    file
}
