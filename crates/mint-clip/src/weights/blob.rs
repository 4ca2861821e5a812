//! Random access to the bytes of a weight file, without holding it in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The bytes of a file, on disk or in memory.
#[derive(Debug)]
pub struct Blob {
    name: PathBuf,
    length: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(Mutex<File>),
    Memory(Cow<'static, [u8]>),
}

impl Blob {
    /// Opens a file.
    pub fn open(file: &Path) -> io::Result<Arc<Self>> {
        let handle = File::open(file)?;
        let metadata = handle.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let bytes = Bytes::File(Mutex::new(handle));
        Ok(Arc::new(Self { name: file.to_owned(), length: metadata.len(), bytes }))
    }

    /// Bytes that are at hand; `name` is what errors call them.
    pub fn memory(name: &Path, bytes: impl Into<Cow<'static, [u8]>>) -> Arc<Self> {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Arc::new(Self { name: name.to_owned(), length, bytes: Bytes::Memory(bytes) })
    }

    /// What errors call these bytes.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check(offset, buffer.len() as u64)?;
        match &self.bytes {
            Bytes::File(file) => {
                let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(buffer)
            }
            Bytes::Memory(bytes) => {
                buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
                Ok(())
            }
        }
    }

    /// The `length` bytes from `offset` on; nothing is allocated for bytes that are not there.
    pub fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.check(offset, length)?;
        let mut buffer = vec![0; length as usize];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }

    fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{length} bytes are expected at byte {offset}, but the file has {} bytes; it is cut off or damaged",
                    self.length
                ),
            )),
        }
    }
}

/// A part of a [`Blob`] that is read from front to back through a small buffer.
#[derive(Debug)]
pub struct Cursor {
    blob: Arc<Blob>,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the blob the buffer starts.
    buffer_start: u64,
}

/// Bytes that a [`Cursor`] reads at once.
const BUFFER: u64 = 16 * 1024;

impl Cursor {
    /// Reads the bytes from `start` to `end`.
    pub fn new(blob: Arc<Blob>, start: u64, end: u64) -> io::Result<Self> {
        blob.check(start, end.saturating_sub(start))?;
        Ok(Self { blob, position: start, end, buffer: Vec::new(), buffer_start: start })
    }

    /// Byte that is read next, counted from the blob's start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Reads the part between two bytes of the blob, then continues where it was.
    pub fn within<T>(
        &mut self,
        start: u64,
        end: u64,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let before = (self.position, self.end);
        (self.position, self.end) = (start, end.min(self.blob.length()));
        let result = read(self);
        (self.position, self.end) = before;
        result
    }

    /// Goes forward by `length` bytes.
    pub fn skip(&mut self, length: u64) -> io::Result<()> {
        if length > self.remaining() {
            return Err(unexpected_end());
        }
        self.position += length;
        Ok(())
    }

    /// The next byte.
    pub fn byte(&mut self) -> io::Result<u8> {
        if self.remaining() == 0 {
            return Err(unexpected_end());
        }
        let buffered = self.buffer_start..self.buffer_start + self.buffer.len() as u64;
        if !buffered.contains(&self.position) {
            let length = BUFFER.min(self.blob.length() - self.position);
            self.buffer.resize(length as usize, 0);
            self.buffer_start = self.position;
            self.blob.read_at(self.position, &mut self.buffer)?;
        }
        let byte = self.buffer[(self.position - self.buffer_start) as usize];
        self.position += 1;
        Ok(byte)
    }

    /// The next `length` bytes; nothing is allocated for bytes that are not there.
    pub fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > self.remaining() {
            return Err(unexpected_end());
        }
        if length <= 64 {
            return (0..length).map(|_| self.byte()).collect();
        }
        let bytes = self.blob.read(self.position, length)?;
        self.position += length;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        for byte in &mut array {
            *byte = self.byte()?;
        }
        Ok(array)
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.remaining().min(buffer.len() as u64) as usize;
        self.blob.read_at(self.position, &mut buffer[..length])?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.end.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn unexpected_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early; it is cut off or damaged")
}
