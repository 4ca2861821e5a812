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
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;

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
    fn view_demand(&self) -> ViewDemand {
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
        let steps = (0..self.config.steps)
            .map(|_| {
                let Step { loss, entropy, .. } = adaptation.step();
                [loss, entropy]
            })
            .collect();
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
