//! From `--backend` and `--gpu` to what runs the model, or to an error that says what is missing.
//!
//! A GPU that was asked for is never replaced by the CPU; `auto` may, and says why.

#[cfg(feature = "cuda-lean")]
mod cuda;
#[cfg(any(feature = "cuda-lean", test))]
mod probe;
#[cfg(any(feature = "cuda-lean", test))]
mod toolkit;

use mint_clip::Lanes;
use mint_clip::burn::tensor::Device;

use crate::args::Backend;
use crate::output::{self, Explained};

/// What runs the model.
pub struct Compute {
    /// Where its tensors are.
    pub device: Device,
    /// How its work is shared.
    pub lanes: Lanes,
    /// The device in words, for the record.
    pub name: String,
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

/// What was asked for, if everything that it needs is there.
pub fn resolve(chosen: Chosen) -> Result<Compute, Explained> {
    match chosen.backend {
        Backend::Cpu => match chosen.gpu {
            None => Ok(cpu(chosen.threads)),
            Some(gpu) => Err(Explained {
                problem: format!("`--gpu {gpu}` chooses a GPU, but the CPU runs the model"),
                detail: "`--backend` is `cpu`, which is also what it is without the option"
                    .to_owned(),
                hint: format!("add `--backend cuda`, or leave `--gpu {gpu}` out"),
            }),
        },
        Backend::Cuda => gpu(chosen),
        Backend::Auto => Ok(gpu(chosen).unwrap_or_else(|missing| {
            output::note(&format!("note: the CPU runs the model: {}", missing.problem));
            cpu(chosen.threads)
        })),
    }
}

/// The cores of the processor; all of them if no number is given.
pub fn cpu(threads: Option<usize>) -> Compute {
    let lanes = threads.map_or_else(Lanes::per_core, Lanes::new);
    Compute { device: Device::flex(), lanes, name: "cpu".to_owned() }
}

#[cfg(feature = "cuda-lean")]
fn gpu(chosen: Chosen) -> Result<Compute, Explained> {
    let compute = cuda::open(chosen.gpu.unwrap_or(0))?;
    if chosen.threads.is_some() {
        output::note("note: `--threads` is for the CPU; a GPU runs the model");
    }
    Ok(compute)
}

#[cfg(not(feature = "cuda-lean"))]
fn gpu(_: Chosen) -> Result<Compute, Explained> {
    Err(Explained {
        problem: "this program was built without CUDA".to_owned(),
        detail: "it runs on the CPU only: the cargo feature `cuda` was off".to_owned(),
        hint: "build it with `cargo build -p mint-cli --features cuda`; docs/gpu.md says what a GPU needs beside it".to_owned(),
    })
}
