//! What a configuration, or the metadata of a weight file, says and the tensors do not.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::{Activation, Preprocessing, ResizeMode};

/// Settings that cannot be read off the tensors, and numbers that can, to compare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSettings {
    /// Where they are from, if not from the weight file.
    pub origin: Option<PathBuf>,
    /// The same of the preprocessing, which may have a file of its own.
    pub preprocessing_origin: Option<PathBuf>,
    /// Whether one of them is in the folder above the weight file's.
    pub above: bool,
    /// Activation of the MLPs.
    pub activation: Option<Activation>,
    /// The image tower.
    pub image: TowerSettings,
    /// The text tower.
    pub text: TowerSettings,
    /// Width of the space that images and texts share.
    pub embed_dim: Option<usize>,
    /// Mean of each channel that pixels are normalised with.
    pub image_mean: Option<[f32; 3]>,
    /// Standard deviation of each channel.
    pub image_std: Option<[f32; 3]>,
    /// How pictures are brought to the model's size.
    pub resize: Option<ResizeMode>,
    /// Settings that this crate does not implement, by name and value.
    pub problems: Vec<String>,
}

/// Settings of one tower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TowerSettings {
    /// Number of attention heads, which is in no tensor.
    pub heads: Option<usize>,
    /// Width of the residual stream.
    pub width: Option<usize>,
    /// Number of blocks.
    pub layers: Option<usize>,
    /// Width of the MLPs' inner layer.
    pub mlp_width: Option<usize>,
    /// Side of the input in pixels.
    pub image_size: Option<usize>,
    /// Side of a patch in pixels.
    pub patch_size: Option<usize>,
    /// Longest text in tokens.
    pub context_length: Option<usize>,
    /// Number of token ids.
    pub vocab_size: Option<usize>,
}

impl TowerSettings {
    /// These settings, completed by others.
    pub fn or(self, other: Self) -> Self {
        Self {
            heads: self.heads.or(other.heads),
            width: self.width.or(other.width),
            layers: self.layers.or(other.layers),
            mlp_width: self.mlp_width.or(other.mlp_width),
            image_size: self.image_size.or(other.image_size),
            patch_size: self.patch_size.or(other.patch_size),
            context_length: self.context_length.or(other.context_length),
            vocab_size: self.vocab_size.or(other.vocab_size),
        }
    }
}

impl ModelSettings {
    /// How pictures are prepared; `None` if nothing is said about it.
    pub fn preprocessing(&self) -> Option<Preprocessing> {
        let Self { image_mean, image_std, resize, .. } = self;
        let usual = Preprocessing::default();
        let is_said = image_mean.is_some() || image_std.is_some() || resize.is_some();
        is_said.then(|| Preprocessing {
            image_mean: image_mean.unwrap_or(usual.image_mean),
            image_std: image_std.unwrap_or(usual.image_std),
            resize: resize.unwrap_or(usual.resize),
        })
    }

    /// These settings, completed by others. The origin is that of the first that has one.
    pub fn or(mut self, other: Self) -> Self {
        self.problems.extend(other.problems);
        Self {
            origin: self.origin.or(other.origin),
            preprocessing_origin: self.preprocessing_origin.or(other.preprocessing_origin),
            above: self.above || other.above,
            activation: self.activation.or(other.activation),
            image: self.image.or(other.image),
            text: self.text.or(other.text),
            embed_dim: self.embed_dim.or(other.embed_dim),
            image_mean: self.image_mean.or(other.image_mean),
            image_std: self.image_std.or(other.image_std),
            resize: self.resize.or(other.resize),
            problems: self.problems,
        }
    }
}

/// Keys of the metadata of our own files.
pub const ACTIVATION: &str = "activation";
pub const IMAGE_HEADS: &str = "image_heads";
pub const TEXT_HEADS: &str = "text_heads";
pub const IMAGE_MEAN: &str = "image_mean";
pub const IMAGE_STD: &str = "image_std";
pub const RESIZE_MODE: &str = "resize_mode";

/// Reads the metadata of a file that we wrote; `None` if it is another. What was only assumed when
/// the file was written is not in it.
pub fn in_metadata(metadata: &HashMap<String, String>) -> Option<ModelSettings> {
    let activation = match metadata.get(ACTIVATION).map(String::as_str) {
        Some("quick_gelu") => Some(Activation::QuickGelu),
        Some("gelu") => Some(Activation::Gelu),
        _ => None,
    };
    let tower = |key: &str| TowerSettings {
        heads: metadata.get(key).and_then(|heads| heads.parse().ok()),
        ..TowerSettings::default()
    };
    let channels = |key: &str| channels(&serde_json::from_str(metadata.get(key)?).ok()?);
    let (image, text) = (tower(IMAGE_HEADS), tower(TEXT_HEADS));
    let states_something = activation.is_some() || image.heads.is_some();
    states_something.then(|| ModelSettings {
        activation,
        image,
        text,
        image_mean: channels(IMAGE_MEAN),
        image_std: channels(IMAGE_STD),
        resize: match metadata.get(RESIZE_MODE).map(String::as_str) {
            Some("squash") => Some(ResizeMode::Squash),
            Some("shortest") => Some(ResizeMode::Shortest),
            _ => None,
        },
        ..ModelSettings::default()
    })
}

/// What a configuration says that is not implemented.
pub fn refusal(key: &str, value: &Value, implemented: &str) -> String {
    format!("`{key}` is {value}, and only {implemented} is supported")
}

/// A whole number, or a square of them such as `[224, 224]` or `{"height": 224, "width": 224}`.
pub fn side(value: &Value) -> Option<usize> {
    let number = |value: &Value| value.as_u64().map(|number| number as usize);
    match value {
        Value::Array(sides) => match &sides[..] {
            [one, other] if one == other => number(one),
            _ => None,
        },
        Value::Object(sides) => match (sides.get("height"), sides.get("width")) {
            (Some(one), Some(other)) if one == other => number(one),
            _ => None,
        },
        other => number(other),
    }
}

/// A number for each channel.
pub fn channels(value: &Value) -> Option<[f32; 3]> {
    let numbers = value.as_array()?.iter().map(|number| number.as_f64().map(|n| n as f32));
    let numbers: Vec<f32> = numbers.collect::<Option<_>>()?;
    numbers.try_into().ok().filter(|numbers: &[f32; 3]| numbers.iter().all(|n| n.is_finite()))
}

/// Mean and standard deviation under these keys of a configuration.
pub fn normalization(json: &Value, keys: [&str; 2], settings: &mut ModelSettings) {
    let mut read = |key: &str, least: f32| {
        let value = json.get(key).filter(|value| !value.is_null())?;
        let channels = channels(value).filter(|channels| channels.iter().all(|n| *n > least));
        if channels.is_none() {
            settings.problems.push(refusal(key, value, "a list of three numbers"));
        }
        channels
    };
    let (mean, std) = (read(keys[0], f32::NEG_INFINITY), read(keys[1], 0.0));
    (settings.image_mean, settings.image_std) = (mean, std);
}
