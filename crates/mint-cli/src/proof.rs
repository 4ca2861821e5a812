//! A device is proven before a run believes it; see [`mint_tuner::prove`].

use mint_clip::burn::tensor::Device;
use mint_clip::prompt::class_text;
use mint_clip::{Checkpoint, Clip, Lanes, Precision, Tokenizer, WeightsError, device_failure};
use mint_device::{Compute, Explained};
use mint_eval::upload_difference;
use mint_tuner::{Disproof, ProofShapes, Tolerance, prove};

use crate::progress::Phase;

/// Blocks of each tower that are compared: one that takes prompts, and one that does not.
const BLOCKS: usize = 2;
/// One more whenever more is compared, so that earlier proofs do not count.
const PROOF: u32 = 2;
/// How far a normalised sample may be from the CPU's: what a shader's two divisions may be off by, and
/// a thousandth of what one step of a sample makes.
const UPLOADED: f32 = 64.0 * f32::EPSILON;

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
        let ProofShapes { views, chosen, context, mint, class_names, template } = shapes;
        let lengths = |name: &String| {
            let text = template.replace("{}", &class_text(name));
            tokenizer.tokens(&text).map_or(0, |tokens| tokens.len())
        };
        let texts: Vec<usize> = class_names.iter().map(lengths).collect();
        let what = format!(
            "Mint {}, proof {PROOF}\n{:?}, {}\n{}\n{views} views, {chosen} of them traced\n\
             texts of {texts:?} tokens, and {context} of context\n{} slots, {} picks\n",
            env!("CARGO_PKG_VERSION"),
            self.checkpoint.dimensions(),
            self.checkpoint.activation().0,
            self.precision,
            mint.bank_slots,
            mint.picks_per_block,
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
        let proven = prove(&device, &cpu, tokenizer, shapes, tolerance);
        let uploaded = upload_difference(&device, views);
        if let Some(failure) = device_failure() {
            return Err(refused(format!("`{name}` failed, and is not used"), failure.to_owned()));
        }
        let problem = match proven {
            Ok(()) => Some(uploaded?)
                .filter(|difference| difference.is_nan() || *difference > UPLOADED)
                .map(|difference| format!("pixels of 8-bit views differ by {difference:.1e}")),
            Err(Disproof::Unfit(cause)) => return Err(cause.into()),
            Err(disproof) => Some(disproof.to_string()),
        };
        if let Some(detail) = problem {
            let problem = "does not compute what the CPU computes, and is not used";
            return Err(refused(format!("`{name}` {problem}"), detail));
        }
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

fn refused(problem: String, detail: String) -> anyhow::Error {
    let hint =
        "update the driver, try another `--precision` or `--backend`, or run with `--backend cpu`";
    Explained { problem, detail, hint: hint.to_owned() }.into()
}
