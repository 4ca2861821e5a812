//! Has Burn's own importer write code for both towers of the small CLIP.

fn main() {
    println!("cargo:rerun-if-env-changed=ONNX");
    let folder = std::env::var("ONNX")
        .expect("ONNX names the folder of dynamo_visual.onnx and dynamo_text.onnx");
    for tower in ["dynamo_visual", "dynamo_text"] {
        burn_onnx::ModelGen::new()
            .input(&format!("{folder}/{tower}.onnx"))
            .out_dir("model/")
            .run_from_script();
    }
}
