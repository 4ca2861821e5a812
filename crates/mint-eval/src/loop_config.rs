//! How an evaluation runs: settings that change no result, and who watches.

use mint_clip::burn::tensor::Device;
use mint_datasets::ImageSet;

use crate::loader::LoadError;
use crate::metrics::Accuracy;

/// Settings that change speed or patience, but no result.
#[derive(Debug, Clone, Copy)]
pub struct LoopConfig {
    /// Threads that decode and make views.
    pub loader_threads: usize,
    /// Images in memory ahead of the device.
    pub ahead: usize,
    /// Stop at the first image that cannot be used.
    pub strict: bool,
    /// Images whose clean views go through the image tower together, where clean views are all
    /// that is looked at.
    pub clean_views_at_once: usize,
    /// Start on an image before the results of the one before it are read, which keeps a device
    /// busy that works on its own.
    pub overlap: bool,
}

impl Default for LoopConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            loader_threads: cores,
            // Enough for every thread to have an image.
            ahead: cores.max(4),
            strict: false,
            clean_views_at_once: 16,
            overlap: false,
        }
    }
}

impl LoopConfig {
    /// What keeps a device busy.
    pub fn for_device(device: &Device) -> Self {
        if *device == Device::flex() {
            return Self::default();
        }
        Self { clean_views_at_once: 64, overlap: true, ..Self::default() }
    }
}

/// What an evaluation tells while it runs.
pub trait Observer {
    /// The texts of a test set's classes are about to be prepared.
    fn prepare(&mut self, _set: &ImageSet) {}
    /// A test set begins; `done` of its `images` were done by an earlier run.
    fn start(&mut self, set: &ImageSet, images: usize, done: usize);
    /// An image is done; accuracies are in the order of the methods.
    fn image(&mut self, accuracies: &[Accuracy]);
    /// An image could not be used.
    fn unreadable(&mut self, error: &LoadError);
    /// What was wrong with the cache of a set: damaged files, whose images were computed again, and
    /// why embeddings could not be kept. Neither makes a result wrong.
    fn cache(&mut self, _damaged: u64, _write_error: Option<&str>) {}
    /// A test set ends, or the run stops.
    fn finish(&mut self);
    /// Whether the run is to end after the image at hand.
    fn stop(&self) -> bool {
        false
    }
}
