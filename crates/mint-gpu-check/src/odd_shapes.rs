//! Shapes that no kernel is made for: one row too many, or a single one.

use mint_clip::{Clip, Precision};
use mint_device::Compute;
use mint_tuner::{ProofShapes, Tolerance, prove};
use serde::Serialize;

use crate::subject::Subject;

/// Views and classes that are compared.
const SHAPES: [[usize; 2]; 4] = [[1, 1], [2, 999], [63, 2], [63, 999]];
/// Words around a name, with which a text is as long as CLIP reads.
const LONG: &str = "a photo of a {} in a long sentence that goes on and on";

/// One of them.
#[derive(Debug, Serialize)]
pub struct OddShape {
    precision: String,
    views: usize,
    classes: usize,
    /// What differs from the CPU, if anything does.
    problem: Option<String>,
}

impl OddShape {
    /// Whether the device computes what the CPU computes.
    pub fn agrees(&self) -> bool {
        self.problem.is_none()
    }
}

/// Compares all of them with the CPU, with the first blocks of the model.
pub fn compare(
    subject: &Subject,
    compute: &Compute,
    precision: Precision,
) -> anyhow::Result<Vec<OddShape>> {
    let [cpu, device]: [Clip; 2] = subject.first_blocks(compute, precision)?;
    let tolerance = Tolerance::new(precision, compute.has_tensor_cores);
    let found = SHAPES.map(|[views, classes]| {
        let class_names = &subject.class_names(classes);
        let chosen = views.div_ceil(10);
        let shapes = ProofShapes { views, chosen, class_names, template: LONG };
        let problem = prove(&device, &cpu, &subject.tokenizer, shapes, tolerance).err();
        let problem = problem.map(|problem| problem.to_string());
        OddShape { precision: precision.to_string(), views, classes, problem }
    });
    Ok(found.into())
}
