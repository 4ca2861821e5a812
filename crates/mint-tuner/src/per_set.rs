//! Constants that official code has for each test set, and which views it looks at.

use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::method::ViewDemand;

/// A constant of each test set, by its name (`I`, `A`, `dtd`); ImageNet's stands first.
pub(crate) type PerSet<T> = [(&'static str, T)];

/// The constant of a test set; ImageNet's for images of no set, or of one that the official code does
/// not know.
pub(crate) fn of_set<T: Copy>(constants: &PerSet<T>, classes: &ClassSet<'_>) -> T {
    let known = constants.iter().find(|(set, _)| classes.set() == Some(*set));
    known.unwrap_or(&constants[0]).1
}

/// ImageNet's variants, whose rules often differ from those of ImageNet and the fine-grained sets.
pub(crate) fn is_shifted_imagenet(classes: &ClassSet<'_>) -> bool {
    classes.set().is_some_and(|set| ["A", "V", "R", "K"].contains(&set))
}

/// Which views of an image a method takes for the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LooksAt {
    /// What the official code looks at for the test set.
    #[default]
    BySet,
    /// The clean view.
    Clean,
    /// The confident ones of all views.
    Views,
}

impl LooksAt {
    /// The choice for a test set, given the official one.
    pub(crate) fn demand(self, official: ViewDemand) -> ViewDemand {
        match self {
            Self::BySet => official,
            Self::Clean => ViewDemand::Clean,
            Self::Views => ViewDemand::All,
        }
    }
}
