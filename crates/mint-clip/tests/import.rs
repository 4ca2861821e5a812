//! Every format and layout of weight files, against the outputs of the model they were made of.
//!
//! One random CLIP was saved in every way that users have it (`mint-golden/data/import.tar.xz`).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mint_clip::weights::{Format, LearnedPrompts, Origin, RawTensor, Reference, StoredLinear};
use mint_clip::{Activation, Checkpoint, Lanes, LoadOptions, WeightsError};
use mint_golden::{Bound, Recording, assert_close};

/// The scale of the model's logits, which exports of one tower leave out.
const LOGIT_SCALE: f32 = 99.472_07;

fn import(file: &str) -> PathBuf {
    let archive = mint_golden::path("import.tar.xz");
    mint_golden::unpack(&archive, Path::new(env!("CARGO_TARGET_TMPDIR"))).join("import").join(file)
}

fn open_with(files: &[&str], options: LoadOptions) -> Checkpoint {
    let files: Vec<PathBuf> = files.iter().map(|file| import(file)).collect();
    Checkpoint::open(&files, options).unwrap_or_else(|error| panic!("{error}"))
}

fn open(file: &str) -> Checkpoint {
    open_with(&[file], LoadOptions::default())
}

/// Compares outputs, and demands that exactly those of `expected` were compared.
#[track_caller]
fn check(checkpoint: &Checkpoint, prefix: &str, expected: &[&str]) {
    let reference = Reference::open(&import("io.safetensors"), prefix)
        .unwrap_or_else(|error| panic!("{error}"));
    let differences = reference
        .compare(checkpoint, &Device::flex(), &Lanes::new(1))
        .unwrap_or_else(|error| panic!("{error}"));
    let compared: BTreeSet<&str> =
        differences.iter().filter_map(|d| d.output.strip_prefix(prefix)).collect();
    for output in expected {
        assert!(compared.contains(output), "`{output}` was not compared, but {compared:?}");
    }
    for difference in differences {
        let bound = if difference.output.ends_with("logits_per_image") {
            Bound::LOGITS
        } else {
            Bound::TOWER
        };
        let limit = bound.limit(&[difference.magnitude]);
        assert!(difference.largest <= limit, "{:?}: {difference:?}", checkpoint.files());
    }
}

const IMAGE: [&str; 2] = ["image_embeds", "vision_class_tokens"];
const TEXT: [&str; 1] = ["text_embeds"];
const BOTH: [&str; 4] = ["image_embeds", "vision_class_tokens", "text_embeds", "logits_per_image"];

/// Compares numbers with those of another file, bit by bit.
#[track_caller]
fn check_same_numbers(checkpoint: &Checkpoint, other: &Checkpoint, except: &[&str]) {
    let file = checkpoint.files()[0].0.display();
    for name in checkpoint.names() {
        if except.contains(&name) {
            continue;
        }
        let read = |checkpoint: &Checkpoint| {
            let stored = checkpoint.stored(name).unwrap_or_else(|| panic!("{file}: `{name}`"));
            stored.read().expect("the file can be read")
        };
        assert_eq!(read(checkpoint), read(other), "{file}: `{name}`");
    }
}

#[test]
fn safetensors_load_in_all_layouts() {
    let canonical = open("openai.safetensors");
    check(&canonical, "", &BOTH);
    for file in ["hf.safetensors", "open_clip.safetensors"] {
        let checkpoint = open(file);
        assert_eq!(checkpoint.files()[0].1, Format::Safetensors);
        check(&checkpoint, "", &BOTH);
        check_same_numbers(&checkpoint, &canonical, &[]);
        check_same_numbers(&canonical, &checkpoint, &[]);
    }
    check(&open("openai_fp16.safetensors"), "fp16.", &BOTH);
}

