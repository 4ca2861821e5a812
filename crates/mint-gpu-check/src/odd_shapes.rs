//! Shapes that no kernel is made for: one row too many, or a single one.

use mint_clip::{Clip, Precision};
use mint_device::Compute;
use mint_tuner::{MintConfig, ProofShapes, Tolerance, prove};
use serde::Serialize;

use crate::subject::Subject;

/// Views and classes that are compared.
const SHAPES: [[usize; 2]; 4] = [[1, 1], [2, 999], [63, 2], [63, 999]];
/// Words around a name, with which a text is nearly as long as CLIP reads.
const LONG: &str = "a photo of a {} that somebody took from the window of a train on the way to the \
    sea, one morning in the early summer of a year in which it hardly ever rained and the light over \
    the fields was as clear and as soft as anybody there could remember";

/// One of them.
#[derive(Debug, Serialize)]
pub struct OddShape {
    precision: String,
    views: usize,
    classes: usize,
    /// What differs from the CPU, if anything does.
    problem: Option<String>,
    /// The same a second time, with the kernels that were chosen the first time.
    problem_again: Option<String>,
}

impl OddShape {
    /// Whether the device computes what the CPU computes.
    pub fn agrees(&self) -> bool {
        self.problem.is_none() && self.problem_again.is_none()
    }

    /// In a line.
    pub fn describe(&self) -> String {
        let Self { precision, views, classes, .. } = self;
        let problem = self.problem.as_ref().or(self.problem_again.as_ref());
        let found = problem.map_or("as on the CPU", String::as_str);
        format!("{precision}, {views} views, {classes} classes: {found}")
    }
}

/// Compares them with the CPU one after the other, with the first blocks of the model.
pub fn compare<'a>(
    subject: &'a Subject,
    compute: &Compute,
    precision: Precision,
) -> anyhow::Result<impl Iterator<Item = OddShape> + 'a> {
    let [cpu, device]: [Clip; 2] = subject.first_blocks(compute, precision)?;
    let tolerance = Tolerance::new(precision, compute.has_tensor_cores);
    Ok(SHAPES.into_iter().map(move |[views, classes]| {
        let class_names = &subject.class_names(classes);
        let chosen = views.div_ceil(10);
        let mint = &MintConfig::default();
        let shapes = ProofShapes { views, chosen, context: 4, mint, class_names, template: LONG };
        let [problem, problem_again] = [(), ()].map(|()| {
            let problem = prove(&device, &cpu, &subject.tokenizer, shapes, tolerance).err();
            problem.map(|problem| problem.to_string())
        });
        OddShape { precision: precision.to_string(), views, classes, problem, problem_again }
    }))
}
