//! Dimensions of the towers in weight files.

use std::fmt;

use crate::config::{TextConfig, VisionConfig};

/// Dimensions of the towers that are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimensions {
    /// The image tower.
    pub vision: Option<VisionConfig>,
    /// The text tower.
    pub text: Option<TextConfig>,
    /// Width of the space that images and texts share.
    pub embed_dim: usize,
}

impl Dimensions {
    /// The towers that have dimensions.
    pub fn towers(&self) -> Vec<Tower> {
        let image = self.vision.as_ref().map(|_| Tower::Image);
        image.into_iter().chain(self.text.as_ref().map(|_| Tower::Text)).collect()
    }
}

/// One of the two towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tower {
    /// Images to embeddings.
    Image,
    /// Texts to embeddings.
    Text,
}

impl fmt::Display for Tower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Image => "image tower",
            Self::Text => "text tower",
        })
    }
}
