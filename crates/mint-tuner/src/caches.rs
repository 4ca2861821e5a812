//! Images that were seen, cached by the class they were taken for, which vote on later ones: what
//! TDA and BoostAdapter share.

use std::borrow::Borrow;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use crate::error::MethodError;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::outcome::read_vector;
use crate::settings;

/// Images that were seen, by the class they were taken for.
///
/// With `s` slots for each of `C` classes, positive and negative together, and `d` numbers in an
/// embedding, `4 C s d` bytes at most, and 8 for each class that an image votes against: 10 MB with 5
/// slots, 1,000 classes and 512 numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caches {
    positive: Vec<Vec<Cached>>,
    negative: Vec<Vec<Cached>>,
}

/// An image in a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    /// Mean of unit vectors. Length: embed.
    pub feature: Vec<f32>,
    /// In nats.
    pub entropy: f32,
    /// Classes that it votes for, or against.
    pub classes: Vec<usize>,
}

/// An image as the caches see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Mean of the confident views' normalised embeddings. Length: embed.
    pub feature: Vec<f32>,
    /// Mean of their logits. Length: class.
    pub logits: Vec<f32>,
    /// Mean of their class distributions. Length: class.
    pub probabilities: Vec<f32>,
}

/// How caches are filled, and how they vote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    pub(crate) positive: Side,
    pub(crate) negative: Side,
    /// Images whose entropy lies between these shares of `log2(classes)` enter the negative cache.
    pub(crate) uncertain: (f64, f64),
    /// An image votes against the classes whose probability lies between these.
    pub(crate) excluded: (f64, f64),
}

/// One of the two caches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Side {
    /// Images of each class.
    pub(crate) slots: usize,
    /// Weight of a vote.
    pub(crate) weight: f64,
    /// How fast a vote falls with the distance to the cached image.
    pub(crate) sharpness: f64,
}

impl Rules {
    pub(crate) fn check(&self) -> Result<(), MethodError> {
        settings::whole("positive-slots", self.positive.slots, 0..=settings::MOST_SLOTS)?;
        settings::whole("negative-slots", self.negative.slots, 0..=settings::MOST_SLOTS)?;
        for (name, value) in [
            ("positive-weight", self.positive.weight),
            ("positive-sharpness", self.positive.sharpness),
            ("negative-weight", self.negative.weight),
            ("negative-sharpness", self.negative.sharpness),
            ("uncertain", self.uncertain.0),
            ("uncertain", self.uncertain.1),
            ("excluded", self.excluded.0),
            ("excluded", self.excluded.1),
        ] {
            settings::finite(name, value)?;
        }
        Ok(())
    }
}

impl Sighting {
    /// The mean of chosen views `[chosen]`, of normalised embeddings `[view, embed]` with their logits
    /// `[view, class]`.
    pub(crate) fn mean(
        chosen: &Tensor<1, Int>,
        embeddings: Tensor<2>,
        logits: Tensor<2>,
    ) -> Result<Self, MethodError> {
        let mean = |rows: Tensor<2>| {
            read_vector(rows.select(0, chosen.clone()).mean_dim(0).squeeze_dim(0))
        };
        Ok(Self {
            feature: mean(embeddings)?,
            probabilities: mean(softmax(logits.clone(), 1))?,
            logits: mean(logits)?,
        })
    }

    /// Entropy of the class distribution, in nats.
    pub fn entropy(&self) -> f32 {
        let term = |&p: &f32| if p > 0.0 { -p * p.ln() } else { 0.0 };
        self.probabilities.iter().map(term).sum()
    }
}

impl Caches {
    /// Caches the image where it belongs; `put` is the rule by which the negative cache makes room.
    pub(crate) fn remember(
        &mut self,
        rules: &Rules,
        image: &Sighting,
        put: fn(&mut Vec<Cached>, usize, Cached),
    ) {
        let entropy = image.entropy();
        let class = argmax(&image.logits);
        let n_classes = image.logits.len();
        self.positive.resize(n_classes, Vec::new());
        self.negative.resize(n_classes, Vec::new());
        let entry = |classes| Cached { feature: image.feature.clone(), entropy, classes };
        insert(&mut self.positive[class], rules.positive.slots, entry(vec![class]));
        let relative = f64::from(entropy) / (n_classes as f64).log2();
        if rules.uncertain.0 < relative && relative < rules.uncertain.1 {
            let excluded = |&class: &usize| {
                let p = f64::from(image.probabilities[class]);
                rules.excluded.0 < p && p < rules.excluded.1
            };
            let excluded = (0..n_classes).filter(excluded).collect();
            put(&mut self.negative[class], rules.negative.slots, entry(excluded));
        }
    }

