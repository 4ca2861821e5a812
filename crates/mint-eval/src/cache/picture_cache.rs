//! Embeddings of pictures of the user's own, kept by content: of all those with the same weights and
//! views in a few files that are quickly read.

use std::io;
use std::path::Path;

use crate::cache::kept_embeddings::{EntryName, KeptEmbeddings};
use crate::cache::packs::Packs;
use crate::cache::{CacheError, EmbeddingCache};
use crate::config::CachePrecision;
use mint_augment::ViewConfig;

/// The name of the files that embeddings are kept in.
pub(crate) const NAME: &str = "pictures";

/// The embeddings of pictures, of one group.
#[derive(Debug)]
pub(crate) struct PictureCache {
    packs: Packs,
    precision: CachePrecision,
}

impl PictureCache {
    /// The embeddings `[view, embed]` of pictures whose views are drawn by their content.
    ///
    /// # Errors
    ///
    /// If the group's folder cannot be made or read, or is damaged.
    pub fn open(
        cache: &EmbeddingCache,
        views: &ViewConfig,
        seed: u64,
        embed: usize,
    ) -> Result<Self, CacheError> {
        // The clean view is not drawn.
        let seed = if views.count == 1 { 0 } else { seed };
        let folder = cache.open_pictures(views, seed)?;
        let precision = cache.precision();
        let length = views.count * embed * precision.size();
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| CacheError::Io { path, source }
        };
        let packs = Packs::open(&folder, NAME, length).map_err(io(&folder))?;
        Ok(Self { packs, precision })
    }
}

impl KeptEmbeddings for PictureCache {
    fn read(&self, name: &EntryName) -> Option<Vec<f32>> {
        self.packs.get(&name.0).map(|bytes| self.precision.values(&bytes))
    }

    fn has(&self, name: &EntryName) -> bool {
        self.packs.has(&name.0)
    }

    fn write(&self, name: &EntryName, values: &[f32]) {
        self.packs.add(&name.0, &self.precision.bytes(values));
    }

    fn precision(&self) -> CachePrecision {
        self.precision
    }

    fn damaged(&self) -> u64 {
        self.packs.damaged()
    }

    fn write_error(&self) -> Option<&str> {
        self.packs.write_error()
    }
}
