//! OpenCLIP's `open_clip_config.json`: the dimensions of a model, its variations, and how pictures
//! are prepared. What is not implemented here, or not known, is refused by name.

use serde_json::{Map, Value, json};

use super::model_settings::{ModelSettings, TowerSettings, normalization, refusal, side};
use crate::config::{Activation, HEAD_WIDTH, ResizeMode};

/// What a key may say.
enum Rule {
    /// Read elsewhere, of no account for inference, or only in effect together with a key that is
    /// refused.
    Any,
    /// One of these values, or `null`.
    One(&'static [&'static str]),
    /// `false` or `null`.
    Off,
    /// Nothing: `null`, or an empty object.
    Nothing,
    /// The epsilon of every published CLIP.
    Epsilon,
}

/// Tokenizers of Hugging Face that are CLIP's.
const CLIP_TOKENIZER: &str = "openai/clip-vit";

/// Reads a whole configuration.
pub fn parse(json: &Value) -> ModelSettings {
    let mut settings = ModelSettings::default();
    let Some(model) = json.get("model_cfg") else {
        settings.problems.push("it has no `model_cfg`, as OpenCLIP's configurations do".to_owned());
        return settings;
    };
    let empty = Map::new();
    let part = |json: &Value, key: &str| {
        json.get(key).and_then(Value::as_object).unwrap_or(&empty).clone()
    };
    let (image, text) = (part(model, "vision_cfg"), part(model, "text_cfg"));
    let preprocess = part(json, "preprocess_cfg");
    let problems = &mut settings.problems;
    check("model_cfg", &part(json, "model_cfg"), of_model, problems);
    check("model_cfg.vision_cfg", &image, of_image_tower, problems);
    check("model_cfg.text_cfg", &text, of_text_tower, problems);
    check("preprocess_cfg", &preprocess, of_preprocessing, problems);

    let quick = model.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false);
    settings.activation = Some(if quick { Activation::QuickGelu } else { Activation::Gelu });
    settings.embed_dim = number(model.get("embed_dim"));
    settings.image = tower(&image);
    settings.text = tower(&text);
    let head_width = number(image.get("head_width")).unwrap_or(HEAD_WIDTH).max(1);
    settings.image.heads = settings.image.width.map(|width| width / head_width);
    settings.text.heads = number(text.get("heads"));

    normalization(&Value::Object(preprocess.clone()), ["mean", "std"], &mut settings);
    if let Some(size) = preprocess.get("size").filter(|size| !size.is_null()) {
        let told = settings.image.image_size;
        match side(size) {
            Some(size) if told.is_none_or(|told| told == size) => {
                settings.image.image_size = Some(size);
            }
            _ => settings.problems.push(refusal(
                "preprocess_cfg.size",
                size,
                "the size of the model, as a square",
            )),
        }
    }
    settings.resize = match preprocess.get("resize_mode").and_then(Value::as_str) {
        Some("squash") => Some(ResizeMode::Squash),
        Some("shortest") => Some(ResizeMode::Shortest),
        _ => None,
    };
    settings
}

fn number(value: Option<&Value>) -> Option<usize> {
    value?.as_u64().map(|number| number as usize)
}

/// Numbers that the tensors have as well.
fn tower(json: &Map<String, Value>) -> TowerSettings {
    let width = number(json.get("width"));
    let ratio = json.get("mlp_ratio").and_then(Value::as_f64);
    TowerSettings {
        heads: None,
        width,
        // A list is the depth of a ResNet's stages.
        layers: number(json.get("layers")),
        // Truncated, as OpenCLIP does.
        mlp_width: width.zip(ratio).map(|(width, ratio)| (width as f64 * ratio) as usize),
        image_size: json.get("image_size").and_then(side),
        patch_size: json.get("patch_size").and_then(side),
        context_length: number(json.get("context_length")),
        vocab_size: number(json.get("vocab_size")),
    }
}

/// Compares each key with what is implemented.
fn check(
    part: &str,
    json: &Map<String, Value>,
    rule: fn(&str) -> Option<Rule>,
    problems: &mut Vec<String>,
) {
    for (key, value) in json {
        let name = format!("{part}.{key}");
        let is_null = value.is_null();
        match rule(key) {
            None => problems.push(format!(
                "`{name}` is not known; remove it if it changes nothing, else the model is not supported"
            )),
            Some(Rule::Any) => {}
            _ if is_null => {}
            Some(Rule::One(values)) => {
                let text = value.as_str().unwrap_or_default();
                if !values.contains(&text) {
                    problems.push(refusal(&name, value, &format!("\"{}\"", values.join("\" or \""))));
                }
            }
            Some(Rule::Off) if value == &json!(false) => {}
            Some(Rule::Off) => problems.push(refusal(&name, value, "false")),
            Some(Rule::Nothing) if value == &json!({}) => {}
            Some(Rule::Nothing) if key == "hf_tokenizer_name" => {
                if !value.as_str().is_some_and(|name| name.starts_with(CLIP_TOKENIZER)) {
                    problems.push(refusal(&name, value, "CLIP's own tokenizer"));
                }
            }
            Some(Rule::Nothing) => problems.push(refusal(&name, value, "null")),
            Some(Rule::Epsilon) => {
                let is_usual = value.as_object().is_some_and(|arguments| {
                    arguments.iter().all(|(key, value)| {
                        key == "eps" && value.as_f64() == Some(crate::config::LAYER_NORM_EPSILON)
                    })
                });
                if !is_usual {
                    problems.push(refusal(&name, value, "an `eps` of 1e-5"));
                }
            }
        }
    }
}