#[test]
fn pytorch_archives_load() {
    let canonical = open("openai.safetensors");
    for file in ["hf_pytorch_model.bin", "openai_state_dict.pt"] {
        let checkpoint = open(file);
        assert_eq!(checkpoint.files()[0].1, Format::PyTorch);
        check(&checkpoint, "", &BOTH);
        check_same_numbers(&checkpoint, &canonical, &[]);
        check_same_numbers(&canonical, &checkpoint, &[]);
    }
}

#[test]
fn half_precision_checkpoints_of_every_age_hold_the_same_numbers() {
    let archive = open("openai_state_dict_fp16.pt");
    check(&archive, "mixed.", &BOTH);
    let others = [
        ("openai_state_dict_legacy.pt", Format::LegacyPyTorch),
        ("openai_torchscript.pt", Format::TorchScript),
        ("open_clip_epoch_3.pt", Format::PyTorch),
    ];
    for (file, format) in others {
        let checkpoint = open(file);
        assert_eq!(checkpoint.files()[0].1, format, "{file}");
        check(&checkpoint, "mixed.", &BOTH);
        check_same_numbers(&checkpoint, &archive, &[]);
        check_same_numbers(&archive, &checkpoint, &[]);
    }
}

#[test]
fn whole_models_load_from_onnx() {
    let canonical = open("openai.safetensors");
    let files = [
        "onnx_hf/model.onnx",
        "onnx_openai/legacy_full.onnx",
        "onnx_openai/dynamo_full/model.onnx",
    ];
    for file in files {
        let checkpoint = open(file);
        assert_eq!(checkpoint.files().len(), 1, "{file} needs no other file");
        assert_eq!(checkpoint.activation(), (Activation::QuickGelu, &Origin::File), "{file}");
        check(&checkpoint, "", &BOTH);
        // The exponential of the scale, as one exporter stores it, rounds its logarithm.
        check_same_numbers(&canonical, &checkpoint, &["logit_scale"]);
        let scale = checkpoint.logit_scale().expect("a scale");
        assert_eq!(scale.1, Origin::File, "{file}");
        assert_close("scale", &[scale.0], &[LOGIT_SCALE], Bound::OPERATION);
    }
}

#[test]
fn the_files_of_both_towers_load_together_and_find_each_other() {
    let canonical = open("openai.safetensors");
    let options = LoadOptions { logit_scale: Some(LOGIT_SCALE), ..LoadOptions::default() };
    let pairs = [
        ["onnx_hf/vision_model.onnx", "onnx_hf/text_model.onnx"],
        ["onnx_openai/legacy_visual.onnx", "onnx_openai/legacy_text.onnx"],
        ["onnx_openai/dynamo_visual.onnx", "onnx_openai/dynamo_text.onnx"],
    ];
    for pair in pairs {
        for files in [&pair[..], &pair[..1], &pair[1..]] {
            let checkpoint = open_with(files, options);
            assert_eq!(checkpoint.files().len(), 2, "{files:?}");
            check(&checkpoint, "", &BOTH);
            check_same_numbers(&canonical, &checkpoint, &["logit_scale"]);
        }
    }
    let scale = half::f16::from_f32(LOGIT_SCALE.ln()).to_f32().exp();
    let options = LoadOptions { logit_scale: Some(scale), ..options };
    check(&open_with(&["onnx_hf/vision_model_fp16.onnx"], options), "fp16.", &BOTH);
}

#[test]
fn a_scale_that_no_file_states_is_told_apart() {
    let pair = open("onnx_hf/vision_model.onnx");
    assert_eq!(pair.logit_scale().expect("a scale"), (100.0, Origin::Assumed));
}

#[test]
fn tensors_that_the_exporter_merged_are_found_by_all_their_names() {
    let checkpoint = open("onnx_hf/text_model_dedup.onnx");
    check(&checkpoint, "dedup.", &TEXT);
    let read = |name: &str| checkpoint.stored(name).expect(name).read().expect(name);
    let zeros = read("transformer.resblocks.1.attn.k_proj.bias");
    assert_eq!(zeros, read("transformer.resblocks.1.attn.q_proj.bias"));
}