    /// The image's logits with the votes of `positive` and of the negative cache.
    pub(crate) fn scores<'a>(
        &self,
        rules: &Rules,
        positive: impl Iterator<Item = &'a Cached>,
        image: &Sighting,
    ) -> Vec<f32> {
        let mut scores = image.logits.clone();
        let Rules { positive: votes, negative: objections, .. } = rules;
        vote(positive, (votes.weight, votes.sharpness), &image.feature, &mut scores);
        let negative = (-objections.weight, objections.sharpness);
        vote(self.negative.iter().flatten(), negative, &image.feature, &mut scores);
        scores
    }

    /// Refuses caches of another number of classes, or of embeddings of another width.
    pub(crate) fn check(
        &self,
        method: &str,
        n_classes: usize,
        width: usize,
    ) -> Result<(), MethodError> {
        let of = self.positive.len();
        if of != 0 && of != n_classes {
            return Err(MethodError::Config(format!(
                "{method}'s caches are of {of} classes and the test set has {n_classes}"
            )));
        }
        let mut entries = self.positive.iter().chain(&self.negative).flatten();
        match entries.find(|entry| entry.feature.len() != width) {
            None => Ok(()),
            Some(entry) => Err(MethodError::Config(format!(
                "{method}'s caches are of embeddings of {} numbers and the model's have {width}",
                entry.feature.len()
            ))),
        }
    }

    /// The images of each class that vote for it, the most certain first.
    pub fn positive(&self) -> &[Vec<Cached>] {
        &self.positive
    }

    /// The images of each class that vote against classes.
    pub fn negative(&self) -> &[Vec<Cached>] {
        &self.negative
    }

    /// How many images are cached for each class, positive and negative.
    pub fn sizes(&self) -> [Vec<usize>; 2] {
        [&self.positive, &self.negative].map(|cache| cache.iter().map(Vec::len).collect())
    }
}

impl Remembers for Caches {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        let memory = save(Memory::default(), &self.positive, "positive");
        Ok(save(memory, &self.negative, "negative"))
    }

    fn restore(&mut self, memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        let (positive, negative) = (load(memory, "positive")?, load(memory, "negative")?);
        if positive.len() != negative.len() {
            return Err(memory.damaged("negative-sizes"));
        }
        *self = Self { positive, negative };
        Ok(())
    }
}

pub(crate) fn save(memory: Memory, cache: &[Vec<Cached>], name: &str) -> Memory {
    let entries = || cache.iter().flatten();
    let features: Vec<f32> = entries().flat_map(|entry| entry.feature.iter().copied()).collect();
    let entropies: Vec<f32> = entries().map(|entry| entry.entropy).collect();
    let classes: Vec<i64> =
        entries().flat_map(|entry| entry.classes.iter().map(|&class| class as i64)).collect();
    let counts: Vec<i64> = entries().map(|entry| entry.classes.len() as i64).collect();
    let sizes: Vec<i64> = cache.iter().map(|entries| entries.len() as i64).collect();
    memory
        .with_floats(&format!("{name}-features"), &features)
        .with_floats(&format!("{name}-entropies"), &entropies)
        .with_integers(&format!("{name}-classes"), &classes)
        .with_integers(&format!("{name}-class-counts"), &counts)
        .with_integers(&format!("{name}-sizes"), &sizes)
}

pub(crate) fn load(memory: &Memory, name: &str) -> Result<Vec<Vec<Cached>>, MethodError> {
    let integers = |what: &str| -> Result<Vec<usize>, MethodError> {
        let what = format!("{name}-{what}");
        let values = memory.integers(&what)?.into_iter().map(usize::try_from);
        values.collect::<Result<_, _>>().map_err(|_| memory.damaged(&what))
    };
    let features = memory.floats(&format!("{name}-features"))?;
    let entropies = memory.floats(&format!("{name}-entropies"))?;
    let (classes, counts, sizes) =
        (integers("classes")?, integers("class-counts")?, integers("sizes")?);
    let width = features.len().checked_div(entropies.len()).unwrap_or(0);
    let sum = |values: &[usize]| values.iter().try_fold(0usize, |sum, &v| sum.checked_add(v));
    let is_whole = width * entropies.len() == features.len()
        && counts.len() == entropies.len()
        && sum(&counts) == Some(classes.len())
        && sum(&sizes) == Some(entropies.len())
        && classes.iter().all(|&class| class < sizes.len())
        && features.iter().chain(&entropies).all(|value| value.is_finite());
    if !is_whole {
        return Err(memory.damaged(name));
    }
    let mut classes = classes.into_iter();
    let mut entries = entropies.into_iter().zip(counts).enumerate();
    let mut entry = || {
        let (place, (entropy, count)) = entries.next()?;
        let feature = features[place * width..][..width].to_vec();
        Some(Cached { feature, entropy, classes: classes.by_ref().take(count).collect() })
    };
    Ok(sizes.into_iter().map(|size| (0..size).map_while(|_| entry()).collect()).collect())
}

