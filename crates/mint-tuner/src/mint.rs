//! MINT: memory-infused prompt tuning.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use mint_clip::Clip;

use crate::adaptation::{Adaptation, Step};
use crate::class_set::ClassSet;
use crate::config::MintConfig;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory};
use crate::memory_bank::MemoryBank;
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;
use crate::prompt_learner::PromptLearner;

/// Adapts a memory bank and a context to each image before it is classified.
#[derive(Debug)]
pub struct Mint {
    config: MintConfig,
    context: Tensor<2>,
    start_bank: MemoryBank,
    bank: MemoryBank,
    learner: Option<Arc<PromptLearner>>,
}

impl Mint {
    /// With the context `[context, width]` that every image starts from, and a random bank.
    pub fn new(config: MintConfig, clip: &Clip, context: Tensor<2>) -> Result<Self, MethodError> {
        config.check()?;
        config.pass(&clip.config)?;
        let width = clip.config.vision.width;
        let bank = MemoryBank::random(config.bank_slots, width, config.bank_seed, &clip.device);
        Ok(Self { config, context, start_bank: bank.clone(), bank, learner: None })
    }
}

impl Method for Mint {
    fn view_demand(&self) -> ViewDemand {
        ViewDemand::All
    }

    fn start_test_set(&mut self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        if self.config.bank_lifetime != Lifetime::Run {
            self.bank = self.start_bank.clone();
        }
        self.learner = Some(classes.learner(&self.context)?);
        Ok(())
    }

    fn launch(&mut self, views: &ImageViews<'_>) -> Result<Pending, MethodError> {
        if self.config.bank_lifetime == Lifetime::Image {
            self.bank = self.start_bank.clone();
        }
        let learner = self.learner.as_ref().expect("a test set was started");
        let mut adaptation =
            Adaptation::new(&self.config, views.clip(), learner, &mut self.bank, views.pass())?;
        let step = |_| {
            let Step { loss, entropy, .. } = adaptation.step();
            [loss, entropy]
        };
        let steps = (0..self.config.steps).map(step).collect();
        Ok(Pending::adapted(adaptation.predict(), steps))
    }

    fn memory_lifetime(&self) -> Option<Lifetime> {
        Some(self.config.bank_lifetime)
    }

    fn memory(&self) -> Result<Option<Memory>, MethodError> {
        Ok(Some(self.bank.to_memory()?))
    }

    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        self.bank = MemoryBank::from_memory(memory, device)?;
        Ok(())
    }
}