fn of_model(key: &str) -> Option<Rule> {
    Some(match key {
        "embed_dim"
        | "vision_cfg"
        | "text_cfg"
        | "quick_gelu"
        | "custom_text"
        | "init_logit_scale"
        | "nonscalar_logit_scale"
        | "cast_dtype"
        | "output_dict" => Rule::Any,
        "init_logit_bias" | "multimodal_cfg" => Rule::Nothing,
        _ => return None,
    })
}

/// What both towers may have.
fn of_tower(key: &str) -> Option<Rule> {
    Some(match key {
        "layers" | "width" | "mlp_ratio" | "output_tokens" => Rule::Any,
        "ls_init_value" | "act_kwargs" => Rule::Nothing,
        "norm_kwargs" => Rule::Epsilon,
        "final_ln_after_pool"
        | "qk_norm"
        | "scaled_cosine_attn"
        | "scale_heads"
        | "scale_attn_inner"
        | "scale_attn"
        | "scale_fc" => Rule::Off,
        "block_type" => Rule::One(&["default"]),
        _ => return None,
    })
}

fn of_image_tower(key: &str) -> Option<Rule> {
    Some(match key {
        "image_size"
        | "patch_size"
        | "head_width"
        | "patch_dropout"
        | "attn_pooler_queries"
        | "attn_pooler_heads" => Rule::Any,
        "timm_model_name" => Rule::Nothing,
        _ if key.starts_with("timm_") => Rule::Any,
        "attentional_pool" | "global_average_pool" | "input_patchnorm" | "no_ln_pre" => Rule::Off,
        "pool_type" => Rule::One(&["tok"]),
        "pos_embed_type" => Rule::One(&["learnable"]),
        _ => return of_tower(key),
    })
}

fn of_text_tower(key: &str) -> Option<Rule> {
    Some(match key {
        "context_length" | "vocab_size" | "heads" | "pad_id" | "eos_id" | "correct_cls_mask" => {
            Rule::Any
        }
        "hf_model_name" | "hf_tokenizer_name" | "tokenizer_kwargs" | "tokenizer_mode" => {
            Rule::Nothing
        }
        "hf_model_pretrained" | "hf_pooler_type" | "hf_proj_type" | "pooler_type" => Rule::Any,
        "embed_cls" | "no_causal_mask" | "proj_bias" => Rule::Off,
        "pool_type" => Rule::One(&["argmax"]),
        "proj_type" => Rule::One(&["linear"]),
        _ => return of_tower(key),
    })
}

