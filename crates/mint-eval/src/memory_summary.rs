//! What is in a memory, in numbers for people.

use mint_clip::burn::tensor::{Device, Tensor};
use mint_tuner::caches::{Cached, Caches};
use mint_tuner::dota::Gaussians;
use mint_tuner::dpe::Prototypes;
use mint_tuner::oga::Stored;
use mint_tuner::onzeta::Stream;
use mint_tuner::{Memory, MemoryBank, MethodError, NormTuning, Remembers};
use serde::Serialize;

use crate::album::{AlbumError, AlbumMemory};
use crate::basis::Basis;
use crate::method_id::MethodId;

/// What a method remembers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemorySummary {
    /// The method.
    pub method: MethodId,
    /// What is in it.
    #[serde(flatten)]
    pub contents: Contents,
}

/// What a memory holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Contents {
    /// MINT's bank.
    Bank {
        /// Its slots.
        slots: usize,
        /// Slots that were ever recalled while adapting.
        used: usize,
        /// Recalls, over all images, views and steps.
        recalls: u64,
        /// How many slots were recalled how often.
        histogram: Vec<Recalls>,
        /// How far keys are from the start, slot by slot.
        keys: Drift,
        /// How far prompts are from the start, slot by slot.
        prompts: Drift,
    },
    /// TDA's and BoostAdapter's caches.
    Caches {
        /// Images that vote for the class they were taken for.
        positive: Entries,
        /// Images that vote against classes.
        negative: Entries,
    },
    /// OnZeta's stream.
    Stream {
        /// Images so far.
        images: usize,
        /// Images of the whole stream.
        of: Option<usize>,
        /// What is added to each class's logit.
        class_weights: Vec<OfClass<f32>>,
    },
    /// DOTA's distributions.
    Distributions {
        /// Views that each class has had, in shares of a view, and one more from the start.
        views: Vec<OfClass<f32>>,
    },
    /// OGA's images.
    Stored {
        /// The most certain images of each class.
        stored: Entries,
    },
    /// DPE's prototypes.
    Prototypes {
        /// Images that the texts learned from.
        learned: usize,
        /// The most certain images of each class.
        cached: Entries,
    },
    /// SAR's LayerNorms.
    Norms {
        /// How far the gains are from the start, norm by norm.
        gains: Drift,
        /// How far the offsets are from the start, norm by norm.
        offsets: Drift,
        /// Moving average of the entropy that is minimised, in nats; null at the start.
        average: Option<f64>,
    },
}

/// Slots that were recalled about equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Recalls {
    /// From this number of recalls on.
    pub from: u64,
    /// To this number, included.
    pub to: u64,
    /// Slots.
    pub slots: usize,
}

/// Distances of vectors from where they started.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Their mean.
    pub mean: f64,
    /// The largest.
    pub largest: f64,
    /// Which vector that is, counted from 0.
    pub farthest: usize,
    /// The mean length of the vectors at the start, to compare with.
    pub start_length: f64,
}

/// A number of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfClass<T> {
    /// The class's name, or the text that stands for none.
    pub class: String,
    /// The number.
    pub value: T,
}

/// Images that are kept by class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entries {
    /// How many there are.
    pub entries: usize,
    /// Classes that have some.
    pub filled_classes: usize,
    /// Mean of their entropies, in nats; null without any.
    pub mean_entropy: Option<f64>,
    /// The entropies of each class's images, in nats; classes without any are left out.
    pub entropies: Vec<OfClass<Vec<f32>>>,
}

impl AlbumMemory {
    /// What each method's memory holds.
    ///
    /// # Errors
    ///
    /// If a memory is incomplete.
    pub fn summaries(&self) -> Result<Vec<MemorySummary>, AlbumError> {
        let summary = |(method, memory): &(MethodId, Memory)| {
            let contents = self.contents(*method, memory);
            let method = *method;
            match contents {
                Ok(contents) => Ok(MemorySummary { method, contents }),
                Err(source) => Err(AlbumError::Method { method, source }),
            }
        };
        self.memories.iter().map(summary).collect()
    }

    fn contents(&self, method: MethodId, memory: &Memory) -> Result<Contents, MethodError> {
        let device = Device::flex();
        Ok(match method {
            MethodId::Mint => {
                bank(&MemoryBank::from_memory(memory, &device)?, self.basis.config.mint.bank_seed)?
            }
            MethodId::Sar => norms(&NormTuning::from_memory(memory, &device)?)?,
            MethodId::Onzeta => {
                let stream: Stream = restored(memory)?;
                let class_weights = self.named(stream.class_weights());
                let of = self.basis.config.onzeta.images;
                Contents::Stream { images: stream.images(), of, class_weights }
            }
            MethodId::Dota => Contents::Distributions {
                views: self.named(restored::<Gaussians>(memory)?.counts()),
            },
            MethodId::Oga => {
                let stored: Stored = restored(memory)?;
                Contents::Stored { stored: self.entries(entropies(stored.classes())) }
            }
            MethodId::Dpe => {
                let kept: Prototypes = restored(memory)?;
                let n_classes = kept.texts().map_or(0, |texts| texts.dims()[0]);
                let of_class = |class| kept.images(class).map(|(_, entropy)| entropy).collect();
                let cached = self.entries((0..n_classes).map(of_class).collect());
                Contents::Prototypes { learned: kept.learned(), cached }
            }
            // TDA and BoostAdapter; others remember nothing.
            _ => {
                let caches: Caches = restored(memory)?;
                Contents::Caches {
                    positive: self.entries(entropies(caches.positive())),
                    negative: self.entries(entropies(caches.negative())),
                }
            }
        })
    }

