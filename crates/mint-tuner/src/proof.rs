//! Proof that a device computes what the CPU computes, in the shapes of a run.
//!
//! Device runtimes choose among kernels by shape, and a wrong one may go unnoticed. So before a
//! run uses a device, what adaptation does is done once with the first blocks of the run's own model,
//! its number of views and its texts; a few views and classes are computed by the CPU too. No value of
//! one view or class depends on the others, and gradients that are sums are sums over these views and
//! classes alone.

use mint_clip::burn::tensor::{Device, Int, Tensor, TensorData};
use mint_clip::{Clip, ContextPlaces, PassConfig, Precision, PromptSet, Tokenizer, scaled_cosines};

use crate::confidence::{confident_views, entropies};
use crate::error::MethodError;
use crate::methods::{MemoryBank, MintConfig, PROMPT_ROWS, Queries};
use crate::objective::marginal_entropy;
use crate::outcome::read_unchecked;

/// What decides the shapes of a run's tensors, beside the model.
#[derive(Debug, Clone, Copy)]
pub struct ProofShapes<'a> {
    /// Views that go through the image tower at once.
    pub views: usize,
    /// Views that gradients are taken through; 0 if nothing is adapted.
    pub chosen: usize,
    /// Learned tokens before the names; 0 if no method has any.
    pub context: usize,
    /// Slots and picks of MINT's bank.
    pub mint: &'a MintConfig,
    /// The classes, whose texts have their own lengths.
    pub class_names: &'a [String],
    /// What is around the names.
    pub template: &'a str,
}

/// How far a device may be from the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Largest difference of a value, relative to the largest value of its kind.
    pub values: f32,
    /// The same for gradients, which go through the blocks twice.
    pub gradients: f32,
}

impl Tolerance {
    /// What rounding may do in two blocks. `tensor_cores`: products of single precision may be
    /// computed with the ten bits of mantissa of TF32.
    pub fn new(precision: Precision, tensor_cores: bool) -> Self {
        let unit = match precision {
            Precision::F32 if !tensor_cores => 2f32.powi(-15), // sums of thousands of products
            Precision::F32 | Precision::F16 => 2f32.powi(-11),
            Precision::Bf16 => 2f32.powi(-8),
        };
        Self { values: 16.0 * unit, gradients: 32.0 * unit }
    }
}

/// Why a device is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disproof {
    /// It computes something else than the CPU.
    #[error(
        "{what}: {}, and {bound:.1e} is what rounding may do",
        told(*.difference)
    )]
    Differs {
        /// What was computed.
        what: &'static str,
        /// NaN if the device has values that are not numbers.
        difference: f32,
        /// What is allowed.
        bound: f32,
    },
    /// It delivers nothing.
    #[error(transparent)]
    Fails(MethodError),
    /// The CPU cannot compute it either: a text does not fit the model.
    #[error(transparent)]
    Unfit(MethodError),
}

/// A difference in words.
fn told(difference: f32) -> String {
    if difference.is_nan() {
        return "the device has what is not a finite number".to_owned();
    }
    format!("the device is {difference:.1e} from the CPU, relative to the largest value")
}

/// Compares a device with the CPU. Both models are the first blocks of the one that will run.
///
/// # Errors
///
/// If a value differs by more than `tolerance`, or cannot be computed.
pub fn prove(
    device: &Clip,
    cpu: &Clip,
    tokenizer: &Tokenizer,
    shapes: ProofShapes<'_>,
    tolerance: Tolerance,
) -> Result<(), Disproof> {
    let ProofShapes { views, chosen, class_names, .. } = shapes;
    let traced = spread(chosen.min(views), views);
    let seen = Both {
        views: spread(3, views),
        traced: spread(3, traced.len()).into_iter().map(|place| traced[place]).collect(),
        classes: spread(3, class_names.len()),
    };
    // As many views as the run has, but those alone that both compute, again and again.
    let again: Vec<usize> = seen.views.iter().cycle().take(views).copied().collect();
    let times = |view: &usize| again.iter().filter(|other| *other == view).count() as f32;
    let one_by_one = seen.views.iter().map(|view| (times(view), vec![*view])).collect();
    let whole = Part {
        views: (0..views).collect(),
        traced,
        tuned: vec![(1.0, again.clone())],
        classes: (0..class_names.len()).collect(),
        both: &seen,
    };
    let mut sampled: Vec<usize> = seen.views.iter().chain(&seen.traced).copied().collect();
    sampled.sort_unstable();
    sampled.dedup();
    let sample = Part {
        views: sampled,
        traced: seen.traced.clone(),
        tuned: one_by_one,
        classes: seen.classes.clone(),
        both: &seen,
    };
    let model = (cpu.config.embed_dim, cpu.config.vision.width);
    let mut expected = towers(cpu, tokenizer, shapes, &sample).map_err(Disproof::Unfit)?;
    expected.extend(arithmetic(&cpu.device, model, shapes).map_err(Disproof::Unfit)?);
    let mut actual = towers(device, tokenizer, shapes, &whole).map_err(Disproof::Fails)?;
    actual.extend(arithmetic(&device.device, model, shapes).map_err(Disproof::Fails)?);
    let mut pairs = expected.iter().zip(&actual);
    pairs.try_for_each(|(expected, actual)| expected.compare(actual, tolerance))
}

