//! Records of one length in files that are only added to, found by 32-byte keys.
//!
//! A file is a header and records: key, value, checksum. One process at a time adds to a file, which
//! it locks; another that comes meanwhile begins the next file. Readers need no lock. What a crash
//! leaves of a record is cut off by whoever adds next.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::lock::lock;
use crate::write_whole::write_whole;

/// What a record is found by.
pub(crate) type Key = [u8; 32];

/// What a file starts with, before the length of its values.
const MAGIC: &[u8; 12] = b"mint pack 1\n";
/// Length of the header.
const HEADER: usize = MAGIC.len() + 4;
/// Length of a record besides its value.
const BESIDES: usize = size_of::<Key>() + 4;
/// What the names of files end with.
pub(crate) const ENDING: &str = "pack";

/// The files of one name in a folder.
#[derive(Debug)]
pub(crate) struct Packs {
    folder: PathBuf,
    name: &'static str,
    value_length: usize,
    state: Mutex<State>,
    damaged: AtomicU64,
    /// The first reason why something could not be kept; nothing is written after it.
    write_error: OnceLock<String>,
}

#[derive(Debug, Default)]
struct State {
    index: HashMap<Key, Place>,
    /// For reading.
    files: Vec<File>,
    own: Option<Own>,
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    offset: u64,
}

/// The file that this process adds to.
#[derive(Debug)]
struct Own {
    /// Locked as long as it is open.
    locked: File,
    /// Which of the files for reading it is.
    file: usize,
    length: u64,
}

impl Packs {
    /// Reads the keys of the files `NAME-*.pack` in a folder. Files with values of another length are
    /// as if they were not there.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn open(folder: &Path, name: &'static str, value_length: usize) -> io::Result<Self> {
        let mut state = State::default();
        let mut damaged = 0;
        for number in 1.. {
            let path = path(folder, name, number);
            let Some(found) = scan(&path)? else { break };
            if found.value_length != value_length {
                continue;
            }
            damaged += found.damaged;
            let file = state.files.len();
            state.files.push(File::open(&path)?);
            let places = found.places.into_iter();
            state.index.extend(places.map(|(key, offset)| (key, Place { file, offset })));
        }
        Ok(Self {
            folder: folder.to_owned(),
            name,
            value_length,
            state: Mutex::new(state),
            damaged: AtomicU64::new(damaged),
            write_error: OnceLock::new(),
        })
    }

    /// Whoever panicked with the lock left nothing half done that matters.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a value.
    pub fn has(&self, key: &Key) -> bool {
        self.state().index.contains_key(key)
    }

    /// A value; `None` if it is not there.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut state = self.state();
        let Place { file, offset } = *state.index.get(key)?;
        let mut value = vec![0; self.value_length];
        let file = &mut state.files[file];
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut value));
        if read.is_err() {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(value)
    }

    /// Adds a value. What cannot be written is told by [`Packs::write_error`].
    pub fn add(&self, key: &Key, value: &[u8]) {
        if self.write_error.get().is_none()
            && let Err(error) = self.try_add(key, value)
        {
            let _ = self.write_error.set(format!("`{}`: {error}", self.folder.display()));
        }
    }

    fn try_add(&self, key: &Key, value: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.own.is_none() {
            let own = self.claim(&mut state)?;
            state.own = Some(own);
        }
        let State { index, own: Some(own), .. } = &mut *state else { return Ok(()) };
        let record = record(key, value);
        if let Err(error) = own.locked.write_all(&record) {
            // A part of a record must not stay before the next one.
            own.locked.set_len(own.length)?;
            return Err(error);
        }
        let offset = own.length + size_of::<Key>() as u64;
        own.length += record.len() as u64;
        index.insert(*key, Place { file: own.file, offset });
        Ok(())
    }

    /// Locks the first file that nobody else adds to.
    fn claim(&self, state: &mut State) -> io::Result<Own> {
        fs::create_dir_all(&self.folder)?;
        for number in 1.. {
            let path = path(&self.folder, self.name, number);
            let Some(mut locked) = lock(&path)? else { continue };
            let mut reader = File::open(&path)?;
            let mut length = locked.metadata()?.len();
            if length < HEADER as u64 {
                locked.set_len(0)?;
                locked.write_all(&header(self.value_length))?;
                length = HEADER as u64;
            } else if read_header(&mut reader)? != Some(self.value_length) {
                continue;
            } else {
                let records = length - HEADER as u64;
                length -= records % (self.value_length + BESIDES) as u64;
                locked.set_len(length)?;
            }
            state.files.push(reader);
            return Ok(Own { locked, file: state.files.len() - 1, length });
        }
        Err(io::Error::other("there are too many files"))
    }

    /// Records that were damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Why something could not be kept.
    pub fn write_error(&self) -> Option<&str> {
        self.write_error.get().map(String::as_str)
    }
}

fn path(folder: &Path, name: &str, number: usize) -> PathBuf {
    folder.join(format!("{name}-{number}.{ENDING}"))
}

fn header(value_length: usize) -> Vec<u8> {
    [&MAGIC[..], &(value_length as u32).to_le_bytes()].concat()
}

fn record(key: &Key, value: &[u8]) -> Vec<u8> {
    let mut record = [&key[..], value].concat();
    record.extend(crc32fast::hash(&record).to_le_bytes());
    record
}

