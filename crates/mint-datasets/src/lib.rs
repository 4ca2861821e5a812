//! The test sets: where their images are, what their classes are called, and how files become
//! pixels.
//!
//! Images are decoded as the published results were: RGB with alpha dropped (not composited) and
//! EXIF orientation ignored, unless [`Orientation::Upright`] is asked for.
//!
//! ```no_run
//! use mint_datasets::{Order, TestSet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let set = TestSet::ImageNetR.find("data".as_ref())?;
//! for index in set.order(Order::Shuffled(0)).into_iter().take(10) {
//!     let image = set.load(index)?;
//!     println!("{}: {:?}", set.class_names[set.images[index].label], image.dimensions());
//! }
//! # Ok(())
//! # }
//! ```

mod class_names;
mod corruption;
mod decode;
mod doctor;
mod fine_grained;
mod folder_error;
mod ground_truth;
mod image_folder;
mod image_list;
mod image_set;
mod imagenet;
mod layout;
mod listed_labels;
mod listed_set;
mod member;
mod order;
mod shards;
mod test_set;
mod text;
mod walk;

pub use image;

pub use class_names::{ClassNames, ClassNamesError, duplicate, quoted, read_class_names};
pub use corruption::Corruption;
pub use decode::{DecodeError, JPEG_DECODER, Orientation, decode, decode_turned};
pub use doctor::{Examination, Finding, FindingKind, Severity, examine};
pub use fine_grained::{EXCHANGED_FOOD, FineGrained, FineGrainedFacts};
pub use folder_error::FolderError;
pub use ground_truth::{GroundTruthError, read_ground_truth};
pub use image_folder::open_image_folder;
pub use image_list::open_image_list;
pub use image_set::{ImageError, ImageSet, LabelledImage, Source};
pub use imagenet::{Class, ImageNet};
pub use layout::{Move, Nested, RepairError, make, nested, sorted_into_classes};
pub use listed_labels::ListError;
pub use member::Member;
pub use order::Order;
pub use test_set::{FolderNames, TestSet, UnknownTestSet};
pub use text::decode as decode_text;
pub use walk::{FoundPictures, pictures_below};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
