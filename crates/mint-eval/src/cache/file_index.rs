//! Which content files had when they were last read, so that they need not be read again.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::cache::kept_embeddings::Content;
use crate::cache::packs::{Key, Packs};
use crate::record::run_info::{HashedFile, hex};

/// A file that was changed so shortly before it was read may change once more and look the same:
/// clocks of file systems are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// The name of the files that it is kept in.
pub(crate) const NAME: &str = "files";

/// The contents of files by path, size and times.
#[derive(Debug)]
pub struct FileIndex {
    packs: Packs,
}

/// A file as it is on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    key: Key,
    /// Whether a later change would be seen.
    is_settled: bool,
}

impl FileIndex {
    /// The index in the folder of a cache.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { packs: Packs::open(folder, NAME, size_of::<Content>())? })
    }

    /// A file with its checksum, which is computed if the file is not known.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn hashed(&self, file: &Path) -> io::Result<HashedFile> {
        let stamp = Stamp::of(file);
        if let Some(content) = stamp.as_ref().and_then(|stamp| self.content(stamp)) {
            return Ok(HashedFile { file: file.display().to_string(), sha256: hex(&content) });
        }
        let mut digest = Sha256::new();
        io::copy(&mut File::open(file)?, &mut digest)?;
        let content = digest.finalize().into();
        if let Some(stamp) = stamp {
            self.add(&stamp, content);
        }
        Ok(HashedFile { file: file.display().to_string(), sha256: hex(&content) })
    }

    /// The content of a file; `None` if it is not known.
    pub(crate) fn content(&self, stamp: &Stamp) -> Option<Content> {
        self.packs.get(&stamp.key)?.try_into().ok()
    }

    /// Remembers what was read after a file was stamped.
    pub(crate) fn add(&self, stamp: &Stamp, content: Content) {
        if stamp.is_settled && self.content(stamp) != Some(content) {
            self.packs.add(&stamp.key, &content);
        }
    }
}

impl Stamp {
    /// Of a file; `None` if it is none, or cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let path: PathBuf = std::path::absolute(path).ok()?;
        let modified = about.modified().ok()?;
        let age = SystemTime::now().duration_since(modified.max(changed(&about)));
        let mut key = Sha256::new();
        key.update(about.len().to_le_bytes());
        key.update(identity(&about));
        key.update(nanoseconds(modified).to_le_bytes());
        key.update(path.as_os_str().as_encoded_bytes());
        let is_settled = age.is_ok_and(|age| age > SETTLED);
        Some(Self { key: key.finalize().into(), is_settled })
    }
}

fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// What else changes when somebody puts another file in its place, with the same times.
#[cfg(unix)]
fn identity(about: &Metadata) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt;
    let of_change = [about.ctime(), about.ctime_nsec()].map(i64::to_le_bytes).concat();
    [about.ino().to_le_bytes().to_vec(), of_change].concat()
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Vec<u8> {
    Vec::new()
}

/// When anything about a file was last changed.
#[cfg(unix)]
fn changed(about: &Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(about.ctime()).unwrap_or_default();
    let nanoseconds = u32::try_from(about.ctime_nsec()).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> SystemTime {
    UNIX_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_until_anything_about_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = FileIndex::open(folder.path()).expect("an index");
        let file = folder.path().join("a.png");
        fs::write(&file, b"one").expect("a file");
        let stamp = Stamp::of(&file).expect("a file");
        index.add(&stamp, [1; 32]);
        assert_eq!(index.content(&stamp), None, "it may still change unseen");
        index.add(&Stamp { is_settled: true, ..stamp }, [1; 32]);
        let known = || index.content(&Stamp::of(&file).expect("a file"));
        assert_eq!(known(), Some([1; 32]));
        let earlier = SystemTime::now() - Duration::from_secs(100);
        File::options()
            .write(true)
            .open(&file)
            .and_then(|it| it.set_modified(earlier))
            .expect("ok");
        assert_eq!(known(), None, "another time");
        fs::write(&file, b"more").expect("a file");
        assert_eq!(known(), None, "another size");
        assert!(
            Stamp::of(folder.path()).is_none() && Stamp::of(&folder.path().join("b")).is_none()
        );
    }

    #[test]
    fn checksums_are_those_of_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("weights");
        fs::write(&file, b"numbers").expect("a file");
        let index = FileIndex::open(folder.path()).expect("an index");
        let expected = HashedFile::read(&file).expect("a file");
        assert_eq!(index.hashed(&file).expect("a file"), expected);
        assert!(index.hashed(&folder.path().join("none")).is_err());
    }
}