/// What one of the two computes.
struct Part<'a> {
    /// Views that go through the image tower.
    views: Vec<usize>,
    /// Those of them that gradients are taken through.
    traced: Vec<usize>,
    /// Batches of views whose gradients at the LayerNorms are added up, each so many times.
    tuned: Vec<(f32, Vec<usize>)>,
    /// Classes whose texts are read.
    classes: Vec<usize>,
    /// What both compute.
    both: &'a Both,
}

/// What the device and the CPU compute.
struct Both {
    views: Vec<usize>,
    traced: Vec<usize>,
    classes: Vec<usize>,
}

/// Values of one kind that both have.
struct Values {
    what: &'static str,
    values: Vec<f32>,
}

impl Values {
    /// All of a tensor.
    fn all<const D: usize>(what: &'static str, tensor: Tensor<D>) -> Result<Self, MethodError> {
        Ok(Self { what, values: read(tensor)? })
    }

    /// The rows that stand for some of the `present` views or classes.
    fn rows<const D: usize>(
        what: &'static str,
        tensor: Tensor<D>,
        present: &[usize],
        wanted: &[usize],
    ) -> Result<Self, MethodError> {
        let values = read(tensor)?;
        let length = values.len() / present.len();
        let row = |wanted: &usize| {
            let place = present.iter().position(|row| row == wanted);
            let start = place.expect("what both compute is computed by each") * length;
            &values[start..start + length]
        };
        Ok(Self { what, values: wanted.iter().flat_map(row).copied().collect() })
    }

    fn compare(&self, device: &Self, tolerance: Tolerance) -> Result<(), Disproof> {
        let is_gradient = self.what.starts_with("gradient");
        let bound = if is_gradient { tolerance.gradients } else { tolerance.values };
        let largest = self.values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // Entropies may all be zero, as those of a single class are, and rounded all the same.
        let least = if self.what.starts_with("entrop") { 1e-3 } else { f32::MIN_POSITIVE };
        let differences = self.values.iter().zip(&device.values).map(|(cpu, device)| cpu - device);
        // NaN is larger than every number here.
        let worst = differences.map(f32::abs).max_by(f32::total_cmp).unwrap_or(0.0);
        let difference = worst / largest.max(least);
        if self.values.len() == device.values.len() && difference <= bound {
            return Ok(());
        }
        Err(Disproof::Differs { what: self.what, difference, bound })
    }
}