#[test]
fn one_tower_is_compared_alone_and_refused_as_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("vision_model.onnx");
    std::fs::copy(import("onnx_hf/vision_model.onnx"), &alone).expect("a copy");
    let checkpoint = Checkpoint::open(&[alone], LoadOptions::default()).expect("it opens");
    check(&checkpoint, "", &IMAGE);
    let error = checkpoint.load(&Device::flex(), Lanes::new(1)).expect_err("a tower is missing");
    assert!(matches!(error, WeightsError::TowerMissing { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("vision_model.onnx") && message.contains("text tower"), "{message}");
}

#[test]
fn a_model_in_several_safetensors_files_loads_through_its_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = Recording::open_file(&import("hf.safetensors"));
    let names = whole.names();
    let mut map = serde_json::Map::new();
    for (part, names) in names.chunks(names.len().div_ceil(3)).enumerate() {
        let file = format!("model-{part}.safetensors");
        let mut tensors = mint_golden::EditableTensors::open(&import("hf.safetensors"));
        for name in whole.names() {
            if !names.contains(&name) {
                tensors.remove(&name);
            }
        }
        std::fs::write(folder.path().join(&file), tensors.bytes()).expect("a part");
        map.extend(names.iter().map(|name| (name.clone(), file.clone().into())));
    }
    let index = folder.path().join("model.safetensors.index.json");
    let text = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    std::fs::write(&index, text).expect("an index");
    std::fs::copy(import("config.json"), folder.path().join("config.json")).expect("a copy");
    let open = || Checkpoint::open(std::slice::from_ref(&index), LoadOptions::default());
    let checkpoint = open().expect("all parts are there");
    assert_eq!(checkpoint.files()[0].1, Format::ShardedSafetensors);
    assert_eq!(checkpoint.sources().len(), 4, "the index and three parts");
    check_same_numbers(&checkpoint, &self::open("openai.safetensors"), &[]);
    std::fs::remove_file(folder.path().join("model-1.safetensors")).expect("a part");
    let message = open().expect_err("a part is missing").to_string();
    assert!(message.contains("model-1.safetensors"), "{message}");
}

#[test]
fn activation_and_heads_come_from_the_configuration_beside_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, config) =
        (folder.path().join("m.safetensors"), folder.path().join("config.json"));
    std::fs::copy(import("hf.safetensors"), &weights).expect("a copy");
    let text = std::fs::read_to_string(import("config.json")).expect("a configuration");
    std::fs::write(&config, text.replace("quick_gelu", "gelu")).expect("a configuration");
    let open = || Checkpoint::open(std::slice::from_ref(&weights), LoadOptions::default());
    let checkpoint = open().expect("it fits");
    assert_eq!(checkpoint.activation(), (Activation::Gelu, &Origin::Beside(config.clone())));
    std::fs::write(&config, text.replace("\"hidden_size\": 64", "\"hidden_size\": 65"))
        .expect("a configuration");
    let message = open().expect_err("it is of another model").to_string();
    assert!(message.contains("belongs to another model"), "{message}");
    std::fs::write(&config, "{").expect("a configuration");
    let message = open().expect_err("it is damaged").to_string();
    assert!(message.contains("config.json"), "{message}");
}

#[test]
fn the_configuration_of_a_single_tower_is_flat_and_counts_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, config) =
        (folder.path().join("m.safetensors"), folder.path().join("config.json"));
    let mut tensors = mint_golden::EditableTensors::open(&import("hf.safetensors"));
    for name in Recording::open_file(&import("hf.safetensors")).names() {
        if !name.starts_with("vision_model.") && !name.starts_with("visual_projection.") {
            tensors.remove(&name);
        }
    }
    std::fs::write(&weights, tensors.bytes()).expect("a file");
    let settings = serde_json::json!({
        "hidden_size": 64, "num_attention_heads": 2, "patch_size": 8, "hidden_act": "gelu",
    });
    std::fs::write(&config, settings.to_string()).expect("a configuration");
    let checkpoint = Checkpoint::open(&[weights], LoadOptions::default()).expect("it fits");
    assert_eq!(checkpoint.activation(), (Activation::Gelu, &Origin::Beside(config)));
    assert_eq!(checkpoint.dimensions().vision.as_ref().map(|vision| vision.heads), Some(2));
}