/// The length of the values of a file; `None` if it is none of ours.
fn read_header(reader: &mut impl Read) -> io::Result<Option<usize>> {
    let mut header = [0; HEADER];
    match reader.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => {
            let (magic, length) = header.split_at(MAGIC.len());
            let length = length.try_into().map(u32::from_le_bytes).map_or(0, |it| it as usize);
            Ok((magic == MAGIC && length > 0).then_some(length))
        }
    }
}

/// What is in a file.
pub(crate) struct Scan {
    value_length: usize,
    /// Keys of whole records, and where their values are.
    pub places: Vec<(Key, u64)>,
    /// Records with a wrong checksum, or a header that cannot be read.
    pub damaged: u64,
}

/// Reads a file through; `None` if it is not there. An incomplete record at the end may still be
/// written, and does not count.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn scan(path: &Path) -> io::Result<Option<Scan>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut scan = Scan { value_length: 0, places: Vec::new(), damaged: 0 };
    let Some(value_length) = read_header(&mut reader)? else {
        // Somebody has just begun it, or it is damaged.
        scan.damaged = u64::from(length >= HEADER as u64);
        return Ok(Some(scan));
    };
    scan.value_length = value_length;
    let mut record = vec![0; value_length + BESIDES];
    let mut offset = HEADER as u64;
    while offset + record.len() as u64 <= length {
        reader.read_exact(&mut record)?;
        let (body, checksum) = record.split_at(record.len() - 4);
        match body.first_chunk() {
            Some(key) if checksum == crc32fast::hash(body).to_le_bytes() => {
                scan.places.push((*key, offset + size_of::<Key>() as u64));
            }
            _ => scan.damaged += 1,
        }
        offset += record.len() as u64;
    }
    Ok(Some(scan))
}

/// Writes a file anew without its damaged records, unless a process adds to it.
///
/// # Errors
///
/// If it cannot be read or written.
pub(crate) fn mend(path: &Path) -> io::Result<()> {
    let Some(_lock) = lock(path)? else { return Ok(()) };
    let Some(scan) = scan(path)? else { return Ok(()) };
    if scan.places.is_empty() {
        return fs::remove_file(path);
    }
    let whole = fs::read(path)?;
    let mut mended = header(scan.value_length);
    for (_, offset) in scan.places {
        let start = offset as usize - size_of::<Key>();
        mended.extend(&whole[start..start + scan.value_length + BESIDES]);
    }
    write_whole(path, &mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Packs {
        Packs::open(folder, "test", 3).expect("a folder")
    }

    #[test]
    fn values_come_back_in_this_process_and_the_next_and_several_may_add() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let (one, other) = (open(folder), open(folder));
        one.add(&[1; 32], b"one");
        other.add(&[2; 32], b"two");
        assert_eq!(one.get(&[1; 32]).as_deref(), Some(&b"one"[..]));
        assert!(!one.has(&[2; 32]), "it came later");
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 2, "each has a file");
        drop((one, other));
        let later = open(folder);
        assert_eq!(later.get(&[1; 32]).as_deref(), Some(&b"one"[..]));
        assert_eq!(later.get(&[2; 32]).as_deref(), Some(&b"two"[..]));
        later.add(&[3; 32], b"new");
        assert_eq!(later.get(&[3; 32]).as_deref(), Some(&b"new"[..]));
        assert_eq!((later.damaged(), later.write_error()), (0, None));
        drop(later);
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 2, "files are used again");
        assert_eq!(Packs::open(folder, "test", 4).expect("a folder").get(&[1; 32]), None);
    }

    #[test]
    fn damage_costs_its_record_alone_and_is_mended() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let packs = open(folder);
        for key in 1..=3 {
            packs.add(&[key; 32], &[key; 3]);
        }
        drop(packs);
        let file = path(folder, "test", 1);
        let whole = fs::read(&file).expect("a file");
        for place in HEADER..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            fs::write(&file, &bytes).expect("a file");
            let packs = open(folder);
            assert_eq!(packs.damaged(), 1, "{place}");
            let there = (1..=3).filter(|&key| packs.get(&[key; 32]) == Some(vec![key; 3]));
            assert_eq!(there.count(), 2, "{place}");
        }
        mend(&file).expect("it can be written");
        assert_eq!(open(folder).damaged(), 0);
        assert!(!open(folder).has(&[3; 32]), "the last one was damaged last");

        // What a crash leaves.
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).expect("a file");
            let packs = open(folder);
            assert_eq!(packs.damaged(), 0, "{length}");
            packs.add(&[9; 32], b"new");
            drop(packs);
            assert_eq!(open(folder).get(&[9; 32]).as_deref(), Some(&b"new"[..]), "{length}");
            let there = (1..=3).filter(|&key| open(folder).has(&[key; 32])).count();
            assert_eq!(there, length.saturating_sub(HEADER) / (3 + BESIDES), "{length}");
        }
    }

    #[test]
    fn a_header_that_is_damaged_is_told_and_a_new_file_is_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        fs::write(path(folder, "test", 1), b"something else entirely").expect("a file");
        let packs = open(folder);
        packs.add(&[1; 32], b"one");
        assert_eq!(packs.write_error(), None);
        drop(packs);
        assert_eq!(open(folder).get(&[1; 32]).as_deref(), Some(&b"one"[..]));
        assert_eq!(scan(&path(folder, "test", 1)).expect("a file").map(|it| it.damaged), Some(1));
    }
}
