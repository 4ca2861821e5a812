//! Tensors that stay in their file until they are needed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};

use super::blob::Blob;

/// A view of numbers in a file: which bytes, of which type, in which order.
///
/// Making one checks that all of it lies in the file, so that reading cannot ask for more memory
/// than the file's own size.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    blob: Arc<Blob>,
    /// First byte of the first element.
    start: u64,
    number: NumberType,
    shape: Vec<usize>,
    /// Distance between neighbours on each axis, in elements.
    strides: Vec<usize>,
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NumberType {
    /// Half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Anything that no weight is stored as, with its name and its length in bytes.
    Other(&'static str, usize),
}

impl NumberType {
    /// Length in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(_, size) => size,
        }
    }

    /// Whether weights can be stored so.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::Other(..))
    }
}

impl std::fmt::Display for NumberType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::Other(name, _) => name,
        })
    }
}

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

impl RawTensor {
    /// The tensor on a device. It has `D` axes.
    pub fn to_tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape.clone()), device)
    }

    /// The transpose of a matrix.
    pub fn transposed(self) -> Self {
        let [rows, columns] = self.shape[..] else { return self };
        let values = match self.values.is_empty() {
            true => self.values,
            false => transpose(&self.values, columns, rows, columns),
        };
        Self { shape: vec![columns, rows], values }
    }
}

/// Bytes that are converted at once.
const CHUNK: usize = 1 << 20;

impl StoredTensor {
    /// A tensor in row-major order whose bytes are `start..start + length`.
    ///
    /// The error says what does not fit.
    ///
    /// # Errors
    ///
    /// If the bytes do not lie within the file.
    pub fn contiguous(
        blob: &Arc<Blob>,
        (start, length): (u64, u64),
        number: NumberType,
        shape: Vec<usize>,
    ) -> Result<Self, String> {
        let elements = count(&shape)?;
        let needed = elements.checked_mul(number.size());
        if needed.map(|needed| needed as u64) != Some(length) {
            return Err(format!("{length} bytes are stored for the shape {shape:?} of {number}"));
        }
        let strides = row_major(&shape);
        Self::strided(blob, (start, length), number, 0, shape, strides)
    }

    /// A view of a block of numbers whose bytes are `start..start + length`.
    ///
    /// Its first element is the `first`th of the block.
    ///
    /// # Errors
    ///
    /// If the bytes do not lie within the file.
    pub fn strided(
        blob: &Arc<Blob>,
        (start, length): (u64, u64),
        number: NumberType,
        first: u64,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        if start.checked_add(length).is_none_or(|end| end > blob.length()) {
            return Err(format!(
                "bytes {start} and {length} more are asked for, but `{}` has {}",
                blob.name().display(),
                blob.length()
            ));
        }
        let stored = length / number.size() as u64;
        let elements = count(&shape)? as u64;
        if strides.len() != shape.len() {
            return Err(format!("shape {shape:?} and strides {strides:?} differ in length"));
        }
        let span = span(&shape, &strides).filter(|_| elements <= stored);
        let end = span.and_then(|span| first.checked_add(span as u64));
        if end.is_none_or(|end| end > stored) {
            return Err(format!(
                "shape {shape:?} with strides {strides:?} from element {first} on reaches beyond the {stored} elements stored"
            ));
        }
        let start = start + first * number.size() as u64;
        Ok(Self { blob: blob.clone(), start, number, shape, strides })
    }

    /// A tensor in memory that was made of what `file` holds.
    #[expect(clippy::missing_panics_doc, reason = "the values fill the shape of their tensor")]
    pub fn memory(tensor: &RawTensor, file: &Path) -> Self {
        let bytes = bytemuck::cast_slice::<f32, u8>(&tensor.values).to_vec();
        let blob = Blob::memory(file, bytes);
        let length = blob.length();
        let shape = tensor.shape.clone();
        Self::contiguous(&blob, (0, length), NumberType::F32, shape)
            .unwrap_or_else(|problem| panic!("the values fill the shape: {problem}"))
    }

