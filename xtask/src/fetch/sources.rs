//! Where published files lie: `xtask/data/sources.json`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::WeightsFormat;
use super::download::Wanted;
use super::drive;

#[derive(Debug, Deserialize)]
struct Sources {
    weights: BTreeMap<String, Weights>,
    checkpoints: BTreeMap<String, Checkpoint>,
}

/// Files of a Hub repository, or one file at a URL, or a list of repositories to know about.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Weights {
    Hub { repo: String, revision: Option<String>, files: BTreeMap<String, HubFile> },
    Direct { url: String, sha256: Option<String>, size: Option<u64> },
    Repositories(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct HubFile {
    size: Option<u64>,
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Checkpoint {
    google_drive_id: Option<String>,
    member: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
}

fn sources() -> anyhow::Result<Sources> {
    serde_json::from_str(include_str!("../../data/sources.json"))
        .context("xtask/data/sources.json is damaged")
}

/// The files of a model's weights in one format.
pub fn weights(model: &str, format: WeightsFormat, hub: &str) -> anyhow::Result<Vec<Wanted>> {
    let sources = sources()?;
    let key = match format {
        WeightsFormat::Pt => model.to_owned(),
        WeightsFormat::Safetensors => format!("{model} safetensors"),
        WeightsFormat::Onnx => format!("{model} ONNX"),
    };
    let stem = model.replace('/', "-");
    match sources.weights.get(&key) {
        Some(Weights::Direct { url, sha256, size }) => Ok(vec![Wanted {
            name: last_part(url).to_owned(),
            urls: vec![url.clone()],
            size: *size,
            sha256: sha256.clone(),
        }]),
        Some(Weights::Hub { repo, revision, files }) => {
            let revision = revision.as_deref().unwrap_or("main");
            let file = |(path, file): (&String, &HubFile)| Wanted {
                // The model's name tells apart what all repositories call the same.
                name: format!("{stem}-{}", last_part(path)),
                urls: vec![hub_url(hub, repo, revision, path)],
                size: file.size,
                sha256: file.sha256.clone(),
            };
            Ok(files.iter().map(file).collect())
        }
        _ => {
            let known = sources.weights.iter().filter_map(|(name, weights)| match weights {
                Weights::Repositories(_) => None,
                _ => Some(match name.split_once(' ') {
                    Some((model, format)) => format!("{model} --format {}", format.to_lowercase()),
                    None => format!("{name} --format pt"),
                }),
            });
            bail!(
                "no place is known for `{model}` in this format; known are:\n  {}\nhint: `cargo xtask fetch hub REPOSITORY FILE...` fetches from any repository of the Hugging Face Hub{}",
                known.collect::<Vec<_>>().join("\n  "),
                repositories(&sources)
            )
        }
    }
}

fn repositories(sources: &Sources) -> String {
    let lists = sources.weights.values().filter_map(|weights| match weights {
        Weights::Repositories(list) => Some(list),
        _ => None,
    });
    let names: Vec<&str> = lists.flatten().map(String::as_str).collect();
    format!(", such as {}", names.join(", "))
}

/// Any file of a Hub repository; no checksum is known.
pub fn hub_file(hub: &str, repo: &str, revision: &str, path: &str) -> anyhow::Result<Wanted> {
    let is_plain = |text: &str| {
        !text.is_empty()
            && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
    };
    if !(is_plain(repo) && is_plain(path) && is_plain(revision)) {
        bail!(
            "`{repo}` and `{path}` at `{revision}` are not a file of a Hub repository (OWNER/NAME FILE)"
        );
    }
    Ok(Wanted {
        name: last_part(path).to_owned(),
        urls: vec![hub_url(hub, repo, revision, path)],
        size: None,
        sha256: None,
    })
}

/// The archive with CoOp's contexts, and the one of them that the published table starts from.
pub fn coop() -> anyhow::Result<(Wanted, String)> {
    let mut sources = sources()?;
    let coop = sources.checkpoints.remove("CoOp").context("no place of CoOp's prompts is known")?;
    let id = coop.google_drive_id.context("CoOp's prompts have no place")?;
    let archive = Wanted {
        name: "coop-prompts.zip".to_owned(),
        urls: vec![drive::url(&id)],
        size: coop.size,
        sha256: coop.sha256,
    };
    Ok((archive, coop.member.context("CoOp's archive has no member")?))
}

/// Slashes of a revision such as `refs/pr/10` are escaped.
fn hub_url(hub: &str, repo: &str, revision: &str, path: &str) -> String {
    let revision = revision.replace('/', "%2F");
    format!("{}/{repo}/resolve/{revision}/{path}", hub.trim_end_matches('/'))
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
