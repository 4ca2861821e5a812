//! The test sets: where their images are, what their classes are called, and how files become
//! pixels.
//!
//! Images are decoded as the published results were: RGB with alpha dropped (not composited) and
//! EXIF orientation ignored.
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
mod decode;
mod folder_error;
mod image_folder;
mod image_set;
mod imagenet;
mod test_set;
mod walk;

pub use image;

pub use class_names::{ClassNamesError, duplicate, quoted, read_class_names};
pub use decode::{DecodeError, decode};
pub use folder_error::FolderError;
pub use image_folder::open_image_folder;
pub use image_set::{ImageError, ImageSet, LabelledImage, Order, Source};
pub use imagenet::{Class, ImageNet};
pub use test_set::{FolderNames, TestSet, UnknownTestSet};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