    /// The file that the numbers are in.
    pub fn file(&self) -> &Path {
        self.blob.name()
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// How the numbers are stored.
    pub fn number_type(&self) -> NumberType {
        self.number
    }

    /// The same numbers with two axes exchanged.
    pub fn transposed(mut self) -> Self {
        if let [rows, columns] = self.shape[..] {
            self.shape = vec![columns, rows];
            self.strides.swap(0, 1);
        }
        self
    }

    /// The `index`th of `parts` equal parts along the first axis, if its length can be divided.
    pub fn part(&self, index: usize, parts: usize) -> Option<Self> {
        let rows = *self.shape.first()?;
        if rows % parts != 0 {
            return None;
        }
        let mut part = self.clone();
        part.shape[0] = rows / parts;
        let skipped = index * part.shape[0] * self.strides[0];
        part.start += (skipped * self.number.size()) as u64;
        Some(part)
    }

    /// The same numbers with another shape, if they lie in row-major order.
    pub fn reshaped(mut self, shape: Vec<usize>) -> Option<Self> {
        if self.strides != row_major(&self.shape) || count(&shape).ok()? != self.elements() {
            return None;
        }
        self.strides = row_major(&shape);
        self.shape = shape;
        Some(self)
    }

    /// Reads the values in row-major order, converted to single precision.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    ///
    /// # Panics
    ///
    /// If the numbers are not floats; see [`NumberType::is_float`].
    pub fn read(&self) -> io::Result<RawTensor> {
        let values = match self.number {
            NumberType::F16 => self.gather(|bytes| f16::from_le_bytes(bytes).to_f32()),
            NumberType::Bf16 => self.gather(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            NumberType::F32 => self.gather(f32::from_le_bytes),
            NumberType::F64 => self.gather(|bytes| f64::from_le_bytes(bytes) as f32),
            NumberType::Other(name, _) => panic!("{name} is not a float"),
        }?;
        Ok(RawTensor { shape: self.shape.clone(), values })
    }

    /// Reads integers in row-major order; `None` if the numbers are something else.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read_integers(&self) -> io::Result<Option<Vec<i64>>> {
        Ok(match self.number {
            NumberType::Other("I32", _) => {
                Some(self.gather(|bytes| i32::from_le_bytes(bytes).into())?)
            }
            NumberType::Other("I64", _) => Some(self.gather(i64::from_le_bytes)?),
            _ => None,
        })
    }

    /// Reads the bytes in row-major order, as the numbers are stored.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn read_bytes(&self) -> io::Result<Vec<u8>> {
        match self.number.size() {
            1 => self.gather(|bytes: [u8; 1]| bytes).map(Vec::into_flattened),
            2 => self.gather(|bytes: [u8; 2]| bytes).map(Vec::into_flattened),
            4 => self.gather(|bytes: [u8; 4]| bytes).map(Vec::into_flattened),
            _ => self.gather(|bytes: [u8; 8]| bytes).map(Vec::into_flattened),
        }
    }

    /// All elements in row-major order.
    fn gather<T: Copy, const N: usize>(&self, value: impl Fn([u8; N]) -> T) -> io::Result<Vec<T>> {
        let elements = self.elements();
        if elements == 0 {
            return Ok(Vec::new());
        }
        let span = span(&self.shape, &self.strides).expect("views are checked when they are made");
        let mut stored = Vec::with_capacity(span);
        let mut buffer = vec![0; (span * N).min(CHUNK)];
        let mut position = self.start;
        while stored.len() < span {
            let length = ((span - stored.len()) * N).min(CHUNK);
            self.blob.read_at(position, &mut buffer[..length])?;
            stored.extend(buffer[..length].as_chunks::<N>().0.iter().map(|&bytes| value(bytes)));
            position += length as u64;
        }
        if self.strides == row_major(&self.shape) {
            return Ok(stored);
        }
        Ok(match (&self.shape[..], &self.strides[..]) {
            (&[rows, columns], &[1, stride]) => transpose(&stored, rows, columns, stride),
            (shape, strides) => {
                let index = |element| offset(element, shape, strides);
                (0..elements).map(|element| stored[index(element)]).collect()
            }
        })
    }
}

/// `[row, column]` from columns that lie one after the other, `stride` apart.
///
/// Works on squares that fit into the nearest cache.
fn transpose<T: Copy>(stored: &[T], rows: usize, columns: usize, stride: usize) -> Vec<T> {
    const SIDE: usize = 32;
    let mut values = vec![stored[0]; rows * columns];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for row in top..(top + SIDE).min(rows) {
                for column in left..(left + SIDE).min(columns) {
                    values[row * columns + column] = stored[row + column * stride];
                }
            }
        }
    }
    values
}

/// Where the `element`th value in row-major order lies.
fn offset(mut element: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut offset = 0;
    for (length, stride) in shape.iter().zip(strides).rev() {
        offset += element % length * stride;
        element /= length;
    }
    offset
}

fn count(shape: &[usize]) -> Result<usize, String> {
    let product = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    product.ok_or_else(|| format!("the shape {shape:?} is too large for any memory"))
}

/// Elements from the first to the last of a view, both included; `None` if that overflows.
fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1_usize, |span, (&length, &stride)| {
        span.checked_add((length - 1).checked_mul(stride)?)
    })
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}