fn of_preprocessing(key: &str) -> Option<Rule> {
    Some(match key {
        // What fills up pictures that are not cut square, which is not supported anyway.
        "mean" | "std" | "size" | "fill_color" => Rule::Any,
        "interpolation" => Rule::One(&["bicubic"]),
        "resize_mode" => Rule::One(&["shortest", "squash"]),
        "mode" => Rule::One(&["RGB"]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_pass() {
        let published = [
            // LAION's ViT-L/14 on LAION-2B, which has its own normalisation.
            json!({"model_cfg": {"embed_dim": 768,
                "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}},
                "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}),
            // LAION's ViT-H/14.
            json!({"model_cfg": {"embed_dim": 1024,
                "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}},
                "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}}),
            // ViT-bigG/14.
            json!({"model_cfg": {"embed_dim": 1280,
                "vision_cfg": {"image_size": 224, "layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231, "patch_size": 14},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1280, "heads": 20, "layers": 32}}}),
            // DFN's ViT-H/14 for 378 pixels.
            json!({"model_cfg": {"embed_dim": 1024, "quick_gelu": true,
                "vision_cfg": {"image_size": 378, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}},
                "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
                    "interpolation": "bicubic", "resize_mode": "squash", "size": [378, 378], "mode": "RGB"}}),
            // As OpenCLIP writes it today, every key with its default.
            json!({"model_cfg": {"embed_dim": 512, "quick_gelu": true, "init_logit_scale": 2.659, "init_logit_bias": null, "cast_dtype": null,
                "vision_cfg": {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": [224, 224],
                    "ls_init_value": null, "patch_dropout": 0.5, "attentional_pool": false, "attn_pooler_queries": 256, "attn_pooler_heads": 8,
                    "no_ln_pre": false, "pos_embed_type": "learnable", "final_ln_after_pool": false, "pool_type": "tok", "output_tokens": false,
                    "act_kwargs": null, "norm_kwargs": {"eps": 1e-5}, "timm_model_name": null, "timm_pool": "avg", "timm_drop": 0.0},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "hf_tokenizer_name": null, "tokenizer_kwargs": null, "width": 512,
                    "heads": 8, "layers": 12, "mlp_ratio": 4.0, "ls_init_value": null, "embed_cls": false, "pad_id": 0, "no_causal_mask": false,
                    "final_ln_after_pool": false, "pool_type": "argmax", "proj_type": "linear", "proj_bias": false, "output_tokens": false,
                    "hf_model_name": null, "hf_model_pretrained": true, "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}}}),
        ];
        for config in published {
            assert_eq!(parse(&config).problems, Vec::<String>::new(), "{config}");
        }
    }

    #[test]
    fn variations_of_the_model_are_refused_by_name_and_value() {
        for (part, key, value) in [
            ("vision_cfg", "pool_type", json!("avg")),
            ("vision_cfg", "no_ln_pre", json!(true)),
            ("vision_cfg", "attentional_pool", json!(true)),
            ("vision_cfg", "attentional_pool", json!("parallel")),
            ("vision_cfg", "global_average_pool", json!(true)),
            ("vision_cfg", "input_patchnorm", json!(true)),
            ("vision_cfg", "pos_embed_type", json!("sin_cos_2d")),
            ("vision_cfg", "ls_init_value", json!(0.1)),
            ("vision_cfg", "timm_model_name", json!("vit_base_patch16_siglip_224")),
            ("vision_cfg", "norm_kwargs", json!({"eps": 1e-6})),
            ("vision_cfg", "qk_norm", json!(true)),
            ("vision_cfg", "rope", json!(true)),
            ("text_cfg", "no_causal_mask", json!(true)),
            ("text_cfg", "pool_type", json!("last")),
            ("text_cfg", "embed_cls", json!(true)),
            ("text_cfg", "proj_type", json!("none")),
            ("text_cfg", "proj_bias", json!(true)),
            ("text_cfg", "act_kwargs", json!({"approximate": "tanh"})),
            ("text_cfg", "hf_tokenizer_name", json!("facebook/xlm-v-base")),
            ("text_cfg", "hf_model_name", json!("xlm-roberta-base")),
            ("text_cfg", "tokenizer_kwargs", json!({"strip_sep_token": true})),
        ] {
            let config = json!({"model_cfg": {part: {key: value}}});
            let problems = parse(&config).problems;
            assert_eq!(problems.len(), 1, "{config}: {problems:?}");
            assert!(problems[0].contains(&format!("`model_cfg.{part}.{key}`")), "{problems:?}");
        }
        for (key, value) in [
            ("interpolation", json!("bilinear")),
            ("resize_mode", json!("longest")),
            ("mean", json!([0.5, 0.5])),
            ("std", json!([0.5, 0.0, 0.5])),
            ("size", json!([224, 336])),
            ("sharpen", json!(true)),
        ] {
            let config = json!({"model_cfg": {}, "preprocess_cfg": {key: value}});
            let problems = parse(&config).problems;
            assert_eq!(problems.len(), 1, "{config}: {problems:?}");
            assert!(problems[0].contains(key), "{problems:?}");
        }
        for key in ["init_logit_bias", "multimodal_cfg", "experts"] {
            let config = json!({"model_cfg": {key: -10}});
            assert!(parse(&config).problems[0].contains(key), "{config}");
        }
        assert!(parse(&json!({})).problems[0].contains("model_cfg"));
    }

    #[test]
    fn preprocessing_is_read() {
        let config = json!({"model_cfg": {"vision_cfg": {"image_size": 336}},
            "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "resize_mode": "squash", "size": 336}});
        let settings = parse(&config);
        assert_eq!(settings.problems, Vec::<String>::new());
        assert_eq!(settings.image_mean, Some([0.5, 0.4, 0.3]));
        assert_eq!(settings.image_std, Some([0.2, 0.2, 0.1]));
        assert_eq!(settings.resize, Some(ResizeMode::Squash));
        let config = json!({"model_cfg": {"vision_cfg": {"image_size": 336}}, "preprocess_cfg": {"size": 224}});
        assert!(parse(&config).problems[0].contains("preprocess_cfg.size"));
    }
}
