//! Weight files that are damaged or malicious: each is refused by name, without much memory.
//!
//! `mint-golden/data/import.tar.xz` holds small valid models with one thing wrong each, and says
//! what is expected of them.

mod counting_allocator;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use counting_allocator::with_peak;
use mint_clip::weights::{LearnedPrompts, Reference};
use mint_clip::{Checkpoint, Lanes, LoadOptions, WeightsError};
use mint_golden::Bound;

/// No refused file may take more than this.
const MOST_BYTES: usize = 100 << 20;

/// Words that the message must have, as well as the file's name.
const REASONS: [(&str, &str); 22] = [
    ("resnet.safetensors", "ResNet"),
    ("resnet.pt", "ResNet"),
    ("evil_reduce.pt", "posix.system"),
    ("evil_reduce_legacy.pt", "posix.system"),
    ("evil_reduce_extra_key.pt", "posix.system"),
    ("lfs_pointer.safetensors", "Git LFS"),
    ("html.pt", "web page"),
    ("empty.onnx", "empty"),
    ("zeros.pt", "zeros"),
    ("external_missing.onnx", "no_such_file.data"),
    ("external_traversal.onnx", "was not opened"),
    ("external_absolute.onnx", "was not opened"),
    ("missing_tensor.safetensors", "visual.ln_post.bias"),
    ("missing_layer.safetensors", "visual.transformer.resblocks.1"),
    ("missing_layer.onnx", "vision_model.encoder.layers.1"),
    ("wrong_shape_transposed.safetensors", "[64, 256] instead of [256, 64]"),
    ("wrong_dtype.safetensors", "I32"),
    ("nan_weight.safetensors", "visual.transformer.resblocks.1.mlp.c_proj.weight"),
    ("inf_weight.safetensors", "element 77"),
    ("nan_weight.onnx", "vision_model.post_layernorm.bias"),
    ("wrong_activation.onnx", "Tanh"),
    ("missing_record.pt", "data/5"),
];

fn hostile_folder() -> PathBuf {
    let archive = mint_golden::path("import.tar.xz");
    let folder = mint_golden::unpack(&archive, Path::new(env!("CARGO_TARGET_TMPDIR")));
    folder.join("import/hostile")
}

/// Reads all that is there.
fn load(file: &Path) -> Result<Checkpoint, WeightsError> {
    let checkpoint = Checkpoint::open(&[file.to_owned()], LoadOptions::default())?;
    checkpoint.examine()?;
    Ok(checkpoint)
}

/// One test, so that nothing else is counted.
#[test]
fn hostile_files_are_refused_by_name_and_take_little_memory() {
    let folder = hostile_folder();
    let expected = std::fs::read(folder.join("expected.json")).expect("the list is there");
    let expected: serde_json::Value = serde_json::from_slice(&expected).expect("it is JSON");
    let expected = expected.as_object().expect("an object");
    let mut refused = 0;
    for (name, entry) in expected {
        let file = folder.join(name);
        let expect = entry["expect"].as_str().expect("a word");
        if expect == "data" {
            continue;
        }
        let (result, used) = with_peak(|| match expect {
            "refuse_or_skip" => LearnedPrompts::open(&file).map(|_| None),
            _ => load(&file).map(Some),
        });
        assert!(used < MOST_BYTES, "{name} took {used} bytes");
        match (result, expect) {
            (Ok(_), "load" | "either" | "no_write" | "load_or_refuse" | "refuse_or_skip") => (),
            (Err(error), "refuse" | "refuse_or_document") => {
                refused += 1;
                let message = error.to_string();
                let message = std::error::Error::source(&error)
                    .map_or(message.clone(), |source| format!("{message}: {source}"));
                assert!(message.contains(name.as_str()), "{name}: {message}");
                let reason = REASONS.iter().find(|(file, _)| file == name);
                let reason = reason.map_or("", |(_, reason)| reason);
                assert!(
                    message.contains(reason),
                    "{name} is not refused for its reason: {message}"
                );
            }
            (result, expect) => panic!("{name}: `{expect}` is expected, not {result:?}"),
        }
    }
    assert!(refused > 50, "only {refused} files were refused");
    for (name, _) in REASONS {
        assert!(expected.contains_key(name), "{name} is not in the list");
    }
    for place in [&folder, &folder.join("../../.."), Path::new(".")] {
        for trace in ["pwned", "pwned_slip.txt"] {
            assert!(!place.join(trace).exists(), "{} was written", place.join(trace).display());
        }
    }
    controls_give_the_recorded_outputs(&folder);
}

/// The valid models, of which the others differ in one thing.
fn controls_give_the_recorded_outputs(folder: &Path) {
    for name in ["control_ok.safetensors", "control_ok.pt", "control_ok.onnx"] {
        let checkpoint = load(&folder.join(name)).unwrap_or_else(|error| panic!("{error}"));
        let reference = Reference::open(&folder.join("control_io.safetensors"), "");
        let differences = reference
            .and_then(|reference| reference.compare(&checkpoint, &Device::flex(), &Lanes::new(1)))
            .unwrap_or_else(|error| panic!("{error}"));
        for difference in differences {
            let limit = Bound::TOWER.limit(&[difference.magnitude]);
            assert!(difference.largest <= limit, "{name}: {difference:?}");
        }
    }
}
