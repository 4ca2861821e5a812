//! What overrides weight files, and how a setting is known.

use std::path::PathBuf;

use crate::config::Activation;

/// What overrides a weight file, or completes it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadOptions {
    /// Activation of the MLPs, where the file does not state it, or states it wrongly.
    pub activation: Option<Activation>,
    /// Factor of the logits (the exponential of the stored tensor).
    pub logit_scale: Option<f32>,
}

/// How a setting is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The weight file itself.
    File,
    /// Another file next to it.
    Beside(PathBuf),
    /// [`LoadOptions`].
    Options,
    /// Nothing says it; it is what OpenAI's published weights have.
    Assumed,
}
