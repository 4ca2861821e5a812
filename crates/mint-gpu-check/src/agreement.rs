//! Whether a device computes what the CPU computes.

use mint_clip::burn::tensor::{Int, Tensor, TensorData};
use mint_clip::{Clip, ContextPlaces, Precision, PromptSet, read};
use mint_eval::{ContextStart, StartContext, ranking, view_tensor};
use mint_tuner::{Adaptation, MemoryBank, MintConfig, PromptLearner};
use serde::Serialize;

use crate::subject::Subject;

/// Classes of the comparison.
const CLASSES: usize = 50;
/// Images that MINT adapts to, one after the other, with the memory kept.
const IMAGES: usize = 3;
/// Views that gradients are taken through.
const TRACED: usize = 4;
/// Views that outputs are compared of.
const VIEWS: usize = 8;

/// What one model computes.
pub struct Reference {
    views: usize,
    outputs: Vec<(&'static str, Vec<f32>)>,
    images: Vec<Adapted>,
}

/// How close a device is to the CPU.
#[derive(Debug, Serialize)]
pub struct Agreement {
    precision: String,
    /// Largest difference in a quantity, relative to its largest value.
    differences: Vec<Difference>,
    /// How MINT ran on both, each with picks and choices of its own.
    adaptation: Vec<AdaptedBoth>,
}

#[derive(Debug, Serialize)]
struct Difference {
    what: &'static str,
    relative: f32,
    bound: f32,
}

/// MINT on one image.
struct Adapted {
    /// Of each step, in the order of views.
    picks: Vec<Vec<i64>>,
    chosen: Vec<i64>,
    losses: Vec<f32>,
    logits: Vec<f32>,
}

/// MINT on one image, here and there.
#[derive(Debug, Serialize)]
struct AdaptedBoth {
    /// Share of recalled slots that are the same.
    same_picks: f64,
    /// Chosen views that are the same, and how many were chosen.
    same_choices: [usize; 2],
    /// Largest difference of a loss.
    losses: f32,
    /// Largest difference of a logit.
    logits: f32,
    /// Whether both name the same class.
    same_class: bool,
}

impl Agreement {
    /// Whether all differences are within their bounds, and adaptations lead to numbers. These may
    /// differ: a pick or a choice that rounding decides changes what follows.
    pub fn agrees(&self) -> bool {
        // NaN is never within a bound.
        self.differences.iter().all(|difference| difference.relative < difference.bound)
            && self.adaptation.iter().all(|both| both.losses.is_finite() && both.logits.is_finite())
    }
}

impl Reference {
    /// Computes everything on the CPU in single precision.
    pub fn new(subject: &Subject, views: usize) -> anyhow::Result<Self> {
        let clip = subject.reference()?;
        Self::of(subject, &clip, views)
    }

    /// Computes the same on a device.
    pub fn compare(
        &self,
        subject: &Subject,
        clip: &Clip,
        precision: Precision,
    ) -> anyhow::Result<Agreement> {
        // Products of single precision may be computed with 10 bits of mantissa on GPUs.
        let rounding = match precision {
            Precision::F32 | Precision::F16 => 0.02,
            Precision::Bf16 => 0.1,
        };
        // Gradients go through a tower twice.
        let bound =
            |what: &str| if what.starts_with("gradient") { 2.0 * rounding } else { rounding };
        let device = Self::of(subject, clip, self.views)?;
        let pairs = self.outputs.iter().zip(&device.outputs);
        let differences = pairs.map(|((what, reference), (_, values))| Difference {
            what,
            relative: relative_difference(values, reference),
            bound: bound(what),
        });
        Ok(Agreement {
            precision: precision.to_string(),
            differences: differences.collect(),
            adaptation: self.images.iter().zip(&device.images).map(Adapted::compare).collect(),
        })
    }

