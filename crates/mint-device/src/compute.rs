//! A device that is ready.

use std::hash::{DefaultHasher, Hash, Hasher};
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

    /// Whether [`Compute::keep_proof`] was called for this device, driver and versions of crates.
    pub fn is_proven(&self, what: &str) -> bool {
        let (file, text) = self.proof(what);
        std::fs::read_to_string(file).is_ok_and(|kept| kept == text)
    }

    /// Keeps from run to run that the device computes `what` as the CPU does. If that cannot be
    /// kept, the next run finds it out again.
    pub fn keep_proof(&self, what: &str) {
        let (file, text) = self.proof(what);
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = written.and_then(|()| std::fs::write(&file, text)) {
            tracing::debug!(file = %file.display(), %error, "not kept");
        }
    }

    fn proof(&self, what: &str) -> (PathBuf, String) {
        let text = format!("{}\n{}\n{}\n{what}", self.name, self.driver, cache::crates());
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let folder = cache::folder(|name| std::env::var_os(name)).join("proven");
        (folder.join(format!("{:016x}.txt", hasher.finish())), text)
    }

    /// A device that does not have a type of numbers is an error, and one that is slow at it says so.
    pub(crate) fn check(&mut self, precision: Precision) -> Result<(), Explained> {
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
