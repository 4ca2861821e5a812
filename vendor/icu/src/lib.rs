//! Stands in for `icu`, so that a build does not compile calendars and time zones.
//!
//! `plsfix`, which repairs class names as CLIP's tokenizer does, uses the normalisation forms of
//! Unicode and takes all of ICU4X for them: a minute and a half of compiling on two cores. This
//! crate is that one part, under the name by which `plsfix` calls it.
//!
//! To use all of ICU4X instead, remove `icu` from the section `[patch.crates-io]` of the
//! workspace's `Cargo.toml`, then this folder. Nothing else changes.

pub use icu_normalizer as normalizer;
