//! Sharpness-aware descent of reliable entropies over the image tower's LayerNorms.
//!
//! The source of the equations is that of [`crate::methods::sar`].

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::{Clip, ImageEncoder};

use crate::confidence::entropies;
use crate::error::MethodError;
use crate::memory::{Memory, integer_tensor};
use crate::methods::sar::config::SarConfig;
use crate::outcome::read_vector;

/// The adapted parameters and what their next update depends on.
#[derive(Debug, Clone)]
pub struct NormTuning {
    /// Shape: `[block, ln_1 | ln_2, weight | bias, width]`.
    start: Tensor<4>,
    /// Shape: that of the start.
    parameters: Tensor<4>,
    /// Shape: that of the start.
    velocity: Option<Tensor<4>>,
    /// Moving average of the loss.
    average: Option<f64>,
}

/// What is minimised: the entropy of predictions that are below a margin.
#[derive(Debug)]
pub struct NormObjective<'a> {
    clip: &'a Clip,
    /// Shape: `[class, embed]`.
    texts: Tensor<2>,
    /// In nats.
    margin: f64,
}

/// What one update computed.
#[derive(Debug)]
pub struct NormUpdate {
    /// Before the update. Shape: `[view, class]`.
    pub logits: Tensor<2>,
    /// Views whose entropy was below the margin.
    pub reliable: Vec<usize>,
    /// Those of them that were so uphill too.
    pub reliable_again: Vec<usize>,
    /// Mean entropy of the reliable views, in nats; `None` if there were none.
    pub loss: Option<f64>,
    /// The same of those that were reliable uphill.
    pub second_loss: Option<f64>,
    /// Gradient of the loss. Shape: that of the parameters.
    pub gradient: Tensor<4>,
    /// Gradient of the second loss, uphill; the one that is followed.
    pub second_gradient: Tensor<4>,
    /// Whether the loss had fallen so low that the parameters went back to their start.
    pub recovered: bool,
}

impl NormTuning {
    /// From gains and offsets `[block, ln_1 | ln_2, weight | bias, width]`.
    pub fn new(start: Tensor<4>) -> Self {
        Self { parameters: start.clone(), start, velocity: None, average: None }
    }

    /// Gains and offsets as they are now. Shape: `[block, ln_1 | ln_2, weight | bias, width]`.
    pub fn parameters(&self) -> &Tensor<4> {
        &self.parameters
    }

    /// Gains and offsets at the start. Shape: `[block, ln_1 | ln_2, weight | bias, width]`.
    pub fn start(&self) -> &Tensor<4> {
        &self.start
    }

    /// Moving average of the loss since the start.
    pub fn average(&self) -> Option<f64> {
        self.average
    }

    /// Goes back to the start.
    pub fn recover(&mut self) {
        *self = Self::new(self.start.clone());
    }

    /// One update for a batch of views. Shape: `[view, channel, row, column]`.
    ///
    /// # Errors
    ///
    /// If the device fails, or an entropy is not finite.
    pub fn update(
        &mut self,
        config: &SarConfig,
        objective: &NormObjective<'_>,
        pixels: &Tensor<4>,
    ) -> Result<NormUpdate, MethodError> {
        let first = objective.pass(&self.parameters, pixels.clone())?;

        // Equation 4: uphill along the gradient, then the gradient there.
        let length = first.gradient.clone().square().sum().sqrt() + 1e-12;
        let uphill = first.gradient.clone() * config.perturbation / length.reshape([1, 1, 1, 1]);
        let second = if first.reliable.is_empty() {
            None
        } else {
            let indices = first.reliable.iter().map(|&view| view as i64).collect();
            let pixels = pixels.clone().select(0, integer_tensor(indices, &pixels.device()));
            Some(objective.pass(&(self.parameters.clone() + uphill), pixels)?)
        };
        let (second_loss, again, second_gradient) = match second {
            Some(pass) => (pass.loss, pass.reliable, pass.gradient),
            // Nothing pulls, and the velocity stays.
            None => (None, Vec::new(), first.gradient.zeros_like()),
        };
        self.descend(config, &second_gradient);
        if let Some(loss) = second_loss {
            let decay = config.average_decay;
            let mixed = |average: f64| decay * average + (1.0 - decay) * loss;
            self.average = Some(self.average.map_or(loss, mixed));
        }
        let recovered = self.average.is_some_and(|average| average < config.recovery_threshold);
        if recovered {
            self.recover();
        }
        Ok(NormUpdate {
            logits: first.logits,
            reliable_again: again.into_iter().map(|index| first.reliable[index]).collect(),
            reliable: first.reliable,
            loss: first.loss,
            second_loss,
            gradient: first.gradient,
            second_gradient,
            recovered,
        })
    }

    /// Gradient descent with momentum, as PyTorch's: the first velocity is the gradient.
    fn descend(&mut self, config: &SarConfig, gradient: &Tensor<4>) {
        let velocity = match self.velocity.take() {
            None => gradient.clone(),
            Some(velocity) => velocity * config.momentum + gradient.clone(),
        };
        self.parameters = self.parameters.clone() - velocity.clone() * config.learning_rate;
        self.velocity = Some(velocity);
    }

