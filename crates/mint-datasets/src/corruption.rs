//! ImageNet-C: ImageNet's validation images with one of 19 corruptions at one of 5 severities.
//!
//! Source: Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
//! and Perturbations* (2019).

use std::sync::LazyLock;

/// Names of the corruptions: the 15 of the benchmark, then the 4 that are for validation.
const KINDS: [&str; 19] = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
];

/// Corruptions that a benchmark's mean is over.
const BENCHMARK: usize = 15;

/// Names that a line, a file and a table call a corrupted set by.
static IDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of_kind = |kind| (1..=5).map(move |severity| format!("C-{kind}-{severity}"));
    KINDS.into_iter().flat_map(of_kind).collect()
});

/// A corruption at a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Corruption {
    kind: u8,
    severity: u8,
}

impl Corruption {
    /// The corruption of this name at a severity of 1 to 5; `None` if there is none.
    pub fn new(kind: &str, severity: u8) -> Option<Self> {
        let kind = KINDS.iter().position(|known| known.eq_ignore_ascii_case(kind))?;
        (1..=5).contains(&severity).then_some(Self { kind: kind as u8, severity })
    }

    /// The 15 corruptions of the benchmark at a severity of 1 to 5.
    pub fn benchmark(severity: u8) -> impl Iterator<Item = Self> {
        KINDS[..BENCHMARK].iter().filter_map(move |kind| Self::new(kind, severity))
    }

    /// Names of all corruptions, those of the benchmark first.
    pub fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    /// The corruption's name, which is a folder's.
    pub fn kind(self) -> &'static str {
        KINDS[usize::from(self.kind)]
    }

    /// The archive that has the corruption, which some copies keep as a folder.
    pub fn group(self) -> &'static str {
        match self.kind {
            0..=2 => "noise",
            3..=6 => "blur",
            7..=10 => "weather",
            11..=14 => "digital",
            _ => "extra",
        }
    }

    /// From 1 to 5.
    pub fn severity(self) -> u8 {
        self.severity
    }

    /// The name in records and tables, such as `C-fog-5`.
    pub fn id(self) -> &'static str {
        &IDS[usize::from(self.kind) * 5 + usize::from(self.severity) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruptions_have_names_of_their_own() {
        let fog = Corruption::new("FOG", 5).expect("it is one");
        assert_eq!((fog.kind(), fog.severity(), fog.id()), ("fog", 5, "C-fog-5"));
        assert_eq!(Corruption::new("saturate", 1).expect("it is one").id(), "C-saturate-1");
        assert_eq!([Corruption::new("mist", 5), Corruption::new("fog", 6)], [None; 2]);
        assert_eq!(Corruption::new("fog", 0), None);
        assert_eq!(Corruption::benchmark(3).count(), 15);
    }
}