    /// The name of a class, or the text that stands for none.
    fn name(&self, class: usize) -> String {
        let Basis { classes, none, .. } = &self.basis;
        let name = classes.iter().chain(none).nth(class);
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    fn named<T: Clone>(&self, values: &[T]) -> Vec<OfClass<T>> {
        let of_class =
            |(class, value): (usize, &T)| OfClass { class: self.name(class), value: value.clone() };
        values.iter().enumerate().map(of_class).collect()
    }

    fn entries(&self, entropies: Vec<Vec<f32>>) -> Entries {
        let all: Vec<f64> = entropies.iter().flatten().map(|&entropy| entropy.into()).collect();
        let mut entropies = self.named(&entropies);
        entropies.retain(|of_class| !of_class.value.is_empty());
        Entries {
            entries: all.len(),
            filled_classes: entropies.len(),
            mean_entropy: (!all.is_empty()).then(|| mean(&all)),
            entropies,
        }
    }
}

fn restored<T: Remembers + Default>(memory: &Memory) -> Result<T, MethodError> {
    let mut restored = T::default();
    restored.restore(memory, &Device::flex())?;
    Ok(restored)
}

fn entropies(classes: &[Vec<Cached>]) -> Vec<Vec<f32>> {
    let of_class = |entries: &Vec<Cached>| entries.iter().map(|entry| entry.entropy).collect();
    classes.iter().map(of_class).collect()
}

fn bank(bank: &MemoryBank, seed: u64) -> Result<Contents, MethodError> {
    let (slots, width) = (bank.slots(), bank.keys.dims()[1]);
    let start = MemoryBank::random(slots, width, seed, &Device::flex());
    let counts = mint_clip::read::<i64, _, _>(bank.usage().counts())?;
    let counts: Vec<u64> = counts.into_iter().map(i64::unsigned_abs).collect();
    let largest = counts.iter().copied().max().unwrap_or(0);
    // 0, 1 to 9, 10 to 99 and so on.
    let tens = (0..=largest.checked_ilog10().map_or(0, |places| places + 1)).map(|places| {
        let (from, to) = match places {
            0 => (0, 0),
            _ => (10u64.pow(places - 1), 10u64.saturating_pow(places) - 1),
        };
        let slots = counts.iter().filter(|count| (from..=to).contains(count)).count();
        Recalls { from, to, slots }
    });
    let rows = |prompts: &Tensor<3>| prompts.clone().flatten::<2>(1, 2);
    Ok(Contents::Bank {
        slots,
        used: counts.iter().filter(|&&count| count > 0).count(),
        recalls: bank.usage().total(),
        histogram: tens.collect(),
        keys: drift(bank.keys.clone(), start.keys)?,
        prompts: drift(rows(&bank.prompts), rows(&start.prompts))?,
    })
}

fn norms(tuning: &NormTuning) -> Result<Contents, MethodError> {
    let [blocks, norms, _, width] = tuning.start().dims();
    let part = |parameters: &Tensor<4>, place: usize| {
        parameters.clone().narrow(2, place, 1).reshape([blocks * norms, width])
    };
    let drift_of =
        |place: usize| drift(part(tuning.parameters(), place), part(tuning.start(), place));
    Ok(Contents::Norms { gains: drift_of(0)?, offsets: drift_of(1)?, average: tuning.average() })
}

/// Of the rows of a matrix.
fn drift(now: Tensor<2>, start: Tensor<2>) -> Result<Drift, MethodError> {
    let lengths = |rows: Tensor<2>| -> Result<Vec<f64>, MethodError> {
        let lengths: Tensor<1> = rows.square().sum_dim(1).sqrt().squeeze_dim(1);
        Ok(mint_clip::read::<f32, _, _>(lengths)?.into_iter().map(f64::from).collect())
    };
    let distances = lengths(now - start.clone())?;
    let farther =
        |best: usize, row: usize| if distances[row] > distances[best] { row } else { best };
    let farthest = (0..distances.len()).fold(0, farther);
    Ok(Drift {
        mean: mean(&distances),
        largest: distances.get(farthest).copied().unwrap_or(0.0),
        farthest,
        start_length: mean(&lengths(start)?),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bank_is_compared_with_the_one_that_its_seed_draws() {
        let start = MemoryBank::random(4, 3, 7, &Device::flex());
        let moved = start.keys.clone()
            + Tensor::from_floats(
                [[0.0; 3], [3.0, 4.0, 0.0], [0.0; 3], [0.0, 0.0, 1.0]],
                &Device::flex(),
            );
        let used = MemoryBank::with_usage(moved, start.prompts.clone(), &[0, 12, 9, 0]);
        let Contents::Bank { slots, used, recalls, histogram, keys, prompts } =
            bank(&used, 7).expect("the device works")
        else {
            panic!("a bank has the summary of one")
        };
        assert_eq!((slots, used, recalls), (4, 2, 21));
        let recalls = |from, to, slots| Recalls { from, to, slots };
        assert_eq!(histogram, [recalls(0, 0, 2), recalls(1, 9, 1), recalls(10, 99, 1)]);
        assert!((keys.mean - 1.5).abs() < 1e-6 && (keys.largest - 5.0).abs() < 1e-6, "{keys:?}");
        assert_eq!((keys.farthest, prompts.mean, prompts.largest), (1, 0.0, 0.0));
        assert!(keys.start_length > 0.0);
    }
}
