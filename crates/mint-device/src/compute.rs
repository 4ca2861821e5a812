//! A device that is ready.

use mint_clip::burn::tensor::Device;
use mint_clip::{Lanes, Precision};

use crate::explained::Explained;

/// A device that is ready.
#[derive(Debug)]
pub struct Compute {
    /// Where its tensors are.
    pub device: Device,
    /// How its work is shared.
    pub lanes: Lanes,
    /// The device in words, for the record.
    pub name: String,
    /// What the user should know about the choice.
    pub notes: Vec<String>,
}

impl Compute {
    /// A device that does not have a type of numbers is an error, and one that is slow at it says so.
    pub(crate) fn check(&mut self, precision: Precision) -> Result<(), Explained> {
        if !self.device.supports_dtype(precision.dtype()) {
            return Err(Explained {
                problem: format!("`{}` cannot compute with {precision}", self.name),
                detail: "the device does not have that type of numbers".to_owned(),
                hint: "choose another with `--precision`".to_owned(),
            });
        }
        if self.device == Device::flex() && precision != Precision::F32 {
            self.notes.push(format!(
                "note: the CPU is several times slower with {precision} than with f32"
            ));
        }
        Ok(())
    }
}
