//! The text tower over a whole set of class prompts.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};

use crate::attention::KeyValue;
use crate::deferred::Deferred;
use crate::lanes::Lanes;
use crate::precision::{GradientScale, in_single};
use crate::prompt::{Item, PromptGroup, PromptSet};
use crate::text::{PrefixTrace, SuffixTrace, TextTower};
use crate::weights::error::WeightsError;

/// A text tower that runs the shared prefix of class prompts once and spreads the classes over
/// the lanes of the machine.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    tower: Deferred<TextTower>,
    lanes: Lanes,
}

/// What [`TextEncoder::pullback`] needs.
#[derive(Debug)]
pub struct TextTrace {
    prefix: PrefixTrace,
    /// In the order of the jobs.
    suffixes: Vec<SuffixTrace>,
}

/// Some classes of one group of a prompt set.
struct Job<'a> {
    group: &'a PromptGroup,
    members: Range<usize>,
}

impl TextEncoder {
    /// Wraps a tower.
    pub fn new(tower: TextTower, lanes: Lanes) -> Self {
        Self { tower: Deferred::ready(tower), lanes }
    }

    /// A tower that `read` gets when it is first needed.
    pub(crate) fn later(
        read: impl Fn() -> Result<TextTower, WeightsError> + Send + Sync + 'static,
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
    pub fn tower(&self) -> &TextTower {
        self.tower.get()
    }

    /// What spreads the classes.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Embeddings of all prompts, not normalised.
    ///
    /// Shapes: context `[context, width]`, result `[class, embed]`.
    pub fn forward(&self, prompts: &PromptSet, context: Option<&Tensor<2>>) -> Tensor<2> {
        let prefix = self.tower().prefix(self.prefix_tokens(prompts, context));
        self.suffixes(prompts, context, &prefix)
    }

    /// [`TextEncoder::forward`] with prompts in the first blocks: `contexts[0]` stands in the
    /// texts, and `contexts[k]` takes its place before block `k` (0-based).
    ///
    /// Source: Khattak et al., *MaPLe: Multi-modal Prompt Learning* (2023), section 3.2. The
    /// context stands right after the start of the texts. Shapes: those of
    /// [`TextEncoder::forward`].
    pub fn forward_with_deep_prompts(
        &self,
        prompts: &PromptSet,
        contexts: &[Tensor<2>],
    ) -> Tensor<2> {
        let context = contexts.first();
        let tokens = self.prefix_tokens(prompts, context);
        let deep = contexts.get(1..).unwrap_or_default();
        self.suffixes(prompts, context, &self.tower().prefix_with_deep_prompts(tokens, deep))
    }

    /// [`TextEncoder::forward`], keeping what the pullback needs.
    pub fn forward_traced(
        &self,
        prompts: &PromptSet,
        context: &Tensor<2>,
    ) -> (Tensor<2>, TextTrace) {
        let tokens = self.prefix_tokens(prompts, Some(context));
        let (key_values, prefix) = self.tower().prefix_traced(tokens);
        let passes = self.lanes.map(self.jobs(prompts), |job| {
            let tokens = self.suffix_tokens(prompts, &job, Some(context));
            self.tower().suffix_traced(tokens, &key_values, self.ends(&job))
        });
        let (embeddings, suffixes) = passes.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let embeddings = self.in_class_order(prompts, Tensor::cat(embeddings, 0));
        (embeddings, TextTrace { prefix, suffixes })
    }

    /// Gradient at the context from the gradient at the embeddings.
    ///
    /// Shapes: `[class, embed] -> [context, width]`.
    ///
    /// # Panics
    ///
    /// If the trace is of other prompts.
    pub fn pullback(
        &self,
        prompts: &PromptSet,
        trace: &TextTrace,
        gradient: Tensor<2>,
    ) -> Tensor<2> {
        let scale = GradientScale::new(&gradient, self.tower().dtype());
        let gradient = scale.apply(gradient);
        let jobs = self.jobs(prompts).into_iter().zip(&trace.suffixes).collect();
        let gradients = self.lanes.map(jobs, |(job, trace): (Job<'_>, &SuffixTrace)| {
            let classes = class_indices(&job.group.classes[job.members.clone()], &gradient);
            let of_job = self.tower().suffix_pullback(trace, gradient.clone().select(0, classes));
            (of_job.prefix, context_gradients(&job.group.suffixes[0], of_job.tokens))
        });
        let mut at_context: Vec<Option<Tensor<2>>> = vec![None; prompts.n_context()];
        let mut at_prefix: Option<Vec<KeyValue>> = None;
        for (prefix, context) in gradients {
            at_prefix = Some(match at_prefix {
                None => prefix,
                Some(sum) => sum.into_iter().zip(prefix).map(|(sum, part)| sum + part).collect(),
            });
            accumulate(&mut at_context, context);
        }
        let at_prefix = at_prefix.expect("a prompt set has classes");
        let tokens = self.tower().prefix_pullback(&trace.prefix, at_prefix);
        accumulate(&mut at_context, context_gradients(prompts.prefix(), tokens));
        let rows = at_context.into_iter().map(|row| row.expect("every context vector has a place"));
        scale.undo(Tensor::cat(rows.collect(), 0))
    }

    /// Embeddings of all prompts after a prefix's keys and values.
    fn suffixes(
        &self,
        prompts: &PromptSet,
        context: Option<&Tensor<2>>,
        prefix: &[KeyValue],
    ) -> Tensor<2> {
        let embeddings = self.lanes.map(self.jobs(prompts), |job| {
            let ends = self.ends(&job);
            self.tower().suffix(self.suffix_tokens(prompts, &job, context), prefix, ends.as_ref())
        });
        self.in_class_order(prompts, Tensor::cat(embeddings, 0))
    }

    fn prefix_tokens(&self, prompts: &PromptSet, context: Option<&Tensor<2>>) -> Tensor<3> {
        self.tower().embed(&[prompts.prefix()], 0, context)
    }

    fn suffix_tokens(
        &self,
        prompts: &PromptSet,
        job: &Job<'_>,
        context: Option<&Tensor<2>>,
    ) -> Tensor<3> {
        let texts: Vec<&[Item]> =
            job.group.suffixes[job.members.clone()].iter().map(Vec::as_slice).collect();
        self.tower().embed(&texts, prompts.prefix().len(), context)
    }

    /// The groups that the classes are run in: few large ones where everything goes to the device
    /// at once, else many without filling.
    fn groups<'a>(&self, prompts: &'a PromptSet) -> &'a [PromptGroup] {
        match prompts.merged() {
            Some(merged) if self.lanes.is_inline() => std::slice::from_ref(merged),
            _ => prompts.groups(),
        }
    }

    /// Which token of each text is its end; `None` if it is the last of all.
    ///
    /// Shape: `[text, token, 1]`, 1 at the end and 0 elsewhere.
    fn ends(&self, job: &Job<'_>) -> Option<Tensor<3>> {
        if job.group.is_even() {
            return None;
        }
        let length = job.group.suffixes[0].len();
        let ends = &job.group.ends[job.members.clone()];
        let mut marks = vec![0.0f32; ends.len() * length];
        for (text, end) in ends.iter().enumerate() {
            marks[text * length + end] = 1.0;
        }
        let data = TensorData::new(marks, [ends.len(), length, 1]);
        Some(Tensor::from_data(data, &self.tower().position_embedding.device()))
    }

    fn jobs<'a>(&self, prompts: &'a PromptSet) -> Vec<Job<'a>> {
        let jobs_of_group = |group: &'a PromptGroup| {
            let count = group.classes.len();
            let per_job = self.lanes.items_per_job(group.suffixes[0].len());
            (0..count)
                .step_by(per_job)
                .map(move |start| Job { group, members: start..(start + per_job).min(count) })
        };
        self.groups(prompts).iter().flat_map(jobs_of_group).collect()
    }

    /// From the order of the jobs to the order of the classes.
    fn in_class_order(&self, prompts: &PromptSet, embeddings: Tensor<2>) -> Tensor<2> {
        let classes: Vec<usize> =
            self.groups(prompts).iter().flat_map(|group| group.classes.iter().copied()).collect();
        let mut positions = vec![0; classes.len()];
        for (position, class) in classes.into_iter().enumerate() {
            positions[class] = position;
        }
        let positions = class_indices(&positions, &embeddings);
        embeddings.select(0, positions)
    }
}

fn class_indices(classes: &[usize], like: &Tensor<2>) -> Tensor<1, Int> {
    let classes: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
    let length = classes.len();
    Tensor::from_data(TensorData::new(classes, [length]), &like.device())
}

/// Gradients at the context vectors among `items`, summed over the texts. Shape: `[1, width]`.
fn context_gradients(items: &[Item], tokens: Tensor<3>) -> Vec<(usize, Tensor<2>)> {
    let mut gradients = Vec::new();
    for (position, item) in items.iter().enumerate() {
        if let Item::Context(index) = *item {
            gradients.push((
                index,
                in_single(tokens.clone().narrow(1, position, 1)).sum_dim(0).squeeze_dim(0),
            ));
        }
    }
    gradients
}

fn accumulate(sums: &mut [Option<Tensor<2>>], parts: Vec<(usize, Tensor<2>)>) {
    for (index, part) in parts {
        sums[index] = Some(match sums[index].take() {
            None => part,
            Some(sum) => sum + part,
        });
    }
}
