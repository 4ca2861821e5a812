//! The methods by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MethodId {
    /// Zero-shot CLIP.
    Clip,
    /// Zero-shot with the mean of many templates.
    Ensemble,
    /// Zero-shot with a trained context.
    Coop,
    /// A trained context that depends on the image.
    Cocoop,
    /// Trained prompts in both towers.
    Maple,
    /// Test-time prompt tuning.
    Tpt,
    /// Sharpness-aware tuning of the image tower's LayerNorms.
    Sar,
    /// Mean-shift over the views' embeddings.
    Mta,
    /// Votes of the confident views.
    Zero,
    /// Memory-infused prompt tuning.
    Mint,
    /// Votes of cached test images.
    Tda,
    /// Mean of the confident views' embeddings.
    Vte,
    /// A classifier that learns online from balanced zero-shot labels.
    Onzeta,
}

/// Each method, its name on the command line and in records, and its name in texts: in the order of
/// the published table, then those that it does not have.
const METHODS: [(MethodId, &str, &str); 13] = [
    (MethodId::Clip, "clip", "CLIP zero-shot"),
    (MethodId::Ensemble, "ensemble", "Ensemble"),
    (MethodId::Coop, "coop", "CoOp"),
    (MethodId::Cocoop, "cocoop", "CoCoOp"),
    (MethodId::Maple, "maple", "MaPLe"),
    (MethodId::Tpt, "tpt", "TPT"),
    (MethodId::Sar, "sar", "SAR"),
    (MethodId::Mta, "mta", "MTA"),
    (MethodId::Zero, "zero", "ZERO"),
    (MethodId::Mint, "mint", "MINT"),
    (MethodId::Tda, "tda", "TDA"),
    (MethodId::Vte, "vte", "VTE"),
    (MethodId::Onzeta, "onzeta", "OnZeta"),
];

impl MethodId {
    /// All, in the order of the published table, then those that it does not have.
    pub fn all() -> impl Iterator<Item = Self> {
        METHODS.into_iter().map(|(id, ..)| id)
    }

    /// The name used on the command line and in records.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The name used in texts.
    pub fn title(self) -> &'static str {
        self.entry().2
    }

    /// Whether images are compared with texts that a setting chooses.
    pub fn has_fixed_texts(self) -> bool {
        match self {
            Self::Coop | Self::Cocoop | Self::Maple | Self::Tpt | Self::Mint => false,
            Self::Clip
            | Self::Ensemble
            | Self::Sar
            | Self::Mta
            | Self::Zero
            | Self::Tda
            | Self::Vte
            | Self::Onzeta => true,
        }
    }

    fn entry(self) -> (Self, &'static str, &'static str) {
        METHODS.into_iter().find(|&(id, ..)| id == self).expect("the table has every method")
    }
}

/// A name that is not that of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMethod(String);

impl fmt::Display for UnknownMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = MethodId::all().map(MethodId::name).collect();
        let known = known.join(", ");
        write!(formatter, "`{}` is not a known method; known are {known} and `all`", self.0)
    }
}

impl std::error::Error for UnknownMethod {}

impl FromStr for MethodId {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let typed = name.trim();
        let found = Self::all().find(|method| method.name().eq_ignore_ascii_case(typed));
        found.ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

impl TryFrom<String> for MethodId {
    type Error = UnknownMethod;

    fn try_from(name: String) -> Result<Self, UnknownMethod> {
        name.parse()
    }
}

impl From<MethodId> for String {
    fn from(method: MethodId) -> String {
        method.name().to_owned()
    }
}
