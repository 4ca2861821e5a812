//! A device is proven before a run believes it; see [`mint_tuner::prove`].

use mint_clip::burn::tensor::Device;
use mint_clip::{Checkpoint, Clip, Lanes, Precision, Tokenizer, WeightsError};
use mint_device::{Compute, Explained};
use mint_tuner::{ProofShapes, Tolerance, prove};

use crate::progress::Phase;

/// Blocks of each tower that are compared: one that takes prompts, and one that does not.
const BLOCKS: usize = 2;

/// A device other than the CPU that has not been proven for a run's shapes, with the first blocks
/// of the model.
pub struct Unproven {
    checkpoint: Checkpoint,
    compute: Compute,
    precision: Precision,
}

impl Unproven {
    /// `None` if the CPU runs the model.
    pub fn new(checkpoint: &Checkpoint, compute: &Compute, precision: Precision) -> Option<Self> {
        let of_device = || Self {
            checkpoint: checkpoint.first_blocks(BLOCKS),
            compute: compute.clone(),
            precision,
        };
        (!compute.is_cpu()).then(of_device)
    }

    /// Compares the device with the CPU in these shapes, unless it was done before: with this driver,
    /// these versions of the crates, this size of model and texts of these lengths.
    pub fn require(&self, tokenizer: &Tokenizer, shapes: ProofShapes<'_>) -> anyhow::Result<()> {
        let lengths = |name: &String| {
            let text = shapes.template.replace("{}", name);
            tokenizer.tokens(&text).map_or(0, |tokens| tokens.len())
        };
        let texts: Vec<usize> = shapes.class_names.iter().map(lengths).collect();
        let what = format!(
            "{:?}\n{}\n{} views, {} of them traced\ntexts of {texts:?} tokens\n",
            self.checkpoint.dimensions(),
            self.precision,
            shapes.views,
            shapes.chosen,
        );
        if self.compute.is_proven(&what) {
            return Ok(());
        }
        let phase = Phase::start(format!("comparing {} with the CPU", self.compute.name));
        let cpu = self.towers(&Device::flex(), Lanes::per_core(), Precision::F32)?;
        let lanes = self.compute.lanes.clone();
        let device = self.towers(&self.compute.device, lanes, self.precision)?;
        let tolerance = Tolerance::new(self.precision, self.compute.has_tensor_cores);
        let name = &self.compute.name;
        prove(&device, &cpu, tokenizer, shapes, tolerance).map_err(|disproof| Explained {
            problem: format!("`{name}` does not compute what the CPU computes, and is not used"),
            detail: disproof.to_string(),
            hint: "update the driver, try another `--precision` or `--backend`, or run with `--backend cpu`".to_owned(),
        })?;
        phase.finish();
        self.compute.keep_proof(&what);
        Ok(())
    }

    fn towers(
        &self,
        device: &Device,
        lanes: Lanes,
        precision: Precision,
    ) -> Result<Clip, WeightsError> {
        Ok(self.checkpoint.load(device, lanes)?.with_precision(precision))
    }
}
