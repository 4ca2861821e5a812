//! The embedded demo: a tiny CLIP and small sets of shifted pictograms.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::read::GzDecoder;
use image::RgbImage;
use mint_clip::weights::LearnedPrompts;
use mint_datasets::{ImageSet, LabelledImage, Source};
use mint_device::Explained;
use mint_eval::{MethodId, RunConfig};
use rust_embed::RustEmbed;

/// File names of the demo, as errors and records call them.
pub const WEIGHTS: &str = "demo/clip.safetensors";
pub const CONTEXT: &str = "demo/coop_ctx.safetensors";
pub const COCOOP: &str = "demo/cocoop.safetensors";
pub const MAPLE: &str = "demo/maple.safetensors";

/// Images of each set, chosen so that the demo ends within a minute on two cores.
pub const LIMIT: usize = 20;
/// Views of each image, chosen for the same reason.
pub const VIEWS: usize = 32;

#[derive(RustEmbed)]
#[folder = "../../assets/demo"]
#[include = "images/*"]
#[include = "coop_ctx.safetensors"]
#[include = "cocoop.safetensors"]
#[include = "maple.safetensors"]
#[include = "classnames.json"]
struct Files;

/// The demo's sets, from no shift to a strong one.
const SETS: [(&str, &str); 5] = [
    ("I", "no shift"),
    ("A", "adversarial"),
    ("V", "other makers"),
    ("R", "outlines"),
    ("K", "two colours"),
];

/// Names of the demo's sets on the command line.
pub fn set_names() -> Vec<String> {
    SETS.iter().map(|(letter, _)| format!("demo-{letter}")).collect()
}

/// What the sets are, in two lines.
pub fn description() -> String {
    let sets: Vec<String> =
        SETS.iter().map(|(letter, title)| format!("{letter} {title}")).collect();
    format!("pictograms of a tiny CLIP (nothing about ImageNet):\n  {}", sets.join(", "))
}

/// What is run if nothing is asked for.
pub fn default_config() -> RunConfig {
    RunConfig {
        methods: MethodId::all().collect(),
        views: VIEWS,
        limit: Some(LIMIT),
        ..RunConfig::default()
    }
}

/// The longest side of what the demo's model may be asked about, in pixels: its own pictograms have
/// 64.
const LARGEST_PICTOGRAM: u32 = 128;

/// Refuses photographs: the demo's model would give them names all the same.
pub fn check_pictogram(path: &Path, image: &RgbImage) -> Result<(), Explained> {
    let (width, height) = image.dimensions();
    if width.max(height) <= LARGEST_PICTOGRAM {
        return Ok(());
    }
    Err(Explained {
        problem: format!(
            "`{}` has {width}x{height} pixels and is not a pictogram of the demo",
            path.display()
        ),
        detail: "without `--weights` the demo's tiny model is used, which knows pictograms of 64x64 pixels only".to_owned(),
        hint: "give CLIP's weights with `--weights FILE`; `cargo xtask fetch weights` gets some".to_owned(),
    })
}

/// A set of the demo by its name on the command line.
pub fn find_set(name: &str) -> Option<anyhow::Result<ImageSet>> {
    let letter = name.strip_prefix("demo-")?;
    let (letter, title) = SETS.iter().find(|(known, _)| known.eq_ignore_ascii_case(letter))?;
    Some(open_set(letter, title))
}

/// The weights' bytes, unpacked.
pub fn weights() -> anyhow::Result<Vec<u8>> {
    let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clip.safetensors.gz"));
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).context("the demo's model is damaged")?;
    Ok(bytes)
}

/// The bytes of one of the trained prompts, by the name that records call it.
pub fn trained(name: &str) -> anyhow::Result<Cow<'static, [u8]>> {
    file(name.strip_prefix("demo/").unwrap_or(name))
}

/// Trained prompts, by the name that records call them.
pub fn prompts(name: &str) -> anyhow::Result<LearnedPrompts> {
    Ok(LearnedPrompts::from_bytes(Path::new(name), trained(name)?)?)
}

fn open_set(letter: &str, title: &str) -> anyhow::Result<ImageSet> {
    let class_names: Vec<String> = serde_json::from_slice(&file("classnames.json")?)
        .context("the demo's class names are damaged")?;
    let prefix = format!("images/{letter}/");
    let mut images = Vec::new();
    for name in Files::iter().filter(|name| name.starts_with(&prefix)) {
        let class = name[prefix.len()..].split('/').next().unwrap_or_default();
        let label = class_names.iter().position(|known| known.replace(' ', "_") == class);
        let label = label.with_context(|| format!("the demo's folder `{class}` is not a class"))?;
        images.push(LabelledImage { path: PathBuf::from(name.as_ref()), label });
    }
    images.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(ImageSet {
        id: format!("demo-{letter}"),
        title: format!("demo-{letter} ({title})"),
        test_set: None,
        class_names,
        images,
        warnings: Vec::new(),
        source: Source::Embedded(|path| file(path.to_str()?).ok()),
    })
}

/// The bytes of a picture of the demo, by its path in a record.
pub fn picture(path: &str) -> Option<Vec<u8>> {
    file(path).ok().map(Cow::into_owned)
}

fn file(name: &str) -> anyhow::Result<Cow<'static, [u8]>> {
    let file = Files::get(name).with_context(|| format!("the demo has no file `{name}`"))?;
    Ok(file.data)
}
