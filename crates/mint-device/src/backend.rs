//! What runs the model.

use clap::ValueEnum;
use mint_clip::burn::tensor::Device;
use mint_clip::{Lanes, Precision};

use crate::compute::Compute;
use crate::explained::Explained;

/// What runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// All cores of the processor
    Cpu,
    /// An NVIDIA GPU; needs a program built with `--features cuda`
    Cuda,
    /// CUDA if everything that it needs is found, else the CPU
    Auto,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// The kind of device.
    pub backend: Backend,
    /// Which GPU.
    pub gpu: Option<u16>,
    /// Cores of the CPU.
    pub threads: Option<usize>,
}

impl Chosen {
    /// Opens what was asked for, and makes sure that it has numbers of the type.
    ///
    /// # Errors
    ///
    /// If something is missing for it.
    pub fn open(self, precision: Precision) -> Result<Compute, Explained> {
        let mut compute = match self.backend {
            Backend::Cpu => match self.gpu {
                None => cpu(self.threads),
                Some(gpu) => {
                    return Err(Explained {
                        problem: format!("`--gpu {gpu}` chooses a GPU, but the CPU runs the model"),
                        detail: "`--backend` is `cpu`, which is also what it is without the option"
                            .to_owned(),
                        hint: format!("add `--backend cuda`, or leave `--gpu {gpu}` out"),
                    });
                }
            },
            Backend::Cuda => gpu(self)?,
            Backend::Auto => gpu(self).unwrap_or_else(|missing| {
                let note = format!("note: the CPU runs the model: {}", missing.problem);
                Compute { notes: vec![note], ..cpu(self.threads) }
            }),
        };
        compute.check(precision)?;
        Ok(compute)
    }
}

/// The cores of the processor; all of them if no number is given.
fn cpu(threads: Option<usize>) -> Compute {
    let lanes = threads.map_or_else(Lanes::per_core, Lanes::new);
    Compute { device: Device::flex(), lanes, name: "cpu".to_owned(), notes: Vec::new() }
}

#[cfg(feature = "cuda-lean")]
fn gpu(chosen: Chosen) -> Result<Compute, Explained> {
    let mut compute = crate::cuda::open(chosen.gpu.unwrap_or(0))?;
    if chosen.threads.is_some() {
        let note = "note: `--threads` is for the CPU; a GPU runs the model";
        compute.notes.push(note.to_owned());
    }
    Ok(compute)
}

#[cfg(not(feature = "cuda-lean"))]
fn gpu(_: Chosen) -> Result<Compute, Explained> {
    Err(Explained {
        problem: "this program was built without CUDA".to_owned(),
        detail: "it runs on the CPU only: the cargo feature `cuda` was off".to_owned(),
        hint: "build it with `cargo build -p mint-cli --features cuda`; docs/gpu.md says what else a GPU needs".to_owned(),
    })
}