/// What both towers compute, forwards and backwards.
fn towers(
    clip: &Clip,
    tokenizer: &Tokenizer,
    shapes: ProofShapes<'_>,
    part: &Part<'_>,
) -> Result<Vec<Values>, MethodError> {
    let device = &clip.device;
    let (vision, embed) = (&clip.config.vision, clip.config.embed_dim);
    let Part { views, traced, tuned, classes, both } = part;
    let config = PassConfig { levels: vec![0, vision.layers - 1], prompted_block: 0 };
    let side = vision.image_size;
    let pass = clip.image.unprompted_pass(uneven(views, [3, side, side], device), &config);
    let class_tokens = Tensor::cat(pass.class_tokens, 1);
    let mut found = vec![
        Values::rows("embeddings of views", pass.embeddings, views, &both.views)?,
        Values::rows("class tokens", class_tokens, views, &both.views)?,
    ];
    let names: Vec<String> =
        classes.iter().map(|class| shapes.class_names[*class].clone()).collect();
    let texts = PromptSet::from_template(tokenizer, &names, shapes.template)?;
    let of_texts = clip.text.forward(&texts, None);
    found.push(Values::rows("embeddings of texts", of_texts, classes, &both.classes)?);
    if shapes.context > 0 {
        let width = clip.config.text.width;
        let start = uneven(&(0..shapes.context).collect::<Vec<_>>(), [width], device) * 0.02;
        let places = ContextPlaces::leading(shapes.context);
        let texts = PromptSet::with_context(tokenizer, &names, places)?;
        let (features, trace) = clip.text.forward_traced(&texts, &start);
        let what = "embeddings of texts with context";
        found.push(Values::rows(what, features, classes, &both.classes)?);
        let gradient = same_in(classes, &both.classes, embed, device);
        let at_context = clip.text.pullback(&texts, &trace, gradient);
        found.push(Values::all("gradient at context", at_context)?);
    }
    if traced.is_empty() {
        return Ok(found);
    }

    let prompts = |views: &[usize]| uneven::<3>(views, [PROMPT_ROWS, vision.width], device);
    let prompted = clip.image.resume(&pass.entry, prompts(views));
    found.push(Values::rows("embeddings with prompts", prompted, views, &both.views)?);
    let clean = clip.image.resume(&pass.entry.narrow(0, 1), prompts(&[0]));
    found.push(Values::all("embedding of the clean view with prompts", clean)?);
    let places: Vec<i64> = traced
        .iter()
        .map(|view| views.iter().position(|other| other == view).expect("it is a view") as i64)
        .collect();
    let chosen = Tensor::<1, Int>::from_data(&places[..], device);
    let (embeddings, trace) = clip.image.resume_traced(&pass.entry, chosen, prompts(traced));
    let what = "embeddings with prompts that are traced";
    found.push(Values::rows(what, embeddings, traced, &both.traced)?);
    let at_prompts = clip.image.pullback(&trace, uneven(traced, [embed], device));
    found.push(Values::rows("gradient at prompts", at_prompts, traced, &both.traced)?);

    // A sum over views, which all get the same gradient: they may be handed on in several parts.
    let parts = tuned.iter().map(|(times, views)| {
        let pixels = uneven(views, [3, side, side], device);
        let (_, gradient) = clip.image.norm_gradient(pixels, vision.layers, |embeddings| {
            let gradient = uneven::<2>(&[0], [embed], device);
            (Some(gradient.repeat_dim(0, embeddings.dims()[0])), ())
        });
        gradient * *times
    });
    let at_norms = parts.reduce(|sum, part| sum + part).expect("there are views");
    found.push(Values::all("gradient at LayerNorms", at_norms)?);
    Ok(found)
}

