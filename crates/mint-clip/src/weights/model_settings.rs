//! What the configuration beside a weight file says and the tensors do not.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::WeightsError;
use super::file::Format;
use super::names::Layout;
use crate::config::Activation;

/// Settings that cannot be read off the tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSettings {
    /// Where they are from, if not from the weight file.
    pub origin: Option<PathBuf>,
    /// Activation of the MLPs.
    pub activation: Option<Activation>,
    /// Width and number of heads of the image tower.
    pub image: TowerSettings,
    /// The same of the text tower.
    pub text: TowerSettings,
}

/// Settings of one tower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TowerSettings {
    /// Width of the residual stream, to compare with the tensors.
    pub width: Option<usize>,
    /// Number of attention heads.
    pub heads: Option<usize>,
}

impl TowerSettings {
    /// These settings, completed by others.
    pub fn or(self, other: Self) -> Self {
        Self { width: self.width.or(other.width), heads: self.heads.or(other.heads) }
    }
}

/// Keys of the metadata of our own files.
pub const ACTIVATION: &str = "activation";
pub const IMAGE_HEADS: &str = "image_heads";
pub const TEXT_HEADS: &str = "text_heads";

/// Reads the metadata of a file that we wrote; nothing if it is none. What was only assumed when
/// the file was written is not in it.
pub fn in_metadata(metadata: &HashMap<String, String>) -> Option<ModelSettings> {
    let activation = match metadata.get(ACTIVATION).map(String::as_str) {
        Some("quick_gelu") => Some(Activation::QuickGelu),
        Some("gelu") => Some(Activation::Gelu),
        _ => None,
    };
    let tower = |key: &str| TowerSettings {
        width: None,
        heads: metadata.get(key).and_then(|heads| heads.parse().ok()),
    };
    let (image, text) = (tower(IMAGE_HEADS), tower(TEXT_HEADS));
    let is_ours = activation.is_some() || image.heads.is_some();
    is_ours.then_some(ModelSettings { origin: None, activation, image, text })
}

/// Reads the settings out of a configuration; `Err` says what is wrong with it.
type Parse = fn(&Value) -> Result<ModelSettings, String>;

/// Reads `config.json` (Hugging Face) or `open_clip_config.json` (OpenCLIP) beside a weight file;
/// for ONNX files also in the folder above, where collections of exports have it.
pub fn beside(file: &Path, layout: Layout, format: Format) -> Result<ModelSettings, WeightsError> {
    let (name, parse): (_, Parse) = match layout {
        Layout::HuggingFace => ("config.json", parse_hugging_face),
        Layout::OpenAi | Layout::OpenClip => ("open_clip_config.json", parse_open_clip),
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let config = folder.join(name);
    if config.is_file() {
        return read(config, parse);
    }
    let above = folder.join("..").join(name);
    if format == Format::Onnx && above.is_file() {
        // Whatever else lies there is none of ours.
        return Ok(read(above, parse).unwrap_or_default());
    }
    Ok(ModelSettings::default())
}

fn read(config: PathBuf, parse: Parse) -> Result<ModelSettings, WeightsError> {
    let problem =
        |reason: String| WeightsError::Format { file: config.clone(), reason: reason.clone() };
    let text = fs::read_to_string(&config)
        .map_err(|source| WeightsError::Read { file: config.clone(), source })?;
    let json = serde_json::from_str(&text)
        .map_err(|error| problem(format!("the configuration is no JSON: {error}")))?;
    let settings = parse(&json).map_err(problem)?;
    Ok(ModelSettings { origin: Some(config), ..settings })
}

fn number(json: &Value, key: &str) -> Option<usize> {
    json.get(key)?.as_u64().map(|number| number as usize)
}

fn parse_hugging_face(json: &Value) -> Result<ModelSettings, String> {
    // The configuration of a single tower is flat.
    let flat = match (json.get("hidden_size"), json.get("patch_size")) {
        (None, _) => "",
        (Some(_), Some(_)) => "vision_config",
        (Some(_), None) => "text_config",
    };
    let tower = |key: &str| {
        let config = if key == flat { Some(json) } else { json.get(key) };
        let Some(config) = config else { return (TowerSettings::default(), None) };
        let (width, heads) = (number(config, "hidden_size"), number(config, "num_attention_heads"));
        // The library's own default, which older files leave out.
        let activation = config.get("hidden_act").map_or(Some("quick_gelu"), Value::as_str);
        (TowerSettings { width, heads }, activation.map(str::to_owned))
    };
    let ((image, image_activation), (text, text_activation)) =
        (tower("vision_config"), tower("text_config"));
    let activation = match (image_activation, text_activation) {
        (Some(image), Some(text)) if image != text => {
            return Err(format!("the towers differ in `hidden_act`: `{image}` and `{text}`"));
        }
        (image, text) => image.or(text),
    };
    let activation = activation.map(|name| match name.as_str() {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        _ => Err(format!("the activation `{name}` is none of quick_gelu, gelu")),
    });
    Ok(ModelSettings { origin: None, activation: activation.transpose()?, image, text })
}

fn parse_open_clip(json: &Value) -> Result<ModelSettings, String> {
    let Some(model) = json.get("model_cfg") else {
        return Err("it has no `model_cfg`, as OpenCLIP's configurations do".to_owned());
    };
    let quick = model.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false);
    let part = |key: &str| model.get(key).unwrap_or(&Value::Null);
    let (image, text) = (part("vision_cfg"), part("text_cfg"));
    let image_width = number(image, "width");
    let head_width = number(image, "head_width").unwrap_or(64).max(1);
    Ok(ModelSettings {
        origin: None,
        activation: Some(if quick { Activation::QuickGelu } else { Activation::Gelu }),
        image: TowerSettings {
            width: image_width,
            heads: image_width.map(|width| width / head_width),
        },
        text: TowerSettings { width: number(text, "width"), heads: number(text, "heads") },
    })
}