#[test]
fn converted_files_hold_the_same_numbers_and_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["hf.safetensors", "openai_torchscript.pt", "onnx_openai/dynamo_full/model.onnx"];
    for (index, file) in files.iter().enumerate() {
        let original = open(file);
        let target = folder.path().join(format!("{index}.safetensors"));
        let source = HashMap::from([("source_sha256".to_owned(), "abc".to_owned())]);
        original.write(&target, source.clone()).unwrap_or_else(|error| panic!("{error}"));
        let converted = Checkpoint::open(std::slice::from_ref(&target), LoadOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        check_same_numbers(&original, &converted, &[]);
        check_same_numbers(&converted, &original, &[]);
        assert_eq!(converted.activation(), (original.activation().0, &Origin::File));
        assert_eq!(converted.config().ok(), original.config().ok());
        assert_eq!(Recording::open_file(&target).metadata("source_sha256"), "abc");
        let error = original.write(&target, source).expect_err("the file is there already");
        assert!(matches!(error, WeightsError::Write { .. }), "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), files.len(), "no temporary file is left");
}

#[test]
fn the_demo_is_the_same_from_safetensors_and_from_its_onnx_pair() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo");
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = mint_golden::unpack(&assets.join("onnx.tar.xz"), parent);
    let open = |files: &[PathBuf]| {
        Checkpoint::open(files, LoadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    };
    let safetensors = open(&[assets.join("clip.safetensors")]);
    let pair = open(&[folder.join("visual.onnx"), folder.join("text.onnx")]);
    check_same_numbers(&safetensors, &pair, &["logit_scale"]);
    check_same_numbers(&pair, &safetensors, &["logit_scale"]);
}

#[test]
fn learned_prompts_load_and_everything_else_is_passed_over() {
    let recording = Recording::open_file(&import("prompts/prompts_io.safetensors"));
    let check = |tensor: &RawTensor, name: &str| {
        assert_eq!(tensor.shape, recording.shape(name), "{name}");
        assert_eq!(tensor.values, recording.floats(name), "{name}");
    };
    let check_linear = |linear: &StoredLinear, name: &str| {
        check(&linear.weight, &format!("{name}.weight"));
        check(&linear.bias, &format!("{name}.bias"));
    };
    let open = |method: &str| {
        let file = import(&format!("prompts/{method}.pth"));
        let prompts = LearnedPrompts::open(&file).unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<String> = recording.names();
        let context = names
            .iter()
            .find(|name| name.starts_with(method) && name.rsplit(['/', '.']).next() == Some("ctx"));
        check(&prompts.context, context.expect("a context"));
        prompts
    };
    let coop = open("coop");
    assert!(coop.meta_net.is_none() && coop.maple.is_none());
    let cocoop = open("cocoop").meta_net.expect("a meta net");
    check_linear(&cocoop.first, "cocoop/meta_net.linear1");
    check_linear(&cocoop.second, "cocoop/meta_net.linear2");
    let maple = open("maple").maple.expect("coupled prompts");
    check_linear(&maple.projection, "maple/prompt_learner.proj");
    assert_eq!(maple.layers.len(), 2);
    for (index, layer) in maple.layers.iter().enumerate() {
        let name = |part: &str| format!("maple/prompt_learner.{part}.{index}");
        check(&layer.prompt, &name("compound_prompts_text"));
        check_linear(&layer.projection, &name("compound_prompt_projections"));
    }
}