/// What methods compute from embeddings: products, orders, gathers and sums.
fn arithmetic(
    device: &Device,
    (embed, width): (usize, usize),
    ProofShapes { views, chosen, class_names, mint, .. }: ProofShapes<'_>,
) -> Result<Vec<Values>, MethodError> {
    let all = |count: usize| (0..count).collect::<Vec<_>>();
    let images = mint_clip::normalize(uneven(&all(views), [embed], device));
    // Views and classes have other numbers.
    let classes: Vec<usize> = (0..class_names.len()).map(|class| class + views).collect();
    let texts = mint_clip::normalize(uneven(&classes, [embed], device));
    let logits = scaled_cosines(images.clone(), texts.clone(), 100.0);
    let mut found = vec![
        Values::all("logits", logits.clone())?,
        Values::all("entropies of views", entropies(logits.clone()))?,
        Values::all("entropy of the mean", marginal_entropy(logits.clone()))?,
    ];
    if chosen == 0 {
        return Ok(found);
    }
    // By their entropies, since of two that are nearly equal either may be the lower one.
    let confident = confident_views(logits.clone(), chosen);
    let of_confident = entropies(logits.select(0, confident));
    found.push(Values::all("entropies of the most confident views", of_confident)?);
    let images = images.narrow(0, 0, chosen.min(views)).autodiff().require_grad();
    let texts = texts.autodiff().require_grad();
    let loss = marginal_entropy(scaled_cosines(images.clone(), texts.clone(), 10.0));
    let gradients = loss.backward();
    for (what, of) in [("gradient at images", &images), ("gradient at texts", &texts)] {
        let gradient = of.grad(&gradients).expect("the loss depends on both");
        found.push(Values::all(what, gradient)?);
    }

    let slots = all(mint.bank_slots);
    let prompts = uneven(&slots, [PROMPT_ROWS, width], device);
    let bank = MemoryBank::new(uneven(&slots, [width], device), prompts);
    let levels: Vec<_> = [1, 2, 3]
        .map(|level| {
            let rows: Vec<usize> = (0..views).map(|view| view + level * views).collect();
            uneven(&rows, [width], device)
        })
        .into();
    let queries = Queries::new(&levels);
    let picks = queries.nearest(&bank, None, mint.picks_per_block);
    let distances = queries.distances(uneven(&slots, [width], device), &picks, None);
    found.push(Values::all("distances of the recalled slots", distances)?);
    // With picks that do not depend on rounding.
    let [_, per_view] = picks.dims();
    let picks: Vec<i64> = (0..views * per_view).map(|n| (n * 7 % slots.len()) as i64).collect();
    let picks = Tensor::<1, Int>::from_data(&picks[..], device).reshape([views, per_view]);
    found.push(Values::all("means of recalled prompts", bank.mean_prompts(&picks))?);
    let gradient = uneven(&all(views), [PROMPT_ROWS, width], device);
    let at_slots = bank.mean_prompts_pullback(&picks, gradient);
    found.push(Values::all("gradient at recalled prompts", at_slots)?);
    Ok(found)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, MethodError> {
    let count: usize = tensor.dims().iter().product();
    read_unchecked(tensor.reshape([count]))
}

/// `count` of `all` places, the first and the last among them.
fn spread(count: usize, all: usize) -> Vec<usize> {
    let count = count.min(all);
    (0..count).map(|place| place * (all - 1) / (count - 1).max(1)).collect()
}

/// Rows of numbers between -1 and 1 without a pattern that matters, the same on every device.
/// Each row has numbers of its own.
fn uneven<const D: usize>(
    rows: &[usize],
    of_row: impl Into<Vec<usize>>,
    device: &Device,
) -> Tensor<D> {
    let of_row = of_row.into();
    let length = of_row.iter().product();
    let values = rows.iter().flat_map(|row| numbers(*row, length)).collect();
    rows_of(values, rows.len(), of_row, device)
}

/// The same numbers in the rows of `some`, and zero in the others. Shape: `[row, length]`.
fn same_in(rows: &[usize], some: &[usize], length: usize, device: &Device) -> Tensor<2> {
    let kept = |row: &usize| f32::from(some.contains(row));
    let values = rows.iter().flat_map(|row| numbers(0, length).map(move |x| x * kept(row)));
    rows_of(values.collect(), rows.len(), vec![length], device)
}

fn rows_of<const D: usize>(
    values: Vec<f32>,
    rows: usize,
    of_row: Vec<usize>,
    device: &Device,
) -> Tensor<D> {
    let shape: Vec<usize> = [rows].into_iter().chain(of_row).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The upper bits of a linear congruence that starts where the row says.
fn numbers(row: usize, length: usize) -> impl Iterator<Item = f32> {
    let mut state = (row as u32).wrapping_mul(0x9E37_79B9).wrapping_add(0x7F4A_7C15);
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
    .take(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_places_are_spread_over_all() {
        assert_eq!(spread(3, 64), [0, 31, 63]);
        assert_eq!(spread(3, 2), [0, 1]);
        assert_eq!(spread(3, 1), [0]);
        assert_eq!(spread(0, 5), [0; 0]);
    }

    #[test]
    fn what_differs_or_is_no_number_is_named() {
        let of = |value| Values { what: "x", values: vec![value, 2.0] };
        let tolerance = Tolerance::new(Precision::F32, false);
        assert!(of(1.0).compare(&of(1.0 + 1e-4), tolerance).is_ok());
        let message = |value| of(1.0).compare(&of(value), tolerance).unwrap_err().to_string();
        assert!(message(1.5).starts_with("x: the device is 2.5e-1 from the CPU"));
        assert!(message(f32::NAN).contains("not a finite number"), "{}", message(f32::NAN));
        assert!(of(f32::NAN).compare(&of(1.0), tolerance).is_err());
    }
}
