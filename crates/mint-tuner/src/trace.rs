//! What a method did with one image on the way to its answer, for those who want to see why.

use burn::tensor::{Int, Tensor};

use crate::error::MethodError;
use crate::outcome::read_unchecked;

/// What happened to one image. What a method does not have stays empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// The views that were compared with the classes, the clean one first.
    pub views: Vec<ViewTrace>,
    /// What the answer would be before each step, and last the answer. Shape: `[step + 1, class]`;
    /// empty for methods without steps.
    pub scores: Vec<Vec<f32>>,
    /// What a memory of slots recalled.
    pub recalled: Option<Recalled>,
}

/// One view as a method saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewTrace {
    /// How unsure it is of its class, in nats if that is Shannon's entropy.
    pub entropy: f32,
    /// Its best class.
    pub best: usize,
    /// How much it counts: 1 for a chosen view and 0 for another one, or its share where methods
    /// weigh views.
    pub weight: f32,
}

/// Which slots of a memory were recalled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recalled {
    /// The blocks whose class tokens ask, counted from 1. Length: level.
    pub blocks: Vec<usize>,
    /// How often each slot had been recalled before the image. Length: slot.
    pub usage: Vec<u64>,
    /// For each step and level the slots that views recalled, with the number of times: the most
    /// frequent first, of equal ones the lowest.
    pub steps: Vec<Vec<Vec<(usize, usize)>>>,
    /// For each level the slots that the clean view recalled for the answer, the nearest first.
    pub answer: Vec<Vec<usize>>,
}

impl Trace {
    /// Notes the views. Shapes: logits `[view, class]`, entropies `[view]`.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn see(
        &mut self,
        logits: Tensor<2>,
        entropies: Tensor<1>,
        weights: Vec<f32>,
    ) -> Result<(), MethodError> {
        let best = integers(logits.argmax(1).squeeze_dim(1))?;
        let views = read_unchecked(entropies)?.into_iter().zip(best).zip(weights);
        let view = |((entropy, best), weight)| ViewTrace { entropy, best, weight };
        self.views = views.map(view).collect();
        Ok(())
    }

    /// [`Trace::see`] where some views are chosen `[chosen]`, and the others do not count.
    ///
    /// # Errors
    ///
    /// Those of [`Trace::see`].
    pub fn choose(
        &mut self,
        logits: Tensor<2>,
        entropies: Tensor<1>,
        chosen: Tensor<1, Int>,
    ) -> Result<(), MethodError> {
        let mut weights = vec![0.0; logits.dims()[0]];
        for view in integers(chosen)? {
            weights[view] = 1.0;
        }
        self.see(logits, entropies, weights)
    }

    /// Notes what the answer would be before the next step. Shape: `[1, class]`.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn score(&mut self, logits: Tensor<2>) -> Result<(), MethodError> {
        self.scores.push(read_unchecked(logits.squeeze_dim(0))?);
        Ok(())
    }
}

impl Recalled {
    /// Notes the picks of all views in the next step. Shape: `[view, level * pick]`.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn step(&mut self, picks: Tensor<2, Int>) -> Result<(), MethodError> {
        let of_level = |picks: Vec<usize>| {
            let mut times = vec![0; self.usage.len()];
            picks.into_iter().for_each(|slot| times[slot] += 1);
            let mut slots: Vec<(usize, usize)> =
                times.into_iter().enumerate().filter(|(_, times)| *times > 0).collect();
            slots.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
            slots
        };
        let levels = self.by_level(picks)?.into_iter().map(of_level).collect();
        self.steps.push(levels);
        Ok(())
    }

    /// Notes the picks of the clean view for the answer. Shape: `[1, level * pick]`.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn answer(&mut self, picks: Tensor<2, Int>) -> Result<(), MethodError> {
        self.answer = self.by_level(picks)?;
        Ok(())
    }

    /// The picks of all views at each level.
    fn by_level(&self, picks: Tensor<2, Int>) -> Result<Vec<Vec<usize>>, MethodError> {
        let [views, per_view] = picks.dims();
        let levels = self.blocks.len();
        let per_level = views * per_view / levels;
        let grouped = picks.reshape([views, levels, per_view / levels]).swap_dims(0, 1);
        let all = integers(grouped.reshape([views * per_view]))?;
        Ok(all.chunks(per_level).map(<[usize]>::to_vec).collect())
    }
}

/// Reads places and counts back from the device.
pub(crate) fn integers(values: Tensor<1, Int>) -> Result<Vec<usize>, MethodError> {
    let values = mint_clip::read::<i64, _, _>(values)?;
    Ok(values.into_iter().map(|value| value as usize).collect())
}
