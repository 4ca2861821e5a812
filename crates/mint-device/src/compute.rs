//! A device that is ready.

use std::path::PathBuf;

use mint_clip::burn::tensor::Device;
use mint_clip::{Lanes, Precision};

use crate::cache;
use crate::explained::Explained;

/// A device that is ready.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Where its tensors are.
    pub device: Device,
    /// How its work is shared.
    pub lanes: Lanes,
    /// The device in words, for the record.
    pub name: String,
    /// The driver, the compiler and their versions; empty for the CPU.
    pub driver: String,
    /// Where kernels for this device, driver and versions of crates are kept, if they are.
    pub(crate) kept: Option<PathBuf>,
    /// Products of single precision may be computed with ten bits of mantissa, as in TF32.
    pub has_tensor_cores: bool,
    /// What the user should know about the choice.
    pub notes: Vec<String>,
}

impl Compute {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        self.device == Device::flex()
    }

    /// Whether [`Compute::keep_proof`] was called for this device, driver and versions of crates, with
    /// the kernels that are kept.
    pub fn is_proven(&self, what: &str) -> bool {
        self.proof(what).is_some_and(|(file, text)| {
            std::fs::read_to_string(file).is_ok_and(|kept| kept == text)
        })
    }

    /// Keeps from run to run that the device computes `what` as the CPU does. If that cannot be
    /// kept, or the kernels are not, the next run finds it out again.
    pub fn keep_proof(&self, what: &str) {
        let Some((file, text)) = self.proof(what) else { return };
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = written.and_then(|()| std::fs::write(&file, text)) {
            tracing::debug!(file = %file.display(), %error, "not kept");
        }
    }

    /// In the folder of the kernels, without which it says nothing.
    fn proof(&self, what: &str) -> Option<(PathBuf, String)> {
        let text = format!("{}\n{}\n{}\n{what}", self.name, self.driver, cache::crates());
        let folder = self.kept.as_ref()?.join("proven");
        Some((folder.join(format!("{:016x}.txt", cache::hash(&text))), text))
    }

    /// Makes sure that the device has a type of numbers; one that is slow at it says so.
    ///
    /// # Errors
    ///
    /// If it does not have the type.
    pub fn check(&mut self, precision: Precision) -> Result<(), Explained> {
        if !self.device.supports_dtype(precision.dtype()) {
            return Err(Explained {
                problem: format!("`{}` cannot compute with {precision}", self.name),
                detail: "the device does not have that type of numbers".to_owned(),
                hint: "choose another with `--precision`".to_owned(),
            });
        }
        if self.is_cpu() && precision != Precision::F32 {
            self.notes.push(format!(
                "note: the CPU is several times slower with {precision} than with f32"
            ));
        }
        Ok(())
    }
}
