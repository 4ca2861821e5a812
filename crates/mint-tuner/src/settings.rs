//! What settings may be: checked before a model is loaded, with the setting's name in the message.

use std::ops::RangeInclusive;

use crate::error::MethodError;

/// The most steps for each image, and the most iterations of a loop.
pub(crate) const MOST_STEPS: usize = 10_000;

/// The most things that a method remembers of a kind.
pub(crate) const MOST_SLOTS: usize = 1 << 20;

/// A whole number within a range.
pub(crate) fn whole(
    name: &str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), MethodError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(MethodError::Config(format!("`{name}` is {value}: it must be from {least} to {most}")))
}

/// A finite number that is not below 0.
pub(crate) fn not_negative(name: &str, value: f64) -> Result<(), MethodError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(MethodError::Config(format!("`{name}` is {value}: it must be a number from 0 upwards")))
}

/// A finite number above 0.
pub(crate) fn positive(name: &str, value: f64) -> Result<(), MethodError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(MethodError::Config(format!("`{name}` is {value}: it must be a number above 0")))
}

/// A finite number.
pub(crate) fn finite(name: &str, value: f64) -> Result<(), MethodError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(MethodError::Config(format!("`{name}` is {value}: it must be a number")))
}

/// A decay rate: from 0 to below 1.
pub(crate) fn decay(name: &str, value: f64) -> Result<(), MethodError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(MethodError::Config(format!("`{name}` is {value}: it must be from 0 to below 1")))
}

/// A share: above 0 and at most 1.
pub(crate) fn share(name: &str, value: f64) -> Result<(), MethodError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(MethodError::Config(format!("`{name}` is {value}: it must be above 0 and at most 1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
            for check in [not_negative, positive, decay, share] {
                let message = check("the-setting", value).expect_err("refused").to_string();
                assert!(message.starts_with(&format!("`the-setting` is {value}")), "{message}");
            }
        }
        assert!(finite("x", f64::NAN).is_err() && finite("x", -1.0).is_ok());
        assert!(share("x", 0.0).is_err() && share("x", 1.0).is_ok());
        assert!(positive("x", 0.0).is_err() && not_negative("x", 0.0).is_ok());
        assert!(decay("x", 1.0).is_err() && decay("x", 0.0).is_ok());
        assert!(whole("x", 0, 1..=3).is_err() && whole("x", 3, 1..=3).is_ok());
    }
}
