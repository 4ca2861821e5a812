//! MINT: memory-infused prompt tuning.
//!
//! [`Mint`] is the method; [`Adaptation`] opens it up step by step.

mod adaptation;
mod config;
mod memory_bank;
mod retrieval;

use burn::tensor::Device;
use mint_clip::{Clip, PassConfig};

pub use adaptation::{Adaptation, Step};
pub use config::{DistanceSign, MintConfig};
pub use memory_bank::{MemoryBank, PROMPT_ROWS, Usage};
pub use retrieval::{Queries, UsageScaling};

use crate::class_set::ClassSet;
use crate::class_texts::Context;
use crate::confidence::entropies;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;
use crate::trace::{Recalled, integers};

/// Adapts a memory bank and a context to each image before it is classified.
#[derive(Debug)]
pub struct Mint {
    config: MintConfig,
    pass: PassConfig,
    context: Context,
    start_bank: MemoryBank,
    bank: MemoryBank,
}

impl Mint {
    /// With the context that every image starts from, and a random bank.
    ///
    /// # Errors
    ///
    /// If the configuration makes no sense, or does not fit the model.
    pub fn new(
        config: MintConfig,
        clip: &Clip,
        context: impl Into<Context>,
    ) -> Result<Self, MethodError> {
        config.check()?;
        let pass = config.pass(&clip.config)?;
        let width = clip.config.vision.width;
        let bank = MemoryBank::random(config.bank_slots, width, config.bank_seed, &clip.device);
        Ok(Self { config, pass, context: context.into(), start_bank: bank.clone(), bank })
    }
}

impl Method for Mint {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::All
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        classes.learner(&self.context).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let learner = classes.learner(&self.context)?;
        let pass = views.pass(&self.pass);
        let mut adaptation =
            Adaptation::new(&self.config, views.clip(), &learner, &mut self.bank, &pass)?;
        views.trace(|trace| {
            let blocks = self.pass.levels.iter().map(|level| level + 1).collect();
            let usage = integers(adaptation.bank().usage().counts())?;
            let usage = usage.into_iter().map(|count| count as u64).collect();
            trace.recalled = Some(Recalled { blocks, usage, ..Recalled::default() });
            Ok(())
        })?;
        let mut steps = Vec::with_capacity(self.config.steps);
        for _ in 0..self.config.steps {
            views.trace(|trace| {
                trace.score(adaptation.predict())?;
                trace.recalled.as_mut().map_or(Ok(()), |it| it.step(adaptation.picks()))
            })?;
            let Step { loss, entropy, .. } = adaptation.step();
            steps.push([loss, entropy]);
        }
        views.trace(|trace| {
            if let (Some(logits), Some(chosen)) = (adaptation.view_logits(), adaptation.chosen()) {
                trace.choose(logits.clone(), entropies(logits), chosen)?;
            }
            trace.recalled.as_mut().map_or(Ok(()), |it| it.answer(adaptation.clean_picks()))
        })?;
        Ok(Pending::adapted(adaptation.predict(), steps))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(self)
    }
}

impl Remembers for Mint {
    fn lifetime(&self) -> Lifetime {
        self.config.bank_lifetime
    }

    fn forget(&mut self) {
        self.bank = self.start_bank.clone();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        self.bank.to_memory()
    }

    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        self.bank = MemoryBank::from_memory(memory, device)?;
        Ok(())
    }
}
