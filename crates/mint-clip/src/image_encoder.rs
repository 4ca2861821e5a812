//! The image tower over many views at once.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use crate::deferred::Deferred;
use crate::lanes::Lanes;
use crate::vision::{PassConfig, PromptEntry, ResumeTrace, UnpromptedPass, VisionTower};
use crate::weights::error::WeightsError;

/// An image tower that spreads views over the lanes of the machine.
#[derive(Debug, Clone)]
pub struct ImageEncoder {
    tower: Deferred<VisionTower>,
    lanes: Lanes,
}

/// What [`ImageEncoder::pullback`] needs: one trace per job.
#[derive(Debug)]
pub struct ImageTrace {
    jobs: Vec<(Range<usize>, ResumeTrace)>,
}

impl ImageEncoder {
    /// Wraps a tower.
    pub fn new(tower: VisionTower, lanes: Lanes) -> Self {
        Self { tower: Deferred::ready(tower), lanes }
    }

    /// A tower that `read` gets when it is first needed.
    pub(crate) fn later(
        read: impl Fn() -> Result<VisionTower, WeightsError> + Send + Sync + 'static,
        lanes: Lanes,
    ) -> Self {
        Self { tower: Deferred::later(read), lanes }
    }

    /// Reads the tower if it is still to be read ([`Checkpoint::load_when_needed`]).
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    ///
    /// [`Checkpoint::load_when_needed`]: crate::Checkpoint::load_when_needed
    pub fn ensure(&self) -> Result<(), WeightsError> {
        self.tower.ensure()
    }

    /// The tower.
    pub fn tower(&self) -> &VisionTower {
        self.tower.get()
    }

    /// What spreads the views.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Embeddings of normalised pixels, not normalised.
    ///
    /// Shapes: `[view, channel, row, column] -> [view, embed]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let jobs = self.view_jobs(pixels.dims()[0]);
        let embeddings = self.lanes.map(jobs, |views| {
            self.tower().forward(pixels.clone().narrow(0, views.start, views.len()))
        });
        Tensor::cat(embeddings, 0)
    }

    /// [`ImageEncoder::forward`] with a job for each view, so that each embedding has the bits that
    /// it has alone: for the clean views of several images.
    pub fn forward_each(&self, pixels: Tensor<4>) -> Tensor<2> {
        if self.lanes.is_inline() {
            return self.tower().forward(pixels);
        }
        let embeddings = self.lanes.map((0..pixels.dims()[0]).collect(), |view| {
            self.tower().forward(pixels.clone().narrow(0, view, 1))
        });
        Tensor::cat(embeddings, 0)
    }

    /// Embeddings with prompts in the first blocks; see
    /// [`VisionTower::forward_with_deep_prompts`].
    pub fn forward_with_deep_prompts(&self, pixels: Tensor<4>, prompts: &[Tensor<2>]) -> Tensor<2> {
        let jobs = self.view_jobs(pixels.dims()[0]);
        let embeddings = self.lanes.map(jobs, |views| {
            let pixels = pixels.clone().narrow(0, views.start, views.len());
            self.tower().forward_with_deep_prompts(pixels, prompts)
        });
        Tensor::cat(embeddings, 0)
    }

    /// A pass over all views without prompts; see [`VisionTower::unprompted_pass`].
    pub fn unprompted_pass(&self, pixels: Tensor<4>, config: &PassConfig) -> UnpromptedPass {
        let jobs = self.view_jobs(pixels.dims()[0]);
        let passes = self.lanes.map(jobs, |views| {
            let pixels = pixels.clone().narrow(0, views.start, views.len());
            self.tower().unprompted_pass(pixels, config)
        });
        let class_tokens = |level: usize| {
            Tensor::cat(passes.iter().map(|pass| pass.class_tokens[level].clone()).collect(), 0)
        };
        let entries: Vec<_> = passes.iter().map(|pass| pass.entry.clone()).collect();
        UnpromptedPass {
            class_tokens: (0..config.levels.len()).map(class_tokens).collect(),
            embeddings: Tensor::cat(passes.iter().map(|pass| pass.embeddings.clone()).collect(), 0),
            entry: PromptEntry::cat(&entries),
        }
    }

    /// Embeddings with prompts; see [`VisionTower::resume`].
    pub fn resume(&self, entry: &PromptEntry, prompts: Tensor<3>) -> Tensor<2> {
        let jobs = self.view_jobs(prompts.dims()[0]);
        let embeddings = self.lanes.map(jobs, |views| {
            let entry = entry.narrow(views.start, views.len());
            let prompts = prompts.clone().narrow(0, views.start, views.len());
            self.tower().resume(entry, prompts)
        });
        Tensor::cat(embeddings, 0)
    }

    /// [`ImageEncoder::resume`] for some of the views, keeping what the pullback needs.
    ///
    /// Shapes: views `[chosen]`, prompts `[chosen, 2, width]`, result `[chosen, embed]`.
    pub fn resume_traced(
        &self,
        entry: &PromptEntry,
        views: Tensor<1, Int>,
        prompts: Tensor<3>,
    ) -> (Tensor<2>, ImageTrace) {
        let entry = entry.select(views);
        let jobs = self.traced_jobs(prompts.dims()[0]);
        let passes = self.lanes.map(jobs, |views| {
            let entry = entry.narrow(views.start, views.len());
            let prompts = prompts.clone().narrow(0, views.start, views.len());
            let (embeddings, trace) = self.tower().resume_traced(entry, prompts);
            (embeddings, (views, trace))
        });
        let (embeddings, jobs) = passes.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        (Tensor::cat(embeddings, 0), ImageTrace { jobs })
    }

    /// Gradient at the prompts from the gradient at the embeddings.
    ///
    /// Shapes: `[chosen, embed] -> [chosen, 2, width]`.
    pub fn pullback(&self, trace: &ImageTrace, gradient: Tensor<2>) -> Tensor<3> {
        let prompts = self.lanes.map(trace.jobs.iter().collect(), |(views, trace)| {
            let gradient = gradient.clone().narrow(0, views.start, views.len());
            self.tower().resume_pullback(trace, gradient)
        });
        Tensor::cat(prompts, 0)
    }

    /// View 0 is a job of its own, so that its results do not depend on how many views there are.
    /// A device that is parallel inside gets all at once.
    fn view_jobs(&self, views: usize) -> Vec<Range<usize>> {
        if self.lanes.is_inline() {
            return all_at_once(views);
        }
        let per_job = self.views_per_job();
        let rest = (1..views).step_by(per_job);
        let rest = rest.map(|start| start..(start + per_job).min(views));
        std::iter::once(0..views.min(1)).chain(rest).collect()
    }

    /// Few views are traced, so the jobs are smaller.
    pub(crate) fn traced_jobs(&self, views: usize) -> Vec<Range<usize>> {
        if self.lanes.is_inline() {
            return all_at_once(views);
        }
        let per_job = self.views_per_job().div_ceil(4);
        (0..views).step_by(per_job).map(|start| start..(start + per_job).min(views)).collect()
    }

    fn views_per_job(&self) -> usize {
        let tokens = self.tower().position_embedding.dims()[0];
        self.lanes.items_per_job(tokens).min(MOST_VIEWS_PER_JOB)
    }
}

/// One job.
fn all_at_once(views: usize) -> Vec<Range<usize>> {
    std::iter::once(0..views).collect()
}

/// Small images would otherwise make too few jobs to share.
const MOST_VIEWS_PER_JOB: usize = 16;
