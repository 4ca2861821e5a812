//! Hugging Face's `config.json`, `preprocessor_config.json` and `tokenizer_config.json`. They have
//! dozens of keys that say nothing about CLIP; those that change results are read, or refused by
//! name where they ask for something else than CLIP.

use serde_json::{Value, json};

use super::model_settings::{ModelSettings, TowerSettings, normalization, refusal, side};
use crate::config::{Activation, LAYER_NORM_EPSILON, ResizeMode};

/// Types of models whose towers are CLIP's.
const MODEL_TYPES: [&str; 3] = ["clip", "clip_vision_model", "clip_text_model"];

/// End of text in CLIP's vocabulary, and what older configurations have instead, which stands for
/// the largest id.
const END_OF_TEXT: [u64; 2] = [49_407, 2];

/// Reads `config.json`.
pub fn model(json: &Value) -> ModelSettings {
    let mut settings = ModelSettings::default();
    // The configuration of a single tower is flat.
    let flat = match (json.get("hidden_size"), json.get("patch_size")) {
        (None, _) => "",
        (Some(_), Some(_)) => "vision_config",
        (Some(_), None) => "text_config",
    };
    refuse_other_type("model_type", json, &mut settings.problems);
    let mut activations = Vec::new();
    for key in ["vision_config", "text_config"] {
        let config = if key == flat { Some(json) } else { json.get(key) };
        let Some(config) = config.filter(|config| config.is_object()) else { continue };
        refuse_other_type(&format!("{key}.model_type"), config, &mut settings.problems);
        let tower = tower(key, config, &mut settings.problems);
        if key == "vision_config" {
            settings.image = tower
        } else {
            settings.text = tower
        }
        // The library's own default, which older files leave out.
        let activation = config.get("hidden_act").map_or(Some("quick_gelu"), Value::as_str);
        activations.extend(activation.map(str::to_owned));
    }
    let embed_dim = json.get("projection_dim").and_then(Value::as_u64);
    settings.embed_dim = embed_dim.map(|number| number as usize);
    if let [image, text] = &activations[..]
        && image != text
    {
        settings
            .problems
            .push(format!("the towers differ in `hidden_act`: `{image}` and `{text}`"));
    }
    settings.activation = match activations.first().map(String::as_str) {
        None => None,
        Some("quick_gelu") => Some(Activation::QuickGelu),
        Some("gelu") => Some(Activation::Gelu),
        Some(other) => {
            let implemented = "\"quick_gelu\" or \"gelu\"";
            settings.problems.push(refusal("hidden_act", &json!(other), implemented));
            None
        }
    };
    settings
}

fn refuse_other_type(key: &str, json: &Value, problems: &mut Vec<String>) {
    let kind = json.get("model_type").filter(|kind| !kind.is_null());
    if let Some(kind) = kind.filter(|kind| !MODEL_TYPES.iter().any(|known| *kind == known)) {
        problems.push(refusal(key, kind, "\"clip\""));
    }
}

fn tower(key: &str, json: &Value, problems: &mut Vec<String>) -> TowerSettings {
    let number = |key: &str| json.get(key).and_then(Value::as_u64).map(|number| number as usize);
    let mut expect = |name: &str, implemented: &str, is_right: fn(&Value) -> bool| {
        if let Some(value) = json.get(name).filter(|value| !value.is_null() && !is_right(value)) {
            problems.push(refusal(&format!("{key}.{name}"), value, implemented));
        }
    };
    expect("layer_norm_eps", "1e-5", |value| value.as_f64() == Some(LAYER_NORM_EPSILON));
    expect("num_channels", "3", |value| value == &json!(3));
    if key == "text_config" {
        let last = json.get("vocab_size").and_then(Value::as_u64).unwrap_or(0).wrapping_sub(1);
        let end = json.get("eos_token_id").filter(|end| !end.is_null());
        let is_largest =
            |end: &&Value| end.as_u64().is_some_and(|id| id == last || END_OF_TEXT.contains(&id));
        problems.extend(end.filter(|end| !is_largest(end)).map(|end| {
            refusal(&format!("{key}.eos_token_id"), end, "the largest id, CLIP's 49407,")
        }));
    }
    TowerSettings {
        heads: number("num_attention_heads"),
        width: number("hidden_size"),
        layers: number("num_hidden_layers"),
        mlp_width: number("intermediate_size"),
        image_size: json.get("image_size").and_then(side),
        patch_size: json.get("patch_size").and_then(side),
        context_length: number("max_position_embeddings"),
        vocab_size: number("vocab_size"),
    }
}

