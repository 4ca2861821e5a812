//! Where embeddings of images are kept: what the loop over images needs of it.

use std::fmt;

use half::f16;
use sha2::{Digest, Sha256};

use crate::config::CachePrecision;

/// The SHA-256 of an image's file.
pub(crate) type Content = [u8; 32];

/// Names an image among those whose embeddings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EntryName(pub Content);

impl EntryName {
    /// Of an image with this content at this place of its set, which decides its random views.
    pub fn in_set(content: Content, index: usize) -> Self {
        let mut name = Sha256::new();
        name.update(content);
        name.update((index as u64).to_le_bytes());
        Self(name.finalize().into())
    }
}

/// Embeddings of images, by name.
pub(crate) trait KeptEmbeddings: fmt::Debug + Send + Sync {
    /// The embeddings of an image, row by row; `None` if they are not there. Damaged ones are not
    /// there either.
    fn read(&self, name: &EntryName) -> Option<Vec<f32>>;

    /// Whether there are embeddings of an image, whole or not.
    fn has(&self, name: &EntryName) -> bool;

    /// Keeps the embeddings of an image. What cannot be written is told by
    /// [`KeptEmbeddings::write_error`]: it makes no result wrong.
    fn write(&self, name: &EntryName, values: &[f32]);

    /// [`KeptEmbeddings::write`] for embeddings that were just computed, if they are finite numbers: a
    /// later run would take them for sound.
    fn keep(&self, name: &EntryName, computed: &[f32]) {
        if computed.iter().all(|value| value.is_finite()) {
            self.write(name, computed);
        }
    }

    /// Type of the numbers.
    fn precision(&self) -> CachePrecision;

    /// Damaged embeddings that were met, which were computed again.
    fn damaged(&self) -> u64;

    /// The first reason why something could not be kept.
    fn write_error(&self) -> Option<&str>;
}

impl CachePrecision {
    /// Size of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// Numbers as they are kept.
    pub(crate) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F16 => values.iter().flat_map(|&it| f16::from_f32(it).to_le_bytes()).collect(),
            Self::F32 => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }

    /// Numbers that were kept.
    pub(crate) fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|&it| f16::from_le_bytes(it).to_f32()).collect()
            }
            Self::F32 => bytes.as_chunks().0.iter().map(|&it| f32::from_le_bytes(it)).collect(),
        }
    }

    /// Numbers as a later run will read them.
    pub(crate) fn rounded(self, mut values: Vec<f32>) -> Vec<f32> {
        if self == Self::F16 {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Remembers what was kept.
    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Vec<f32>>>);

    impl KeptEmbeddings for Kept {
        fn read(&self, _: &EntryName) -> Option<Vec<f32>> {
            None
        }

        fn has(&self, _: &EntryName) -> bool {
            false
        }

        fn write(&self, _: &EntryName, values: &[f32]) {
            self.0.lock().expect("no panic").push(values.to_vec());
        }

        fn precision(&self) -> CachePrecision {
            CachePrecision::F32
        }

        fn damaged(&self) -> u64 {
            0
        }

        fn write_error(&self) -> Option<&str> {
            None
        }
    }

    #[test]
    fn embeddings_that_are_not_finite_are_not_kept() {
        let kept = Kept::default();
        for last in [1.0, f32::NAN, f32::INFINITY, 2.0] {
            kept.keep(&EntryName([0; 32]), &[0.5, last]);
        }
        assert_eq!(*kept.0.lock().expect("no panic"), [[0.5, 1.0], [0.5, 2.0]]);
    }
}
