//! The configurations next to a weight file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::contents::Format;
use super::error::WeightsError;
use super::model_settings::ModelSettings;
use super::names::Layout;
use super::{hugging_face_config, open_clip_config};

/// Reads settings out of a configuration.
type Parse = fn(&Value) -> ModelSettings;

/// Reads the configurations next to a weight file: OpenCLIP's `open_clip_config.json`, or Hugging
/// Face's `config.json`, `preprocessor_config.json` and `tokenizer_config.json`; for ONNX files also
/// in the folder above, where collections of exports have them.
pub fn read(file: &Path, layout: Layout, format: Format) -> Result<ModelSettings, WeightsError> {
    let configurations: &[(&str, Parse)] = match layout {
        Layout::HuggingFace => &[
            ("config.json", hugging_face_config::model),
            ("preprocessor_config.json", hugging_face_config::preprocessor),
            ("tokenizer_config.json", hugging_face_config::tokenizer),
        ],
        Layout::OpenAi | Layout::OpenClip => &[("open_clip_config.json", open_clip_config::parse)],
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut settings = ModelSettings::default();
    for (name, parse) in configurations {
        let (beside, above) = (folder.join(name), folder.join("..").join(name));
        if beside.is_file() {
            let json = parse_file(&beside)?;
            settings = settings.or(parsed(beside, &json, *parse));
        } else if format == Format::Onnx
            && above.is_file()
            && let Some(json) = parse_file(&above).ok().filter(is_of_a_model)
        {
            let of_file = parsed(above, &json, *parse);
            settings = settings.or(ModelSettings { above: true, ..of_file });
        }
    }
    Ok(settings)
}

/// Whether a configuration is of a model or its inputs; folders above may hold anything.
fn is_of_a_model(json: &Value) -> bool {
    const KEYS: [&str; 6] = [
        "model_type",
        "vision_config",
        "text_config",
        "model_cfg",
        "image_mean",
        "tokenizer_class",
    ];
    KEYS.iter().any(|key| json.get(key).is_some())
}

fn parse_file(config: &Path) -> Result<Value, WeightsError> {
    let text = fs::read_to_string(config)
        .map_err(|source| WeightsError::Read { file: config.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| WeightsError::Format {
        file: config.to_owned(),
        reason: format!("the configuration is not valid JSON: {error}"),
    })
}

fn parsed(config: PathBuf, json: &Value, parse: Parse) -> ModelSettings {
    let mut settings = parse(json);
    let name = config.file_name().unwrap_or_default().to_string_lossy();
    for problem in &mut settings.problems {
        *problem = format!("`{name}` next to the weights: {problem}");
    }
    let preprocessing_origin = settings.preprocessing().map(|_| config.clone());
    ModelSettings { origin: Some(config), preprocessing_origin, ..settings }
}