/// Reads `preprocessor_config.json`.
pub fn preprocessor(json: &Value) -> ModelSettings {
    /// Bicubic in Pillow's numbers.
    const BICUBIC: u64 = 3;
    let mut settings = ModelSettings::default();
    normalization(json, ["image_mean", "image_std"], &mut settings);
    let problems = &mut settings.problems;
    for kind in ["image_processor_type", "feature_extractor_type"] {
        let value = json.get(kind).and_then(Value::as_str).filter(|kind| !kind.starts_with("CLIP"));
        problems.extend(value.map(|value| refusal(kind, &json!(value), "CLIP's")));
    }
    for key in ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"] {
        if json.get(key) == Some(&json!(false)) {
            problems.push(refusal(key, &json!(false), "true"));
        }
    }
    if let Some(filter) = json.get("resample").filter(|filter| filter.as_u64() != Some(BICUBIC)) {
        problems.push(refusal("resample", filter, "3 (bicubic)"));
    }
    if let Some(factor) = json.get("rescale_factor") {
        let is_usual = factor.as_f64().is_some_and(|factor| (factor * 255.0 - 1.0).abs() < 1e-6);
        if !is_usual {
            problems.push(refusal("rescale_factor", factor, "1/255"));
        }
    }
    let crop = json.get("crop_size").and_then(side);
    if let Some(value) = json.get("crop_size").filter(|_| crop.is_none()) {
        problems.push(refusal("crop_size", value, "a square"));
    }
    settings.image.image_size = crop;
    if let Some(size) = json.get("size").filter(|size| !size.is_null()) {
        let shortest = size.get("shortest_edge").or(Some(size).filter(|size| size.is_u64()));
        let (resized, resize) = match shortest {
            Some(edge) => (side(edge), ResizeMode::Shortest),
            None => (side(size), ResizeMode::Squash),
        };
        if resized.is_some() && crop.is_none_or(|crop| Some(crop) == resized) {
            settings.image.image_size = resized;
            settings.resize = Some(resize);
        } else {
            problems.push(refusal("size", size, "the size of the crop"));
        }
    }
    settings
}

