//! Images per second, and where the time of MINT goes.

use std::sync::Arc;
use std::time::Instant;

use mint_clip::burn::tensor::{Device, Int, Tensor};
use mint_clip::{Clip, Precision};
use mint_datasets::ImageSet;
use mint_eval::{
    Accuracy, ConfiguredMethod, ContextStart, Evaluation, LoadError, Loader, LoopConfig, MethodId,
    Observer, RunConfig, TrainedPrompts, build_methods, view_tensor,
};
use mint_tuner::{ClassSet, ClassTexts, ImageViews, MemoryBank, MintConfig, Pending, Queries};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Plan;
use crate::subject::Subject;

/// Rounds that are not measured: kernels are compiled and tuned.
const WARM_UP: usize = 3;
/// Most images of a figure.
const MOST: usize = 2_000;

/// One figure.
#[derive(Debug, Serialize)]
pub struct Cell {
    method: MethodId,
    precision: String,
    classes: usize,
    /// Images that were measured.
    images: usize,
    /// With views in memory: upload, adaptation, reading.
    images_per_second: f64,
    /// With files: decoding and views too.
    images_per_second_from_files: f64,
    /// From nothing to the first result, with compiling.
    first_image_seconds: f64,
    /// Held on the device, with what is kept for reuse.
    megabytes: Option<f64>,
}

impl Cell {
    /// In a line.
    pub fn describe(&self) -> String {
        format!(
            "{} {}, {} classes: {:.2} images/s, {:.2} from files",
            self.method.name(),
            self.precision,
            self.classes,
            self.images_per_second,
            self.images_per_second_from_files
        )
    }
}

/// Measures one method.
pub fn measure(
    plan: &Plan,
    subject: &Subject,
    clip: &Clip,
    (method, precision, classes): (MethodId, Precision, usize),
) -> anyhow::Result<Cell> {
    let config = RunConfig { methods: vec![method], views: plan.views, ..RunConfig::default() };
    let names = subject.class_names(classes);
    let class_set = ClassSet::new(clip, &subject.tokenizer, &names);
    let build = || build_methods(&config, clip, &subject.tokenizer, &TrainedPrompts::default());

    let clock = Instant::now();
    let mut methods = build()?;
    let ConfiguredMethod { method: built, .. } = &mut methods[0];
    let normalization = subject.view_config().normalization;
    let texts = class_set.features(&ClassTexts::default())?.tensor();
    // Zero-shot looks at one view of an image and takes many images at once: as many as the others
    // have views.
    let per_round = if method == MethodId::Clip { plan.views } else { 1 };
    let mut launch = |round: usize| -> anyhow::Result<Pending> {
        let views = subject.views[round % subject.views.len()].clone();
        let pixels = view_tensor(views, &normalization, &clip.device);
        if method == MethodId::Clip {
            let logits = clip.logits(clip.image.forward_each(pixels), texts.clone());
            return Ok(Pending::logits(logits.max_dim(0)));
        }
        Ok(built.launch(&class_set, &ImageViews::new(clip, pixels))?)
    };
    launch(0)?.read()?;
    let first_image_seconds = clock.elapsed().as_secs_f64();
    for round in 1..WARM_UP {
        launch(round)?.read()?;
    }
    let clock = Instant::now();
    let mut rounds = 0;
    let mut on_its_way: Option<Pending> = None;
    while rounds < MOST && (rounds < 2 || clock.elapsed().as_secs_f64() < plan.seconds) {
        let next = launch(rounds)?;
        if let Some(earlier) = on_its_way.replace(next) {
            earlier.read()?;
        }
        rounds += 1;
    }
    on_its_way.map(Pending::read).transpose()?;
    let images = rounds * per_round;
    let images_per_second = images as f64 / clock.elapsed().as_secs_f64();
    let megabytes = clip.device.memory_pool_usage().map(|usage| usage.bytes_reserved as f64 / 1e6);

    let files = ((plan.seconds * images_per_second) as usize).clamp(2, MOST);
    Ok(Cell {
        method,
        precision: precision.to_string(),
        classes,
        images,
        images_per_second,
        images_per_second_from_files: from_files(subject, clip, &config, build()?, (names, files))?,
        first_image_seconds,
        megabytes,
    })
}

/// The whole way of an evaluation over `count` files.
fn from_files(
    subject: &Subject,
    clip: &Clip,
    config: &RunConfig,
    methods: Vec<ConfiguredMethod>,
    (names, count): (Vec<String>, usize),
) -> anyhow::Result<f64> {
    let mut set = ImageSet::clone(&subject.set);
    set.class_names = names;
    set.images = set.images.iter().cycle().take(count).cloned().collect();
    let mut evaluation = Evaluation::new(clip, &subject.tokenizer, config, methods);
    let mut clock = Stopwatch::default();
    let settings = LoopConfig::for_device(&clip.device);
    evaluation.run(&Arc::new(set), None, settings, &mut clock)?;
    Ok(count as f64 / clock.seconds)
}

