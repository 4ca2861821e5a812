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
    /// A GPU of any maker, through Vulkan, Metal or Direct3D; needs `--features wgpu`
    Wgpu,
    /// CUDA if everything that it needs is found, else a GPU through `wgpu`, else the CPU
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
                        hint: format!(
                            "add `--backend cuda` or `--backend wgpu`, or leave `--gpu {gpu}` out"
                        ),
                    });
                }
            },
            Backend::Cuda => cuda(self.gpu)?,
            Backend::Wgpu => wgpu(self.gpu)?,
            Backend::Auto => self.first_that_opens(),
        };
        if self.threads.is_some() && !compute.is_cpu() {
            let note = "note: `--threads` is for the CPU; a GPU runs the model";
            compute.notes.push(note.to_owned());
        }
        compute.check(precision)?;
        Ok(compute)
    }

    /// CUDA, a GPU of the graphics driver or the CPU, and why it is not the one before.
    fn first_that_opens(self) -> Compute {
        type Open = fn(Option<u16>) -> Result<Compute, Explained>;
        let kinds: [(bool, Open); 2] =
            [(cfg!(feature = "cuda-lean"), cuda), (cfg!(feature = "wgpu"), wgpu_gpu)];
        let mut missing = Vec::new();
        for (_, open) in kinds.into_iter().filter(|(is_built, _)| *is_built) {
            match open(self.gpu) {
                Ok(compute) if missing.is_empty() => return compute,
                Ok(mut compute) => {
                    let why: String = missing.join("; ");
                    compute.notes.push(format!("note: {} runs the model: {why}", compute.name));
                    return compute;
                }
                Err(explained) => missing.push(explained.problem),
            }
        }
        if missing.is_empty() {
            missing.push("this program was built without CUDA and wgpu".to_owned());
        }
        let note = format!("note: the CPU runs the model: {}", missing.join("; "));
        Compute { notes: vec![note], ..cpu(self.threads) }
    }
}

/// The cores of the processor; all of them if no number is given.
fn cpu(threads: Option<usize>) -> Compute {
    let lanes = threads.map_or_else(Lanes::per_core, Lanes::new);
    Compute {
        device: Device::flex(),
        lanes,
        name: "cpu".to_owned(),
        driver: String::new(),
        kept: None,
        has_tensor_cores: false,
        notes: Vec::new(),
    }
}

#[cfg(feature = "cuda-lean")]
fn cuda(gpu: Option<u16>) -> Result<Compute, Explained> {
    crate::cuda::open(gpu.unwrap_or(0))
}

#[cfg(not(feature = "cuda-lean"))]
fn cuda(_: Option<u16>) -> Result<Compute, Explained> {
    Err(without("CUDA", "cuda"))
}

#[cfg(feature = "wgpu")]
use crate::wgpu::{open as wgpu, open_gpu as wgpu_gpu};

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: Option<u16>) -> Result<Compute, Explained> {
    Err(without("wgpu", "wgpu"))
}

#[cfg(not(feature = "wgpu"))]
use self::wgpu as wgpu_gpu;

#[cfg(not(all(feature = "cuda-lean", feature = "wgpu")))]
fn without(what: &str, feature: &str) -> Explained {
    Explained {
        problem: format!("this program was built without {what}"),
        detail: format!("the cargo feature `{feature}` was off"),
        hint: format!(
            "build it with `cargo build -p mint-cli --features {feature}`; docs/gpu.md says what else a GPU needs"
        ),
    }
}