    fn of(subject: &Subject, clip: &Clip, views: usize) -> anyhow::Result<Self> {
        let names = subject.class_names(CLASSES);
        let start = StartContext::new(&ContextStart::default(), clip, &subject.tokenizer)?.context;
        let config = MintConfig::default();
        let pass_config = config.pass(&clip.config)?;
        let pixels = |image: usize| {
            let views = subject.views[image].clone();
            view_tensor(views, &subject.view_config().normalization, &clip.device)
        };

        let some = pixels(0).narrow(0, 0, VIEWS.min(views));
        let pass = clip.image.unprompted_pass(some.clone(), &pass_config);
        let chosen = Tensor::<1, Int>::arange(0..TRACED.min(views) as i64, &clip.device);
        let [n_traced] = chosen.dims();
        let (vision, embed) = (clip.config.vision.width, clip.config.embed_dim);
        let prompts = uneven([n_traced, 2, vision], clip);
        let (prompted, trace) = clip.image.resume_traced(&pass.entry, chosen, prompts);
        let at_prompts = clip.image.pullback(&trace, uneven([n_traced, embed], clip));
        let places = ContextPlaces::leading(start.dims()[0]);
        let texts = PromptSet::with_context(&subject.tokenizer, &names, places)?;
        let (features, text_trace) = clip.text.forward_traced(&texts, &start);
        let at_context =
            clip.text.pullback(&texts, &text_trace, uneven([names.len(), embed], clip));
        let (_, at_norms) =
            clip.image.norm_gradient(some, clip.config.vision.layers, |embeddings| {
                // The same for all views, which may be handed on in several parts.
                let gradient: Tensor<2> = uneven([1, embed], clip);
                (Some(gradient.repeat_dim(0, embeddings.dims()[0])), ())
            });
        let outputs = vec![
            ("embeddings of views", read(pass.embeddings)?),
            ("class tokens", read(Tensor::cat(pass.class_tokens, 0))?),
            ("embeddings with prompts", read(prompted)?),
            ("embeddings of texts", read(features)?),
            ("gradient at prompts", read(at_prompts)?),
            ("gradient at context", read(at_context)?),
            ("gradient at LayerNorms", read(at_norms)?),
        ];

        let learner = PromptLearner::new(clip, &subject.tokenizer, &names, start)?;
        let mut bank =
            MemoryBank::random(config.bank_slots, vision, config.bank_seed, &clip.device);
        let mut images = Vec::with_capacity(IMAGES);
        for image in 0..IMAGES {
            let pass = clip.image.unprompted_pass(pixels(image), &pass_config);
            let mut adaptation = Adaptation::new(&config, clip, &learner, &mut bank, &pass)?;
            images.push(Adapted::run(&mut adaptation, config.steps)?);
        }
        Ok(Self { views, outputs, images })
    }
}

impl Adapted {
    fn run(adaptation: &mut Adaptation<'_>, steps: usize) -> anyhow::Result<Self> {
        let (mut picks, mut losses) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            let of_step = adaptation.picks();
            let [views, per_view] = of_step.dims();
            picks.push(read(of_step.clone().reshape([views * per_view]))?);
            losses.extend(read::<f32, _, _>(adaptation.step_with(of_step).loss)?);
        }
        let chosen = adaptation.chosen().map(read::<i64, _, _>).transpose()?;
        let logits = read(adaptation.predict())?;
        Ok(Self { picks, chosen: chosen.unwrap_or_default(), losses, logits })
    }

    fn compare((reference, device): (&Self, &Self)) -> AdaptedBoth {
        let picks = || reference.picks.iter().flatten().zip(device.picks.iter().flatten());
        let same = picks().filter(|(one, other)| one == other).count();
        let chosen = |view: &&i64| device.chosen.contains(*view);
        AdaptedBoth {
            same_picks: same as f64 / picks().count().max(1) as f64,
            same_choices: [reference.chosen.iter().filter(chosen).count(), reference.chosen.len()],
            losses: difference(&device.losses, &reference.losses),
            logits: difference(&device.logits, &reference.logits),
            same_class: ranking(&device.logits, 1) == ranking(&reference.logits, 1),
        }
    }
}

/// Numbers between -1 and 1 without a pattern that matters, the same on every device.
fn uneven<const D: usize>(shape: [usize; D], clip: &Clip) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|index| (1.0 + 37.7 * index as f32).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &clip.device)
}

/// The largest difference; NaN if one of the values is NaN.
fn difference(values: &[f32], reference: &[f32]) -> f32 {
    let differences = || values.iter().zip(reference).map(|(a, b)| (a - b).abs());
    if differences().any(f32::is_nan) { f32::NAN } else { differences().fold(0.0, f32::max) }
}

fn relative_difference(values: &[f32], reference: &[f32]) -> f32 {
    let largest = reference.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    difference(values, reference) / largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_is_no_agreement() {
        assert_eq!(relative_difference(&[1.0, 2.0], &[1.0, 4.0]), 0.5);
        assert!(relative_difference(&[f32::NAN, 2.0, 2.0], &[1.0, 2.0, 2.0]).is_nan());
        let differences = |relative| vec![Difference { what: "x", relative, bound: 0.1 }];
        let of = |relative| Agreement {
            precision: String::new(),
            differences: differences(relative),
            adaptation: Vec::new(),
        };
        assert!(of(0.05).agrees() && !of(0.2).agrees() && !of(f32::NAN).agrees());
        let logits = |logits| {
            let both = AdaptedBoth {
                same_picks: 1.0,
                same_choices: [6, 6],
                losses: 0.0,
                logits,
                same_class: true,
            };
            Agreement { adaptation: vec![both], ..of(0.05) }
        };
        assert!(logits(0.5).agrees() && !logits(f32::NAN).agrees());
    }
}
