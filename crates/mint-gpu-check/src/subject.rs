//! What is measured on: a model with random weights, and photographs that nobody took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use image::{Rgb, RgbImage};
use mint_augment::{ViewConfig, ViewGenerator, ViewSeed, Views};
use mint_clip::burn::tensor::Device;
use mint_clip::weights::{ModelSize, random_weights};
use mint_clip::{Checkpoint, Clip, Lanes, LoadOptions, Precision, Tokenizer};
use mint_datasets::{ImageNet, ImageSet, LabelledImage, Source};
use mint_device::Compute;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::args::Options;

/// Photographs that are made; runs go over them again and again.
const PHOTOGRAPHS: usize = 8;
/// Their size, that of ImageNet's middle.
const PHOTOGRAPH: (u32, u32) = (500, 375);

/// Model, photographs and names.
pub struct Subject {
    checkpoint: Checkpoint,
    /// The file of the weights, which the peer reads too.
    pub weights: PathBuf,
    /// For class prompts.
    pub tokenizer: Tokenizer,
    /// The photographs as files.
    pub set: Arc<ImageSet>,
    /// Their views.
    pub views: Vec<Views>,
    view_config: ViewConfig,
}

impl Subject {
    /// Writes weights and photographs into the folder.
    pub fn new(args: &Options) -> anyhow::Result<Self> {
        let weights = args.out.join("weights.safetensors");
        let size = if args.tiny { ModelSize::TINY } else { ModelSize::VIT_B_16 };
        std::fs::write(&weights, random_weights(size, args.seed))
            .with_context(|| format!("cannot write `{}`", weights.display()))?;
        let checkpoint = Checkpoint::open(std::slice::from_ref(&weights), LoadOptions::default())?;
        let set = Arc::new(photographs(&args.out.join("photographs"), args.seed)?);
        let config = checkpoint.config()?;
        let view_config = mint_eval::view_config(&config, args.views);
        let generator = ViewGenerator::new(view_config)?;
        let views = (0..set.images.len()).map(|index| {
            let seed = ViewSeed { seed: args.seed, image: index as u64 };
            Ok(generator.views(&set.load(index)?, seed)?)
        });
        Ok(Self {
            weights,
            tokenizer: Tokenizer::clip(config.text.context_length),
            views: views.collect::<anyhow::Result<_>>()?,
            checkpoint,
            set,
            view_config,
        })
    }

    /// The model on the device.
    pub fn clip(&self, compute: &Compute, precision: Precision) -> anyhow::Result<Clip> {
        Ok(self.checkpoint.load(&compute.device, compute.lanes.clone())?.with_precision(precision))
    }

    /// The model on the CPU, in single precision.
    pub fn reference(&self) -> anyhow::Result<Clip> {
        Ok(self.checkpoint.load(&Device::flex(), Lanes::per_core())?)
    }

    /// The first blocks of the model on the CPU, in single precision, and on the device.
    pub fn first_blocks(
        &self,
        compute: &Compute,
        precision: Precision,
    ) -> anyhow::Result<[Clip; 2]> {
        let first = self.checkpoint.first_blocks(2);
        let device = first.load(&compute.device, compute.lanes.clone())?;
        let cpu = first.load(&Device::flex(), Lanes::per_core())?;
        Ok([cpu, device.with_precision(precision)])
    }

    /// Makes views of photographs.
    pub fn view_config(&self) -> ViewConfig {
        self.view_config
    }

    /// The first names of ImageNet.
    pub fn class_names(&self, count: usize) -> Vec<String> {
        ImageNet::facts().classes.iter().take(count).map(|class| class.name.clone()).collect()
    }

    /// In numbers.
    pub fn describe(&self) -> Value {
        let dimensions = self.checkpoint.dimensions();
        json!({
            "vision": dimensions.vision,
            "text": dimensions.text,
            "photographs": self.set.images.len(),
            "photograph_size": [PHOTOGRAPH.0, PHOTOGRAPH.1],
        })
    }
}

/// Writes the photographs as JPEG files, unless they already exist.
fn photographs(folder: &Path, seed: u64) -> anyhow::Result<ImageSet> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let mut images = Vec::with_capacity(PHOTOGRAPHS);
    for index in 0..PHOTOGRAPHS {
        let name = PathBuf::from(format!("{index}.jpg"));
        let file = folder.join(&name);
        photograph(&mut ChaCha8Rng::seed_from_u64(seed ^ (index as u64) << 32))
            .save(&file)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        images.push(LabelledImage { path: name, label: 0 });
    }
    Ok(ImageSet {
        id: "photographs".to_owned(),
        title: "photographs".to_owned(),
        test_set: None,
        class_names: Vec::new(),
        images,
        warnings: Vec::new(),
        source: Source::Folder(folder.to_owned()),
    })
}

/// Waves of a few lengths and directions in each colour, and grain: what a decoder and a resize
/// meet in a photograph.
fn photograph(rng: &mut ChaCha8Rng) -> RgbImage {
    let mut wave = || -> [f32; 4] {
        let direction: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        let length: f32 = rng.random_range(10.0..300.0);
        let frequency = std::f32::consts::TAU / length;
        let phase = rng.random_range(0.0..std::f32::consts::TAU);
        [frequency * direction.cos(), frequency * direction.sin(), phase, length.sqrt()]
    };
    let colours: Vec<Vec<[f32; 4]>> = (0..3).map(|_| (0..6).map(|_| wave()).collect()).collect();
    RgbImage::from_fn(PHOTOGRAPH.0, PHOTOGRAPH.1, |x, y| {
        let grain: f32 = rng.random_range(-12.0..12.0);
        let sample = |waves: &Vec<[f32; 4]>| {
            let height = waves.iter().map(|[horizontal, vertical, phase, strength]| {
                strength * (horizontal * x as f32 + vertical * y as f32 + phase).sin()
            });
            (128.0 + 4.0 * height.sum::<f32>() + grain).clamp(0.0, 255.0) as u8
        };
        Rgb([sample(&colours[0]), sample(&colours[1]), sample(&colours[2])])
    })
}

/// Card, driver and memory as the driver's own tool names them; `None` without it.
pub fn card() -> Option<String> {
    let query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
