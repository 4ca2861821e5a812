//! The methods by name.

use std::fmt;
use std::str::FromStr;

use mint_tuner::ScoreKind;
use serde::{Deserialize, Serialize};

use crate::texts::Texts;

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Test-time prompt tuning that keeps the texts spread.
    Ctpt,
    /// Test-time prompt tuning with the angles between texts.
    Atpt,
    /// Prototypes that are shifted for each image.
    Tps,
    /// Votes of cached test images and of the image's own views.
    Boostadapter,
    /// Normal distributions of the classes, estimated online.
    Dota,
    /// Normal distributions with one covariance, of cached test images.
    Oga,
    /// Texts and cached images that are tuned together.
    Dpe,
}

/// What is known of a method before it runs.
struct Entry {
    id: MethodId,
    /// On the command line and in records.
    name: &'static str,
    /// In texts.
    title: &'static str,
    /// The fixed texts that images are compared with unless a setting says otherwise; `None` if
    /// there are none, or no choice.
    texts: Option<Texts>,
}

const fn entry(
    id: MethodId,
    name: &'static str,
    title: &'static str,
    texts: Option<Texts>,
) -> Entry {
    Entry { id, name, title, texts }
}

/// All methods in the order of the published table, then those that it does not have.
const METHODS: [Entry; 20] = [
    entry(MethodId::Clip, "clip", "CLIP zero-shot", Some(Texts::Template)),
    entry(MethodId::Ensemble, "ensemble", "Ensemble", Some(Texts::Templates80)),
    entry(MethodId::Coop, "coop", "CoOp", None),
    entry(MethodId::Cocoop, "cocoop", "CoCoOp", None),
    entry(MethodId::Maple, "maple", "MaPLe", None),
    entry(MethodId::Tpt, "tpt", "TPT", None),
    entry(MethodId::Sar, "sar", "SAR", Some(Texts::Template)),
    // The published row says that it used an ensemble, and not which.
    entry(MethodId::Mta, "mta", "MTA", Some(Texts::Templates80)),
    entry(MethodId::Zero, "zero", "ZERO", Some(Texts::Template)),
    entry(MethodId::Mint, "mint", "MINT", None),
    entry(MethodId::Tda, "tda", "TDA", Some(Texts::Templates80)),
    entry(MethodId::Vte, "vte", "VTE", Some(Texts::Templates80)),
    entry(MethodId::Onzeta, "onzeta", "OnZeta", Some(Texts::Templates7)),
    entry(MethodId::Ctpt, "ctpt", "C-TPT", None),
    entry(MethodId::Atpt, "atpt", "A-TPT", None),
    entry(MethodId::Tps, "tps", "TPS", Some(Texts::Template)),
    entry(MethodId::Boostadapter, "boostadapter", "BoostAdapter", Some(Texts::SetEnsemble)),
    entry(MethodId::Dota, "dota", "DOTA", Some(Texts::SetEnsemble)),
    entry(MethodId::Oga, "oga", "OGA", Some(Texts::SetTemplate)),
    entry(MethodId::Dpe, "dpe", "DPE", Some(Texts::SetEnsemble)),
];

impl MethodId {
    /// All, in the order of the published table, then those that it does not have.
    pub fn all() -> impl Iterator<Item = Self> {
        METHODS.iter().map(|entry| entry.id)
    }

    /// The name used on the command line and in records.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The name used in texts.
    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// The fixed texts that images are compared with unless a setting says otherwise; `None` if
    /// there are none, or no choice.
    pub fn texts(self) -> Option<Texts> {
        self.entry().texts
    }

    /// What its scores are.
    pub fn scores(self) -> ScoreKind {
        if self == Self::Zero { ScoreKind::Votes } else { ScoreKind::Logits }
    }

    fn entry(self) -> &'static Entry {
        METHODS.iter().find(|entry| entry.id == self).expect("the table has every method")
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
