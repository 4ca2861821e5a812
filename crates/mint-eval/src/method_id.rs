//! The methods by name.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
}

impl MethodId {
    /// All, in the order of the published table, then those that it does not have.
    pub const ALL: [MethodId; 12] = [
        MethodId::Clip,
        MethodId::Ensemble,
        MethodId::Coop,
        MethodId::Cocoop,
        MethodId::Maple,
        MethodId::Tpt,
        MethodId::Sar,
        MethodId::Mta,
        MethodId::Zero,
        MethodId::Mint,
        MethodId::Tda,
        MethodId::Vte,
    ];

    /// The name used on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            MethodId::Clip => "clip",
            MethodId::Ensemble => "ensemble",
            MethodId::Coop => "coop",
            MethodId::Cocoop => "cocoop",
            MethodId::Maple => "maple",
            MethodId::Tpt => "tpt",
            MethodId::Sar => "sar",
            MethodId::Mta => "mta",
            MethodId::Zero => "zero",
            MethodId::Mint => "mint",
            MethodId::Tda => "tda",
            MethodId::Vte => "vte",
        }
    }

    /// The name used in texts.
    pub fn title(self) -> &'static str {
        match self {
            MethodId::Clip => "CLIP zero-shot",
            MethodId::Ensemble => "Ensemble",
            MethodId::Coop => "CoOp",
            MethodId::Cocoop => "CoCoOp",
            MethodId::Maple => "MaPLe",
            MethodId::Tpt => "TPT",
            MethodId::Sar => "SAR",
            MethodId::Mta => "MTA",
            MethodId::Zero => "ZERO",
            MethodId::Mint => "MINT",
            MethodId::Tda => "TDA",
            MethodId::Vte => "VTE",
        }
    }
}

impl FromStr for MethodId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let typed = name.trim();
        let found =
            MethodId::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(typed));
        found.ok_or_else(|| {
            let known: Vec<&str> = MethodId::ALL.iter().map(|method| method.name()).collect();
            format!("`{name}` is not a known method; known are {} and `all`", known.join(", "))
        })
    }
}
