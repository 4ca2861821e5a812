//! Embeddings of the classes' texts, kept from run to run.

use mint_clip::burn::tensor::{Device, Tensor, TensorData};
use mint_tuner::{ClassTexts, KeptTexts, TextMeans};
use sha2::{Digest, Sha256};

use crate::cache::kept_embeddings::{EntryName, KeptEmbeddings};
use crate::cache::{CacheError, EmbeddingCache, ViewCache};

/// Embeddings of texts, as one model makes them.
#[derive(Debug)]
pub struct TextCache {
    entries: ViewCache,
    device: Device,
}

impl TextCache {
    /// The texts of a cache, for a model on `device`.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made, or is damaged.
    pub fn open(cache: &EmbeddingCache, device: &Device) -> Result<Self, CacheError> {
        Ok(Self { entries: cache.open_texts()?, device: device.clone() })
    }

    /// The name of the texts of some classes; `None` if they have none.
    fn name(texts: &ClassTexts, class_names: &[String]) -> Option<EntryName> {
        let identity = serde_json::to_vec(&(texts.identity()?, class_names)).ok()?;
        Some(EntryName(Sha256::digest(identity).into()))
    }
}

/// An entry has the rows of the normalised embeddings, and after them the means that they are made
/// of.
impl KeptTexts for TextCache {
    fn read(&self, texts: &ClassTexts, class_names: &[String]) -> Option<(Tensor<2>, TextMeans)> {
        let values = self.entries.read(&Self::name(texts, class_names)?)?;
        let counts = texts.counts(class_names).ok()?;
        let embed = values.len() / (2 * counts.len());
        let (features, means) = values.split_at(values.len() / 2);
        let rows = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [counts.len(), embed]);
            Tensor::from_data(data, &self.device)
        };
        Some((rows(features), TextMeans { means: rows(means), counts: counts.clone() }))
    }

    fn keep(
        &self,
        texts: &ClassTexts,
        class_names: &[String],
        (features, means): &(Tensor<2>, TextMeans),
    ) {
        let Some(name) = Self::name(texts, class_names) else { return };
        let both = Tensor::cat(vec![features.clone(), means.means.clone()], 0);
        // What cannot be read is not kept; whoever uses the texts meets the error.
        if let Ok(values) = mint_clip::read::<f32, _, _>(both)
            && values.iter().all(|value| value.is_finite())
        {
            self.entries.write(&name, &values);
        }
    }
}
