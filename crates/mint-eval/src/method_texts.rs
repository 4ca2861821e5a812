//! Which fixed texts each method compares images with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::method_id::MethodId;
use crate::texts::Texts;

/// What each method with fixed texts compares images with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<MethodId, Texts>", into = "BTreeMap<MethodId, Texts>")]
pub struct MethodTexts(BTreeMap<MethodId, Texts>);

/// A method whose texts are not a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has no fixed texts to choose", .0.title())]
pub struct NoFixedTexts(MethodId);

impl Default for MethodTexts {
    fn default() -> Self {
        Self(MethodId::all().filter_map(|id| Some((id, id.texts()?))).collect())
    }
}

impl MethodTexts {
    /// The same texts for every method that compares images with fixed texts.
    pub fn all(texts: Texts) -> Self {
        Self(Self::default().0.into_keys().map(|id| (id, texts)).collect())
    }

    /// The texts of a method; `None` if it has no fixed ones.
    pub fn of(&self, method: MethodId) -> Option<Texts> {
        self.0.get(&method).copied()
    }
}

impl TryFrom<BTreeMap<MethodId, Texts>> for MethodTexts {
    type Error = NoFixedTexts;

    /// Methods that are not named keep their usual texts.
    fn try_from(texts: BTreeMap<MethodId, Texts>) -> Result<Self, NoFixedTexts> {
        let mut all = Self::default();
        for (method, texts) in texts {
            *all.0.get_mut(&method).ok_or(NoFixedTexts(method))? = texts;
        }
        Ok(all)
    }
}

impl From<MethodTexts> for BTreeMap<MethodId, Texts> {
    fn from(texts: MethodTexts) -> Self {
        texts.0
    }
}