/// Adds an entry while there is room; then it takes the place of the least certain one if it is
/// more certain. Entries are sorted, the most certain first.
pub(crate) fn insert<E: Borrow<Cached>>(entries: &mut Vec<E>, slots: usize, entry: E) {
    let entropy = |entry: &E| entry.borrow().entropy;
    if entries.len() < slots {
        entries.push(entry);
    } else if let Some(last) = entries.last_mut().filter(|last| entropy(&entry) < entropy(last)) {
        *last = entry;
    }
    entries.sort_by(|a, b| entropy(a).total_cmp(&entropy(b)));
}

/// Adds an entry; where there is no room the oldest goes. Entries are sorted, the oldest first.
pub(crate) fn append(entries: &mut Vec<Cached>, slots: usize, entry: Cached) {
    entries.push(entry);
    entries.drain(..entries.len().saturating_sub(slots));
}

/// Adds `weight * exp(-sharpness * (1 - cosine))` to the score of every class that an entry names.
fn vote<'a>(
    entries: impl Iterator<Item = &'a Cached>,
    (weight, sharpness): (f64, f64),
    feature: &[f32],
    scores: &mut [f32],
) {
    for entry in entries {
        let cosine: f32 = entry.feature.iter().zip(feature).map(|(a, b)| a * b).sum();
        let vote = weight * (-sharpness * (1.0 - f64::from(cosine))).exp();
        entry.classes.iter().for_each(|&class| scores[class] += vote as f32);
    }
}

/// The class of the largest value, the lowest of equal ones.
pub(crate) fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, class| if values[class] > values[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_caches_are_refused() {
        let entry = |class| Cached { feature: vec![0.6, 0.8], entropy: 0.1, classes: vec![class] };
        let caches = Caches {
            positive: vec![vec![entry(0), entry(0)], vec![entry(1)]],
            negative: vec![vec![], vec![entry(0)]],
        };
        let saved = caches.save().expect("it can be saved");
        let restored = |memory: &Memory| {
            let mut restored = Caches::default();
            restored.restore(memory, &Device::flex()).map(|()| restored)
        };
        assert_eq!(restored(&saved).expect("it is whole"), caches);
        let floats = |name: &str, values: &[f32]| saved.clone().with_floats(name, values);
        let integers = |name: &str, values: &[i64]| saved.clone().with_integers(name, values);
        for damaged in [
            Memory::default(),
            floats("positive-features", &[0.6, 0.8, 0.6, 0.8, 0.6]),
            floats("positive-features", &[0.6, 0.8, 0.6, 0.8, 0.6, f32::NAN]),
            floats("positive-entropies", &[0.1, 0.1]),
            floats("positive-entropies", &[]),
            integers("positive-classes", &[0, 0, 2]),
            integers("positive-classes", &[0, 0]),
            integers("positive-class-counts", &[1, 1]),
            integers("positive-class-counts", &[i64::MAX, i64::MAX, 3]),
            integers("positive-sizes", &[2, -1]),
            integers("positive-sizes", &[2, 2]),
            integers("positive-sizes", &[i64::MAX, i64::MAX]),
            integers("negative-sizes", &[0, 1, 0]),
            integers("negative-sizes", &[1]),
        ] {
            let error = restored(&damaged).expect_err("it is damaged");
            assert!(matches!(error, MethodError::Memory(_)), "{error}");
        }
        assert!(caches.check("X", 2, 2).is_ok());
        let message = caches.check("X", 2, 3).expect_err("another model").to_string();
        let expected = "X's caches are of embeddings of 2 numbers and the model's have 3";
        assert_eq!(message, expected);
    }
}
