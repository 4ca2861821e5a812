//! `mint-cli weights`, and the weights and contexts that other commands take.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{failure, folder, mint, partial_failure, stdout};
use serde_json::Value;

fn import() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    mint_golden::unpack(&mint_golden::path("import.tar.xz"), parent).join("import")
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo")
}

#[test]
fn inspect_says_what_a_file_holds() {
    let output = mint(&import(), &["weights", "inspect", "hf.safetensors"]);
    // The model of the recordings has a vocabulary of its own.
    let message = partial_failure(&output);
    assert!(message.contains("has 512 rows"), "{message}");
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "hf.safetensors",
        "SHA-256      8bfbde58be8ed0bab841ac658b5e2f55226ce3d4327022d1dc24ae94ef6008c7",
        "safetensors",
        "Hugging Face",
        "12 blocks of width 64, 1 heads, MLP 256; 32x32 pixels in patches of 8 (17 tokens)",
        "3 blocks of width 64, 1 heads, MLP 256; 77 of 512 tokens",
        "quick_gelu (from `config.json`)",
        "99.472 (from the file)",
        "805377, in 254 tensors of F32",
        "but not for CLIP's tokenizer",
        "resized by `shortest`",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let arguments = ["weights", "inspect", "onnx_hf/vision_model.onnx", "--format", "json"];
    let json = mint(&import(), &arguments).stdout;
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["vision"]["heads"], 1);
    assert_eq!(json["text"]["layers"], 3, "the text tower was found next to the image tower");
    assert_eq!(json["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["format"], "ONNX");
}

#[test]
fn inspect_knows_checkpoints_of_prompts() {
    let expected = [
        ("coop", "CoOp", "4 vectors of width 64"),
        ("cocoop", "CoCoOp", "2 hidden units"),
        ("maple", "MaPLe", "2 blocks after the first"),
    ];
    for (file, method, part) in expected {
        let file = format!("prompts/{file}.pth");
        let text = stdout(&mint(&import(), &["weights", "inspect", &file]));
        assert!(text.contains(method) && text.contains(part), "{text}");
    }
}

#[test]
fn verify_proves_a_conversion_and_fails_above_the_tolerance() {
    let verify = |file: &str, more: &[&str]| {
        let arguments = ["weights", "verify", file, "--reference", "io.safetensors"];
        mint(&import(), &[&arguments[..], more].concat())
    };
    let text = stdout(&verify("openai_torchscript.pt", &["--prefix", "mixed."]));
    for output in ["mixed.image_embeds", "mixed.text_embeds", "mixed.vision_class_tokens"] {
        assert!(text.contains(output), "{text}");
    }
    assert!(text.contains("mixed.logits_per_image") && !text.contains("differs"), "{text}");
    // Half-precision weights are not the single-precision ones.
    let output = verify("openai_torchscript.pt", &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("differs  image_embeds"), "{text}");
    stdout(&verify("openai_torchscript.pt", &["--tolerance", "1"]));
    // Another activation is another model.
    let output = verify("hf.safetensors", &["--activation", "gelu"]);
    assert_eq!(output.status.code(), Some(1));
    let pair = ["onnx_hf/text_model.onnx", "--logit-scale", "99.47207"];
    let text = stdout(&verify("onnx_hf/vision_model.onnx", &pair));
    assert!(text.contains("logits_per_image"), "{text}");
    let message = failure(&verify("hf.safetensors", &["--prefix", "nothing."]));
    assert!(message.contains("io.safetensors") && message.contains("nothing."), "{message}");
}

#[test]
fn convert_writes_one_file_that_is_the_same_model() {
    let folder = folder();
    let target = folder.path().join("canonical.safetensors");
    let target = target.to_str().expect("a path");
    let convert = || {
        let files = ["onnx_hf/vision_model.onnx", "onnx_hf/text_model.onnx", target];
        mint(&import(), &[&["weights", "convert"], &files[..]].concat())
    };
    stdout(&convert());
    let verify = ["weights", "verify", target, "--reference", "io.safetensors"];
    // The scale was only assumed, so the file does not state it.
    let text = stdout(&mint(&import(), &verify));
    assert!(
        text.contains("equal    image_embeds") && text.contains("equal    text_embeds"),
        "{text}"
    );
    assert!(!text.contains("logits_per_image"), "{text}");
    let recording = mint_golden::Recording::open_file(Path::new(target));
    assert_eq!(recording.metadata("source_sha256").split(' ').count(), 2, "both files are named");
    let message = failure(&convert());
    assert!(
        message.contains("canonical.safetensors") && message.contains("there already"),
        "{message}"
    );
    let one = ["weights", "convert", "onnx_openai/dynamo_full/model.onnx", "lost/x.safetensors"];
    let message = failure(&mint(&import(), &one));
    assert!(message.contains("lost/x.safetensors"), "{message}");
}

#[test]
fn a_run_takes_weights_and_contexts_in_other_formats() {
    let folder = folder();
    let pair =
        mint_golden::unpack(&assets().join("onnx.tar.xz"), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let whole = assets().join("clip.safetensors");
    let inspect = ["weights", "inspect", whole.to_str().expect("a path"), "--format", "json"];
    let inspected = stdout(&mint(folder.path(), &inspect));
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    // Exports of single towers leave the scale out, and this model's is not the usual 100.
    let scale = inspected["logit_scale"].to_string();
    let run = |weights: &[PathBuf], context: &str, output: &str| {
        let mut arguments = vec!["--test-sets", "demo-R", "--limit", "2", "--views", "12"];
        arguments.extend(["--method", "clip,coop,mint", "--output", output]);
        let context = assets().join(context);
        arguments.extend(["--context", context.to_str().expect("a path")]);
        for file in weights {
            arguments.extend(["--weights", file.to_str().expect("a path")]);
        }
        if weights.len() == 2 {
            arguments.extend(["--logit-scale", &scale]);
        }
        stdout(&mint(folder.path(), &arguments));
        let lines = |method: &str| -> Vec<Value> {
            let file = folder.path().join(output).join(format!("demo-R-{method}.jsonl"));
            let text = fs::read_to_string(file).expect("a record");
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        ["clip", "coop", "mint"].map(lines).concat()
    };
    let one = run(std::slice::from_ref(&whole), "coop_ctx.safetensors", "one");
    let two = run(&[pair.join("visual.onnx"), pair.join("text.onnx")], "coop.pth", "two");
    assert_eq!(one.len(), 6);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one["top5"], two["top5"]);
    }
    let run_file = fs::read_to_string(folder.path().join("two/run.json")).expect("a record");
    let run_file: Value = serde_json::from_str(&run_file).expect("JSON");
    assert_eq!(run_file["weights"]["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(run_file["weights"]["activation"], "quick_gelu");
}

#[test]
fn prompts_of_another_method_are_no_context() {
    let weights = assets().join("clip.safetensors");
    let context = import().join("prompts/cocoop.pth");
    let arguments = [
        "--test-sets",
        "demo-R",
        "--limit",
        "1",
        "--method",
        "coop",
        "--weights",
        weights.to_str().expect("a path"),
        "--context",
        context.to_str().expect("a path"),
    ];
    let message = failure(&mint(folder().path(), &arguments));
    assert!(message.contains("cocoop.pth") && message.contains("CoCoOp"), "{message}");
}
