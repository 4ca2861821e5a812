//! From a model to the views that it looks at.

use mint_augment::{CleanResize, Normalization, ViewConfig};
use mint_clip::ClipConfig;
use mint_clip::config::{Preprocessing, ResizeMode};

/// Views of the size, the resizing and the normalisation that a model was trained with.
pub fn view_config(model: &ClipConfig, count: usize) -> ViewConfig {
    let Preprocessing { image_mean, image_std, resize } = model.preprocessing;
    ViewConfig {
        size: model.vision.image_size as u32,
        count,
        clean: match resize {
            ResizeMode::Shortest => CleanResize::Shortest,
            ResizeMode::Squash => CleanResize::Squash,
        },
        normalization: Normalization { mean: image_mean, std: image_std },
        ..ViewConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_crates_have_the_same_usual_normalisation() {
        let Preprocessing { image_mean, image_std, .. } = Preprocessing::default();
        assert_eq!(Normalization { mean: image_mean, std: image_std }, Normalization::CLIP);
    }
}
