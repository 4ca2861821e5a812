//! ImageNet's classes, the subsets that its variants use, and the published prompt templates.

use std::sync::LazyLock;

use serde::Deserialize;

/// The facts of `data/imagenet.json`.
#[derive(Debug, Deserialize)]
pub struct ImageNet {
    /// All 1,000 classes in label order.
    pub classes: Vec<Class>,
    /// Labels of the classes of ImageNet-A, ascending.
    pub imagenet_a: Vec<usize>,
    /// Labels of the classes of ImageNet-R, ascending.
    pub imagenet_r: Vec<usize>,
    /// The 80 templates of zero-shot CLIP's ensemble.
    pub templates_80: Vec<String>,
    /// The 7 templates that do almost as well.
    pub templates_7: Vec<String>,
}

/// One class of ImageNet.
#[derive(Debug, Clone, Deserialize)]
pub struct Class {
    /// WordNet identifier, which is also the folder's name.
    pub synset: String,
    /// Name used in prompts.
    pub name: String,
}

impl ImageNet {
    /// The facts, parsed once.
    pub fn facts() -> &'static Self {
        static FACTS: LazyLock<ImageNet> = LazyLock::new(|| {
            serde_json::from_str(include_str!("../data/imagenet.json"))
                .expect("the embedded facts are valid")
        });
        &FACTS
    }
}