    /// What was saved, without the weights that it started from.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or of another shape.
    pub fn from_memory(memory: &Memory, device: &Device) -> Result<Self, MethodError> {
        let mut tuning = Self::new(memory.tensor::<4>("start", device)?);
        tuning.restore(memory, device)?;
        Ok(tuning)
    }

    /// To be saved.
    pub(crate) fn to_memory(&self) -> Result<Memory, MethodError> {
        // The start is for readers, who do not have the weights.
        let mut memory =
            Memory::default().with("start", &self.start)?.with("parameters", &self.parameters)?;
        if let Some(velocity) = &self.velocity {
            memory = memory.with("velocity", velocity)?;
        }
        // Its bits, so that a resumed run is the same run.
        let average = self.average.map(|average| average.to_bits() as i64);
        Ok(memory.with_integers("average-bits", average.as_slice()))
    }

    /// As it was saved.
    pub(crate) fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        let tensor = |name: &str| {
            let tensor = memory.tensor::<4>(name, device)?;
            if tensor.dims() == self.start.dims() { Ok(tensor) } else { Err(memory.damaged(name)) }
        };
        let parameters = tensor("parameters")?;
        let velocity = memory.has("velocity").then(|| tensor("velocity")).transpose()?;
        let average = memory.integers("average-bits")?;
        let average = average.first().map(|&bits| f64::from_bits(bits as u64));
        *self = Self { start: self.start.clone(), parameters, velocity, average };
        Ok(())
    }
}

/// What some views lead to with some parameters.
struct Pass {
    /// Shape: `[view, class]`.
    logits: Tensor<2>,
    reliable: Vec<usize>,
    /// Mean entropy of the reliable views.
    loss: Option<f64>,
    /// Its gradient; zero if there are none.
    gradient: Tensor<4>,
}

/// What one job of a pass returns.
struct JobEntropies {
    /// Shape: `[view, class]`.
    logits: Tensor<2>,
    entropies: Vec<f32>,
}

impl<'a> NormObjective<'a> {
    /// With texts `[class, embed]`, and the margin as a share of the largest entropy.
    pub fn new(clip: &'a Clip, texts: Tensor<2>, margin: f64) -> Self {
        let margin = margin * (texts.dims()[0] as f64).ln();
        Self { clip, texts, margin }
    }

    fn pass(&self, parameters: &Tensor<4>, pixels: Tensor<4>) -> Result<Pass, MethodError> {
        let encoder: ImageEncoder = self.clip.image.with_norm_parameters(parameters);
        let blocks = parameters.dims()[0];
        let (jobs, gradient) = encoder.norm_gradient(pixels, blocks, |embeddings| {
            match self.at_embeddings(embeddings) {
                Ok((gradient, job)) => (gradient, Ok(job)),
                Err(error) => (None, Err(error)),
            }
        });
        let jobs = jobs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let logits = Tensor::cat(jobs.iter().map(|job| job.logits.clone()).collect(), 0);
        let entropies: Vec<f32> = jobs.into_iter().flat_map(|job| job.entropies).collect();
        let reliable = self.reliable(&entropies);
        let sum: f64 = reliable.iter().map(|&view| f64::from(entropies[view])).sum();
        let count = reliable.len() as f64;
        let loss = (!reliable.is_empty()).then(|| sum / count);
        Ok(Pass { logits, loss, gradient: gradient / count.max(1.0), reliable })
    }

    /// Gradient of the sum of the reliable entropies at the embeddings, if there are any.
    fn at_embeddings(
        &self,
        embeddings: &Tensor<2>,
    ) -> Result<(Option<Tensor<2>>, JobEntropies), MethodError> {
        let embeddings = embeddings.clone().autodiff().require_grad();
        let logits = self.clip.logits(embeddings.clone(), self.texts.clone().autodiff());
        let of_views = entropies(logits.clone());
        let entropies = read_vector(of_views.clone().inner())?;
        let job = JobEntropies { logits: logits.inner(), entropies };
        let reliable = self.reliable(&job.entropies);
        if reliable.is_empty() {
            return Ok((None, job));
        }
        let mut weights = vec![0.0f32; job.entropies.len()];
        reliable.into_iter().for_each(|view| weights[view] = 1.0);
        let weights = TensorData::new(weights, [job.entropies.len()]);
        let weights = Tensor::<1>::from_data(weights, &job.logits.device()).autodiff();
        let gradient = embeddings.grad(&(of_views * weights).sum().backward());
        Ok((gradient, job))
    }

    /// The views whose entropy is below the margin (equation 2).
    fn reliable(&self, entropies: &[f32]) -> Vec<usize> {
        let below = |&view: &usize| f64::from(entropies[view]) < self.margin;
        (0..entropies.len()).filter(below).collect()
    }
}
