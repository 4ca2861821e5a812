//! Images that overlap on the device give the lines of images that do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mint_clip::burn::tensor::Device;
use mint_clip::{Checkpoint, Lanes, LoadOptions};
use mint_datasets::{ImageSet, LabelledImage, Source, open_image_folder};
use mint_eval::{
    Accuracy, Arguments, Evaluation, Host, LoadError, LoopConfig, MethodId, Observer, Record, Row,
    RunConfig, RunInfo, TrainedFiles, TrainedPrompts, Versions, WeightsInfo, build_methods,
};

#[derive(Default)]
struct Counts {
    images: usize,
    unreadable: usize,
}

impl Observer for Counts {
    fn start(&mut self, _set: &ImageSet, images: usize, done: usize) {
        assert_eq!((images, done), (9, 0));
    }

    fn image(&mut self, _accuracies: &[Accuracy]) {
        self.images += 1;
    }

    fn unreadable(&mut self, _error: &LoadError) {
        self.unreadable += 1;
    }

    fn finish(&mut self) {}
}

fn info() -> RunInfo {
    RunInfo {
        arguments: Arguments::default(),
        config: RunConfig::default(),
        weights: WeightsInfo {
            files: Vec::new(),
            activation: String::new(),
            logit_scale: 1.0,
            model: serde_json::Value::Null,
        },
        prompts: TrainedFiles::default(),
        test_sets: Vec::new(),
        versions: Versions::default(),
        host: Host::current(),
        device: "cpu".to_owned(),
    }
}

/// Lines without their times, and the rows' accuracies.
fn run(
    set: &Arc<ImageSet>,
    methods: &[MethodId],
    overlap: bool,
    folder: &Path,
) -> (Vec<String>, Vec<f64>) {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/clip.safetensors");
    let checkpoint =
        Checkpoint::open(&[weights], LoadOptions::default()).expect("the demo's model");
    let clip = checkpoint.load(&Device::flex(), Lanes::new(2)).expect("the model loads");
    let tokenizer = clip.tokenizer();
    let config = RunConfig { methods: methods.to_vec(), views: 10, ..RunConfig::default() };
    let built = build_methods(&config, &clip, &tokenizer, &TrainedPrompts::default());
    let built = built.expect("the methods need nothing");
    let mut evaluation = Evaluation::new(&clip, &tokenizer, &config, built);
    let record = Record::create(folder, info()).expect("the folder can be made");
    let settings = LoopConfig { overlap, ..LoopConfig::default() };
    let mut counts = Counts::default();
    let rows = evaluation.run(set, Some(&record), settings, &mut counts).expect("the run ends");
    assert_eq!((counts.images, counts.unreadable), (8, 1));
    let lines = methods.iter().flat_map(|method| {
        let file = folder.join(format!("{}-{}.jsonl", set.id, method.name()));
        let text = fs::read_to_string(file).expect("lines");
        let without_seconds = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line.as_object_mut().expect("an object").remove("seconds");
            line.to_string()
        };
        text.lines().map(without_seconds).collect::<Vec<_>>()
    });
    (lines.collect(), rows.iter().map(|row: &Row| row.top1).collect())
}

#[test]
fn overlapping_images_change_no_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/V");
    let mut set = open_image_folder(&root, None).expect("the demo's set");
    set.images.truncate(8);
    // In the middle, so that results are on their way when it fails.
    set.images.insert(4, LabelledImage { path: PathBuf::from("nothing.png"), label: 0 });
    assert!(matches!(set.source, Source::Folder(_)));
    let set = Arc::new(set);
    let folder = std::env::temp_dir().join(format!("mint-overlap-{}", std::process::id()));
    let all = [
        MethodId::Clip,
        MethodId::Tpt,
        MethodId::Sar,
        MethodId::Mta,
        MethodId::Zero,
        MethodId::Mint,
        MethodId::Tda,
    ];
    for (name, methods) in [("all", &all[..]), ("clean", &all[..1])] {
        let plain = run(&set, methods, false, &folder.join(format!("{name}-plain")));
        let overlapped = run(&set, methods, true, &folder.join(format!("{name}-overlap")));
        assert_eq!(plain.0.len(), 9 * methods.len());
        assert_eq!(plain, overlapped);
    }
    fs::remove_dir_all(folder).expect("the folder can be removed");
}
