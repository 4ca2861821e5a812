//! Fixed texts that methods compare images with.

use serde::{Deserialize, Serialize};

/// Fixed texts of the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Texts {
    /// `a photo of a {}.`
    Template,
    /// The template that CoOp has for the test set, such as `a photo of a {}, a type of pet.`
    SetTemplate,
    /// The mean of the templates that the published code of DOTA, BoostAdapter and DPE has for the
    /// test set; of the 7 for images of no set.
    SetEnsemble,
    /// The mean of the texts that the file `class-texts` has for each class.
    ClassTexts,
    /// The mean of 7 templates.
    #[serde(rename = "templates-7")]
    Templates7,
    /// The mean of 80 templates.
    #[serde(rename = "templates-80")]
    Templates80,
    /// The trained context.
    Context,
}