/// Time between the start of a set, when its texts are embedded, and its end.
#[derive(Default)]
struct Stopwatch {
    started: Option<Instant>,
    seconds: f64,
}

impl Observer for Stopwatch {
    fn start(&mut self, _set: &ImageSet, _images: usize, _done: usize) {
        self.started = Some(Instant::now());
    }

    fn image(&mut self, _accuracies: &[Accuracy]) {}

    fn unreadable(&mut self, _error: &LoadError) {}

    fn finish(&mut self) {
        self.seconds = self.started.map_or(f64::NAN, |started| started.elapsed().as_secs_f64());
    }
}

/// Seconds of each part of MINT, one after the other with the device waited for.
pub fn stages(plan: &Plan, subject: &Subject, clip: &Clip) -> anyhow::Result<Value> {
    let mut stages =
        vec![json!(["views of one image, decoded and cropped", loading(plan, subject)])];
    let config = MintConfig::default();
    let pass_config = config.pass(&clip.config)?;
    let normalization = subject.view_config().normalization;
    let upload = || view_tensor(subject.views[0].clone(), &normalization, &clip.device);
    let mut add = |name: String, work: &mut dyn FnMut()| {
        let seconds = timed(plan, &clip.device, work);
        seconds.map(|seconds| stages.push(json!([name, seconds])))
    };
    add("upload and normalisation".into(), &mut || drop(upload()))?;
    let pixels = upload();
    let pass = clip.image.unprompted_pass(pixels.clone(), &pass_config);
    add("queries of all views".into(), &mut || {
        clip.image.unprompted_pass(pixels.clone(), &pass_config);
    })?;
    let bank = MemoryBank::random(config.bank_slots, clip.config.vision.width, 0, &clip.device);
    let queries = Queries::new(&pass.class_tokens);
    let picks = queries.nearest(&bank, None, config.picks_per_block);
    add("recall".into(), &mut || drop(queries.nearest(&bank, None, config.picks_per_block)))?;
    let prompts = bank.mean_prompts(&picks);
    add("prompted pass of all views".into(), &mut || {
        clip.image.resume(&pass.entry, prompts.clone());
    })?;
    // Which views are chosen does not change the time.
    let chosen = Tensor::<1, Int>::arange(0..config.chosen(plan.views)? as i64, &clip.device);
    let of_chosen = prompts.clone().select(0, chosen.clone());
    let traced = || clip.image.resume_traced(&pass.entry, chosen.clone(), of_chosen.clone());
    add("traced pass of the chosen views".into(), &mut || drop(traced()))?;
    let (embeddings, trace) = traced();
    add("its pullback".into(), &mut || {
        clip.image.pullback(&trace, embeddings.clone());
    })?;
    for &classes in &plan.class_counts {
        let names = subject.class_names(classes);
        let class_set = ClassSet::new(clip, &subject.tokenizer, &names);
        let start = clip.context_of(&subject.tokenizer, ContextStart::WORDS);
        let learner = class_set.learner(&start.clone().into())?;
        let traced = || learner.features_traced(clip, &start);
        add(format!("traced texts of {classes} classes"), &mut || drop(traced()))?;
        let (features, trace): (Tensor<2>, _) = traced();
        add(format!("their pullback, {classes} classes"), &mut || {
            learner.pullback(clip, Some(&trace), features.clone());
        })?;
    }
    Ok(stages.into())
}

/// Mean seconds of some work after warming up.
fn timed(plan: &Plan, device: &Device, work: &mut dyn FnMut()) -> anyhow::Result<f64> {
    let sync = || device.sync().map_err(|error| anyhow::anyhow!("the device failed: {error:?}"));
    for _ in 0..WARM_UP {
        work();
    }
    sync()?;
    let clock = Instant::now();
    let mut rounds = 0;
    // A quarter of the time of a whole figure: there are many stages.
    while rounds < 1 || (rounds < 100 && clock.elapsed().as_secs_f64() < plan.seconds / 4.0) {
        work();
        sync()?;
        rounds += 1;
    }
    Ok(clock.elapsed().as_secs_f64() / f64::from(rounds))
}

/// Seconds per image of the loader alone, with all cores.
fn loading(plan: &Plan, subject: &Subject) -> f64 {
    let LoopConfig { loader_threads, ahead, .. } = LoopConfig::default();
    let Ok(generator) = mint_augment::ViewGenerator::new(subject.view_config()) else {
        return f64::NAN;
    };
    let count = ((plan.seconds * 20.0) as usize).clamp(8, 200);
    let indices = (0..subject.set.images.len()).cycle().take(count).collect();
    let clock = Instant::now();
    let loader = Loader::new(subject.set.clone(), generator, 0, indices, loader_threads, ahead);
    let images = loader.count();
    clock.elapsed().as_secs_f64() / images as f64
}
