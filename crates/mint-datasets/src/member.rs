//! Pictures inside tar files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Where a picture lies in a tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The tar file.
    pub file: PathBuf,
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Member {
    /// Reads the picture's bytes.
    ///
    /// # Errors
    ///
    /// If the tar file cannot be read, or has become shorter.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(self.length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.length {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
