//! Images whose clean views go through the image tower together.

use mint_clip::Clip;
use mint_clip::burn::tensor::{Tensor, TensorData};
use mint_tuner::{ImageViews, MethodError};

use crate::cache::kept_embeddings::{EntryName, KeptEmbeddings};
use crate::loader::{CacheUse, Input, Loaded};
use crate::session::Session;

/// Images that no method has seen yet.
#[derive(Default)]
pub(crate) struct Group {
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// Index in the set.
    index: usize,
    input: OnDevice,
    /// Where embeddings that are computed are to be kept.
    entry: Option<EntryName>,
}

/// Views, or their embeddings, on the device.
enum OnDevice {
    Pixels(Tensor<4>),
    Embeddings(Tensor<2>),
}

/// An image as methods see it.
pub(crate) struct Ready<'a> {
    /// Index in the set.
    pub index: usize,
    pub views: ImageViews<'a>,
    /// Where embeddings that are computed later are to be kept.
    pub entry: Option<EntryName>,
}

impl Group {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds an image.
    pub fn push(&mut self, session: &Session<'_>, index: usize, loaded: Loaded) {
        let Loaded { input, entry, .. } = loaded;
        let input = match input {
            Input::Views(views) => OnDevice::Pixels(session.pixels(views)),
            Input::Embeddings(values) => {
                OnDevice::Embeddings(embeddings(session.classes().clip(), values))
            }
        };
        self.waiting.push(Waiting { index, input, entry });
    }

    /// Whether an image has pixels, which go through the image tower.
    pub fn has_pixels(&self) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting.input, OnDevice::Pixels(_)))
    }

    /// The images, in their order. Clean views of several go through the tower at once; what a cache
    /// is to be read from is computed and kept.
    ///
    /// # Errors
    ///
    /// If the device cannot deliver what is to be kept.
    pub fn take<'a>(
        &mut self,
        clip: &'a Clip,
        cache: Option<&CacheUse>,
    ) -> Result<Vec<Ready<'a>>, MethodError> {
        let waiting = std::mem::take(&mut self.waiting);
        let clean: Vec<Tensor<4>> = waiting.iter().filter_map(Waiting::clean_pixels).collect();
        let clean = (clean.len() > 1).then(|| clip.image.forward_each(Tensor::cat(clean, 0)));
        let reads = cache.filter(|cache| cache.reads);
        let mut place = 0;
        let ready = waiting.into_iter().map(|Waiting { index, input, entry }| {
            let views = match input {
                OnDevice::Embeddings(embeddings) => ImageViews::of_embeddings(clip, embeddings),
                OnDevice::Pixels(pixels) => {
                    let clean = clean.as_ref().map(|clean| clean.clone().narrow(0, place, 1));
                    place += 1;
                    match (reads, clean) {
                        (None, None) => ImageViews::new(clip, pixels),
                        (None, Some(clean)) => {
                            ImageViews::new(clip, pixels).with_clean_embedding(clean)
                        }
                        (Some(cache), clean) => {
                            // There is one view where several images are a group.
                            let all = clean.unwrap_or_else(|| clip.image.forward(pixels));
                            let all = kept(clip, &*cache.images, entry.as_ref(), all)?;
                            ImageViews::of_embeddings(clip, all)
                        }
                    }
                }
            };
            Ok(Ready { index, views, entry })
        });
        ready.collect()
    }
}

impl Waiting {
    /// View 0. Shape: `[1, channel, row, column]`.
    fn clean_pixels(&self) -> Option<Tensor<4>> {
        match &self.input {
            OnDevice::Pixels(pixels) => Some(pixels.clone().narrow(0, 0, 1)),
            OnDevice::Embeddings(_) => None,
        }
    }
}

/// Keeps embeddings that were computed, if they are numbers; returns them as they will be read.
pub(crate) fn kept(
    clip: &Clip,
    images: &dyn KeptEmbeddings,
    entry: Option<&EntryName>,
    computed: Tensor<2>,
) -> Result<Tensor<2>, MethodError> {
    let Some(entry) = entry else { return Ok(computed) };
    let values: Vec<f32> = mint_clip::read(computed)?;
    images.keep(entry, &values);
    Ok(embeddings(clip, images.precision().rounded(values)))
}

/// Embeddings of all views, row by row, on the device.
fn embeddings(clip: &Clip, values: Vec<f32>) -> Tensor<2> {
    let embed = clip.config.embed_dim;
    let shape = [values.len() / embed, embed];
    Tensor::from_data(TensorData::new(values, shape), &clip.device)
}