/// Reads `tokenizer_config.json`.
pub fn tokenizer(json: &Value) -> ModelSettings {
    let mut settings = ModelSettings::default();
    let class = json.get("tokenizer_class").filter(|class| !class.is_null());
    let is_clip = |class: &&Value| class.as_str().is_some_and(|name| name.starts_with("CLIP"));
    if let Some(class) = class.filter(|class| !is_clip(class)) {
        settings.problems.push(refusal("tokenizer_class", class, "CLIP's own tokenizer"));
    }
    if json.get("do_lower_case") == Some(&json!(false)) {
        settings.problems.push(refusal("do_lower_case", &json!(false), "true"));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_pass() {
        let openai = json!({"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 512, "logit_scale_init_value": 2.6592,
            "text_config": {"attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "hidden_act": "quick_gelu",
                "hidden_size": 512, "intermediate_size": 2048, "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
                "num_attention_heads": 8, "num_hidden_layers": 12, "projection_dim": 512, "vocab_size": 49408, "top_k": 50},
            "text_config_dict": null,
            "vision_config": {"hidden_act": "quick_gelu", "hidden_size": 768, "image_size": 224, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
                "model_type": "clip_vision_model", "num_attention_heads": 12, "num_channels": 3, "num_hidden_layers": 12, "patch_size": 16}});
        let settings = model(&openai);
        assert_eq!(settings.problems, Vec::<String>::new());
        assert_eq!(settings.activation, Some(Activation::QuickGelu));
        assert_eq!((settings.image.heads, settings.text.heads), (Some(12), Some(8)));
        assert_eq!((settings.image.mlp_width, settings.embed_dim), (Some(3072), Some(512)));
        for config in [
            // The older form, and the newer one.
            json!({"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor",
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}),
            json!({"crop_size": {"height": 336, "width": 336}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true,
                "do_resize": true, "image_processor_type": "CLIPImageProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "size": {"shortest_edge": 336}}),
        ] {
            let settings = preprocessor(&config);
            assert_eq!(settings.problems, Vec::<String>::new(), "{config}");
            assert_eq!(settings.resize, Some(ResizeMode::Shortest));
            assert!(settings.image_mean.is_some() && settings.image.image_size.is_some());
        }
        let squashed = preprocessor(&json!({"size": {"height": 224, "width": 224}}));
        assert_eq!(
            (squashed.resize, squashed.image.image_size),
            (Some(ResizeMode::Squash), Some(224))
        );
        for class in ["CLIPTokenizer", "CLIPTokenizerFast"] {
            let config = json!({"tokenizer_class": class, "do_lower_case": true});
            assert_eq!(tokenizer(&config).problems, Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_not_clips_is_refused_by_name() {
        for (config, name) in [
            (json!({"model_type": "siglip"}), "model_type"),
            (json!({"model_type": "metaclip_2"}), "model_type"),
            (json!({"model_type": "chinese_clip"}), "model_type"),
            (json!({"text_config": {"model_type": "xlm-roberta"}}), "text_config.model_type"),
            (json!({"vision_config": {"layer_norm_eps": 1e-6}}), "vision_config.layer_norm_eps"),
            (json!({"vision_config": {"num_channels": 4}}), "vision_config.num_channels"),
            (json!({"text_config": {"eos_token_id": 49406}}), "text_config.eos_token_id"),
            (json!({"text_config": {"hidden_act": "gelu_new"}}), "hidden_act"),
            (json!({"text_config": {"hidden_act": "gelu"}, "vision_config": {}}), "hidden_act"),
        ] {
            let problems = model(&config).problems;
            assert!(problems.len() == 1 && problems[0].contains(name), "{config}: {problems:?}");
        }
        for (config, name) in [
            (json!({"resample": 2}), "resample"),
            (json!({"do_normalize": false}), "do_normalize"),
            (json!({"do_rescale": false}), "do_rescale"),
            (json!({"do_resize": false}), "do_resize"),
            (json!({"do_center_crop": false}), "do_center_crop"),
            (json!({"rescale_factor": 0.00784}), "rescale_factor"),
            (json!({"size": {"shortest_edge": 256}, "crop_size": 224}), "size"),
            (json!({"crop_size": {"height": 224, "width": 336}}), "crop_size"),
            (json!({"image_std": [0.0, 1.0, 1.0]}), "image_std"),
            (json!({"image_processor_type": "SiglipImageProcessor"}), "image_processor_type"),
        ] {
            let problems = preprocessor(&config).problems;
            assert!(problems.len() == 1 && problems[0].contains(name), "{config}: {problems:?}");
        }
        for (config, name) in [
            (json!({"tokenizer_class": "XLMRobertaTokenizer"}), "tokenizer_class"),
            (json!({"tokenizer_class": "CLIPTokenizer", "do_lower_case": false}), "do_lower_case"),
        ] {
            let problems = tokenizer(&config).problems;
            assert!(problems.len() == 1 && problems[0].contains(name), "{config}: {problems:?}");
        }
    }
}
