//! Numbers recorded from PyTorch, of the official implementations where there are any, for the tests
//! of the other crates.
//!
//! `data/` holds the recordings and `README.md` says how they were made. Nothing that users run
//! depends on this crate.

#![allow(clippy::missing_panics_doc, reason = "tests panic where a recording does not fit")]
#![warn(missing_docs)]

mod adamw;
mod bound;

pub use adamw::AdamwReplay;
pub use bound::{Bound, assert_close, assert_within};

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use image::RgbImage;
use lzma_rust2::XzReader;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// The path of a recorded file, such as `preprocess/manifest.json`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// Unpacks an archive (`.tar.xz`) into a folder of its own below `parent`, unless an earlier test
/// did; returns that folder.
pub fn unpack(archive: &Path, parent: &Path) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let fail = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", archive.display()) };
    let length = fs::metadata(archive).unwrap_or_else(|error| fail(&error)).len();
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let folder = parent.join(format!("{name}-{length}"));
    if folder.is_dir() {
        return folder;
    }
    // Tests run at once: each unpacks under a name of its own, and the first rename counts.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let partial = parent.join(format!("{name}-{length}.{}.{count}", std::process::id()));
    let file = fs::File::open(archive).unwrap_or_else(|error| fail(&error));
    let packed = XzReader::new(BufReader::new(file), true);
    tar::Archive::new(packed).unpack(&partial).unwrap_or_else(|error| fail(&error));
    if fs::rename(&partial, &folder).is_err() {
        fs::remove_dir_all(&partial).unwrap_or_else(|error| fail(&error));
    }
    assert!(folder.is_dir(), "{} cannot be made", folder.display());
    folder
}

/// A recorded JSON file.
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A recorded RGB image.
pub fn rgb_image(name: &str) -> RgbImage {
    image::open(path(name)).unwrap_or_else(|error| panic!("{name}: {error}")).to_rgb8()
}

/// A recorded safetensors file.
pub struct Recording {
    name: String,
    bytes: Vec<u8>,
}

impl Recording {
    /// Reads `data/{name}.safetensors`.
    pub fn open(name: &str) -> Self {
        Self::open_file(&path(&format!("{name}.safetensors")))
    }

    /// Reads a file that was unpacked.
    pub fn open_file(file: &Path) -> Self {
        let name = file.display().to_string();
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, bytes }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let tensors = self.tensors();
        let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// A value of the file's metadata.
    pub fn metadata(&self, key: &str) -> String {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).expect("recordings are valid");
        let value = metadata.metadata().as_ref().and_then(|entries| entries.get(key));
        value.unwrap_or_else(|| panic!("{}: no metadata `{key}`", self.name)).clone()
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        self.view(tensor, |view| view.shape().to_vec())
    }

    /// The values of a floating-point tensor.
    pub fn floats(&self, tensor: &str) -> Vec<f32> {
        self.view(tensor, |view| match view.dtype() {
            Dtype::F16 => parse(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::F32 => parse(view.data(), f32::from_le_bytes),
            Dtype::F64 => parse(view.data(), |bytes| f64::from_le_bytes(bytes) as f32),
            dtype => panic!("{}: `{tensor}` is {dtype:?}", self.name),
        })
    }

    /// The only value of a floating-point tensor, in double precision.
    pub fn double(&self, tensor: &str) -> f64 {
        let values = self.view(tensor, |view| match view.dtype() {
            Dtype::F64 => parse(view.data(), f64::from_le_bytes),
            _ => self.floats(tensor).into_iter().map(f64::from).collect(),
        });
        assert_eq!(values.len(), 1, "{}: `{tensor}` is not a scalar", self.name);
        values[0]
    }

    /// The values of an integer tensor.
    pub fn integers(&self, tensor: &str) -> Vec<i64> {
        self.view(tensor, |view| match view.dtype() {
            Dtype::I32 => parse(view.data(), |bytes| i32::from_le_bytes(bytes).into()),
            Dtype::I64 => parse(view.data(), i64::from_le_bytes),
            dtype => panic!("{}: `{tensor}` is {dtype:?}", self.name),
        })
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn view<T>(&self, tensor: &str, read: impl FnOnce(TensorView<'_>) -> T) -> T {
        let tensors = self.tensors();
        let view = tensors.tensor(tensor);
        read(view.unwrap_or_else(|error| panic!("{}: `{tensor}`: {error}", self.name)))
    }
}

/// A safetensors file that a test changes before it is used.
pub struct EditableTensors {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl EditableTensors {
    /// Reads a file.
    pub fn open(file: &Path) -> Self {
        let name = file.display();
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tensors =
            SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let entry = |(name, view): (String, TensorView<'_>)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Self { tensors: tensors.tensors().into_iter().map(entry).collect() }
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) {
        assert!(self.tensors.remove(name).is_some(), "there is no `{name}`");
    }

    /// Adds a tensor in single precision, or replaces one.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), bytes));
    }

    /// The changed file.
    pub fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.unwrap_or_else(|error| panic!("`{name}`: {error}")))
        });
        safetensors::serialize(views, None).expect("the tensors are consistent")
    }
}

/// The small CLIP of the recordings as a weight file: the recorded rows of its token embedding,
/// and zeros elsewhere.
pub fn small_clip() -> Vec<u8> {
    const VOCABULARY: usize = 49_408;
    let mut tensors = EditableTensors::open(&path("small_clip.safetensors"));
    let rows = Recording::open("token_rows");
    let width = rows.shape("rows")[1];
    let mut values = vec![0.0; VOCABULARY * width];
    for (id, row) in rows.integers("ids").iter().zip(rows.floats("rows").chunks(width)) {
        values[*id as usize * width..][..width].copy_from_slice(row);
    }
    tensors.insert("token_embedding.weight", &[VOCABULARY, width], &values);
    tensors.bytes()
}

fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.as_chunks::<N>().0;
    chunks.iter().map(|&chunk| value(chunk)).collect()
}
