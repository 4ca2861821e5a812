//! Unpacks archives of test sets: nothing is written outside the folder, links are never made, and
//! an interrupted unpacking continues.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

/// Most files of an archive; ImageNet-C's largest has 1,000,000.
const MOST_FILES: usize = 3_000_000;
/// Most folders above a file.
const DEEPEST: usize = 12;
/// Bytes that an archive may unpack to: this many times its own, and as many more.
const MOST_TIMES: u64 = 4;
const MOST_MORE: u64 = 16 << 20;

/// Bytes of the name of a tar file's member, with what else is said of it.
const LONGEST_HEADER: u64 = 64 << 10;
/// Larger files are written again and not compared with those of an earlier attempt.
const COMPARED: u64 = 64 << 20;
/// What may follow the end of a tar file: other programs fill up to larger blocks.
const LONGEST_END: u64 = 64 << 20;
/// The end of a file's name while it is written.
const PARTIAL: &str = ".mint-partial";

/// Where this program keeps what it knows of archives.
const RESERVED: &str = "archives";

/// What was unpacked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Files that are in place now, below the folder, with their sizes.
    pub files: BTreeMap<String, u64>,
    /// Those of them that an earlier attempt had written.
    pub earlier: u64,
}

/// Unpacks a tar, tar.gz or zip archive into a folder, told apart by its first bytes.
///
/// `inner` is the end of the name of an archive inside it, of which alone the files are unpacked. A
/// file that is in place with its size is not written again.
///
/// # Errors
///
/// If the archive is damaged, has a path that leads out of the folder, a link, or more than an
/// archive of images can have, or if a file cannot be written.
pub fn unpack(archive: &Path, inner: Option<&str>, folder: &Path) -> anyhow::Result<Unpacked> {
    let what = || format!("cannot unpack `{}`", archive.display());
    let mut file = File::open(archive).with_context(what)?;
    let bytes = file.metadata().with_context(what)?.len();
    let mut target = Target::new(folder, bytes)?;
    let mut start = [0; 262];
    let length = read_up_to(&mut file, &mut start).with_context(what)?;
    file.seek(SeekFrom::Start(0)).with_context(what)?;
    let start = &start[..length];
    let reader = BufReader::with_capacity(1 << 20, file);
    if start.starts_with(b"PK") {
        unpack_zip(reader, inner, &mut target).with_context(what)?;
    } else if let Some(inner) = inner {
        bail!("`{}` is not a zip archive with `{inner}`", archive.display());
    } else {
        unpack_tar(start, reader, &mut target).with_context(what)?;
    }
    if target.unpacked.files.is_empty() {
        bail!("`{}` has no files", archive.display());
    }
    Ok(target.unpacked)
}

fn unpack_tar(start: &[u8], reader: impl Read, target: &mut Target<'_>) -> anyhow::Result<()> {
    if start.starts_with(&[0x1f, 0x8b]) {
        let mut decoder = MultiGzDecoder::new(reader);
        unpack_entries(&mut decoder, target)?;
        // The checksum is compared at the end of the stream.
        let rest = io::copy(&mut (&mut decoder).take(LONGEST_END), &mut io::sink())?;
        if rest == LONGEST_END {
            bail!("more follows the end of the tar file than should");
        }
        return Ok(());
    }
    if start.get(257..262) != Some(b"ustar") && start.first() != Some(&0) {
        bail!("it is not a tar, tar.gz or zip archive");
    }
    unpack_entries(reader, target)
}

fn unpack_entries(reader: impl Read, target: &mut Target<'_>) -> anyhow::Result<()> {
    let state = Rc::new(Watched::default());
    let mut archive = tar::Archive::new(WatchedReader { reader, state: state.clone() });
    let mut entries = archive.entries()?;
    // What was not read of the entry before is read on the way to the next one.
    let mut unread = 0;
    loop {
        state.allowed.set(unread + LONGEST_HEADER);
        let Some(entry) = entries.next() else { break };
        let entry = entry?;
        state.allowed.set(entry.size() + LONGEST_HEADER);
        unread = entry.size();
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            target.place(&path)?;
        } else if kind.is_file() {
            target.write(&path, entry.size(), entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            bail!("`{}` is a link, which an archive of images has not", path.display());
        } else if !kind.is_pax_global_extensions() {
            bail!("`{}` is not a file or a folder", path.display());
        }
    }
    // An archive ends with empty blocks: without them it was cut off, perhaps between two members.
    if state.zeros.get() < 512 {
        bail!("it is cut off: its end is missing");
    }
    Ok(())
}

/// What is known of the bytes that were read of a tar file.
#[derive(Debug, Default)]
struct Watched {
    /// Bytes that may be read before the next entry: what comes as a name goes into memory.
    allowed: Cell<u64>,
    /// Zeros at the end of what was read.
    zeros: Cell<u64>,
}

/// Hands bytes on, and watches them.
struct WatchedReader<R> {
    reader: R,
    state: Rc<Watched>,
}

impl<R: Read> Read for WatchedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let Watched { allowed, zeros } = &*self.state;
        match allowed.get().checked_sub(read as u64) {
            Some(rest) => allowed.set(rest),
            None => return Err(io::Error::other("the name of a member is too long")),
        }
        let at_end = buffer[..read].iter().rev().take_while(|byte| **byte == 0).count();
        let before = if at_end == read { zeros.get() } else { 0 };
        zeros.set(before + at_end as u64);
        Ok(read)
    }
}

fn unpack_zip(
    reader: impl Read + Seek,
    inner: Option<&str>,
    target: &mut Target<'_>,
) -> anyhow::Result<()> {
    let mut archive = ZipArchive::new(reader)?;
    let mut found = inner.is_none();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let path = PathBuf::from(entry.name());
        if entry.is_symlink() {
            bail!("`{}` is a link, which an archive of images has not", path.display());
        }
        match inner {
            Some(inner) if entry.is_file() && entry.name().ends_with(inner) => {
                if is_of_a_system(&path) {
                    continue;
                }
                // Streamed, so that the archive inside needs no place of its own.
                let mut start = [0; 262];
                let length = read_up_to(&mut entry, &mut start)?;
                let start = &start[..length];
                unpack_tar(start, start.chain(&mut entry), target)
                    .with_context(|| format!("the archive `{}` in it", path.display()))?;
                found = true;
            }
            Some(_) => {}
            None if entry.is_dir() => {
                target.place(&path)?;
            }
            None => target.write(&path, entry.size(), &mut entry)?,
        }
    }
    if !found {
        bail!("it has no `{}`", inner.unwrap_or_default());
    }
    Ok(())
}

/// The folder that is unpacked into.
struct Target<'a> {
    folder: &'a Path,
    /// Bytes that may still be unpacked.
    rest: u64,
    unpacked: Unpacked,
}

impl<'a> Target<'a> {
    fn new(folder: &'a Path, archive: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let rest = archive.saturating_mul(MOST_TIMES).saturating_add(MOST_MORE);
        Ok(Self { folder, rest, unpacked: Unpacked::default() })
    }

    /// Where a path of the archive lies. Folders above it that are links are refused.
    fn place(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let mut place = self.folder.to_owned();
        let mut depth = 0;
        for part in path.components() {
            match part {
                Component::Normal(name) => place.push(name),
                Component::CurDir => continue,
                _ => bail!("the path `{}` leads out of the folder", path.display()),
            }
            depth += 1;
            if fs::symlink_metadata(&place).is_ok_and(|kind| kind.is_symlink()) {
                bail!("`{}` is a link; remove it", place.display());
            }
        }
        // Written on another system.
        if path.to_string_lossy().contains('\\') {
            bail!("the path `{}` has a backslash", path.display());
        }
        if depth > DEEPEST {
            bail!("the path `{}` is {depth} folders deep", path.display());
        }
        Ok(place)
    }

    fn write(&mut self, path: &Path, size: u64, mut contents: impl Read) -> anyhow::Result<()> {
        let place = self.place(path)?;
        let below = place.strip_prefix(self.folder).unwrap_or(&place);
        let Some(name) = below.to_str().map(str::to_owned) else {
            bail!("the path `{}` is not UTF-8", path.display());
        };
        if name.is_empty() || name.ends_with(PARTIAL) || below.starts_with(RESERVED) {
            bail!("`{}` is no name of an image", path.display());
        }
        if is_of_a_system(path) {
            return Ok(());
        }
        self.rest = self.rest.checked_sub(size).with_context(|| {
            format!(
                "at `{}` it has more bytes than an archive of images unpacks to",
                path.display()
            )
        })?;
        let is_new = self.unpacked.files.insert(name, size).is_none();
        if self.unpacked.files.len() > MOST_FILES {
            bail!("it has more than {MOST_FILES} files");
        }
        let is_written = put(&place, size, &mut contents)
            .with_context(|| format!("cannot write `{}`", place.display()))?;
        self.unpacked.earlier += u64::from(is_new && !is_written);
        Ok(())
    }
}

/// Writes a file in its place, unless it is there with these contents; says whether it was written.
fn put(place: &Path, size: u64, contents: &mut impl Read) -> io::Result<bool> {
    let is_as_large =
        fs::symlink_metadata(place).is_ok_and(|kind| kind.is_file() && kind.len() == size);
    let mut known = None;
    if is_as_large && size <= COMPARED {
        let mut bytes = Vec::new();
        read_whole(contents, size, &mut bytes)?;
        if fs::read(place)? == bytes {
            return Ok(false);
        }
        known = Some(bytes);
    }
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    let partial = place.with_file_name(name);
    // Never through a link that lies there.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).open(&partial)?;
    let written = match known {
        Some(bytes) => file.write_all(&bytes),
        None => read_whole(contents, size, &mut file),
    };
    if written.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&partial);
    }
    written.and_then(|()| fs::rename(&partial, place)).map(|()| true)
}

/// Copies `size` bytes and reads the end after them, where checksums are compared.
fn read_whole(contents: &mut impl Read, size: u64, into: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut contents.take(size), into)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match contents.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("it is longer than it says")),
    }
}

/// What systems add to archives.
fn is_of_a_system(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name == "__MACOSX" || name == ".DS_Store" || name.starts_with("._")
    })
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};
    use tempfile::TempDir;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    /// A tar file of entries with a kind, a name that is written as it is, and contents.
    fn tar_of(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, contents) in entries {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            if *kind == EntryType::Symlink || *kind == EntryType::Link {
                header.set_link_name("/etc/passwd").expect("a name");
            }
            header.set_cksum();
            builder.append(&header, *contents).expect("memory");
        }
        builder.into_inner().expect("memory")
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, contents) in entries {
            let options = SimpleFileOptions::default().large_file(true);
            writer.start_file(*name, options).expect("memory");
            writer.write_all(contents).expect("memory");
        }
        writer.finish().expect("memory").into_inner()
    }

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn unpack(&self, archive: &[u8], inner: Option<&str>) -> anyhow::Result<Unpacked> {
            let file = self.0.path().join("archive");
            fs::write(&file, archive).expect("the file can be written");
            unpack(&file, inner, &self.0.path().join("set"))
        }

        fn files(&self) -> Vec<String> {
            let mut files = Vec::new();
            let mut open = vec![self.0.path().to_owned()];
            while let Some(folder) = open.pop() {
                for entry in fs::read_dir(folder).expect("a folder") {
                    let path = entry.expect("an entry").path();
                    if path.is_dir() {
                        open.push(path);
                    } else {
                        let path = path.strip_prefix(self.0.path()).expect("below");
                        files.push(path.display().to_string());
                    }
                }
            }
            files.retain(|file| file != "archive");
            files.sort();
            files
        }
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn every_form_is_unpacked_and_a_second_time_nothing_is_written() {
        let entries: [(EntryType, &str, &[u8]); 4] = [
            (EntryType::Directory, "a/", b""),
            (FILE, "a/x.jpg", b"picture"),
            (FILE, "./a/y.jpg", b"another"),
            (FILE, "__MACOSX/._x.jpg", b"junk"),
        ];
        let tar = tar_of(&entries);
        let inner = zip_of(&[("top/inner.tar.gz", &gz(&tar)), ("top/readme", b"text")]);
        let zip = zip_of(&[("a/x.jpg", b"picture"), ("a/y.jpg", b"another")]);
        for (archive, inner) in
            [(&tar, None), (&gz(&tar), None), (&zip, None), (&inner, Some("inner.tar.gz"))]
        {
            let place = Place::new();
            let first = place.unpack(archive, inner).expect("a good archive");
            let files: BTreeMap<String, u64> =
                [("a/x.jpg".to_owned(), 7), ("a/y.jpg".to_owned(), 7)].into();
            assert_eq!(first, Unpacked { files: files.clone(), earlier: 0 });
            assert_eq!(place.files(), ["set/a/x.jpg", "set/a/y.jpg"]);
            // As a kill in the middle of a file leaves it; damage of the same size is seen as well.
            fs::write(place.0.path().join("set/a/y.jpg"), "anoXher").expect("a file");
            fs::write(place.0.path().join("set/a/y.jpg.mint-partial"), "an").expect("a file");
            let again = place.unpack(archive, inner).expect("a good archive");
            assert_eq!(again, Unpacked { files, earlier: 1 });
            let text = fs::read_to_string(place.0.path().join("set/a/y.jpg")).expect("a file");
            assert_eq!(text, "another");
            assert_eq!(place.files().len(), 2, "no temporary file stays");
        }
    }

    #[test]
    fn hostile_archives_are_refused_and_write_nothing_outside() {
        let zeros = vec![0; 20 << 20];
        let deep = format!("{}x.jpg", "a/".repeat(13));
        let twice = gz(&gz(&tar_of(&[(FILE, "x.jpg", b"picture")])));
        let mut shorter = tar_of(&[(FILE, "x.jpg", &[7; 4000])]);
        shorter.truncate(2000);
        let mut between = tar_of(&[(FILE, "x.jpg", b"x"), (FILE, "y.jpg", b"y")]);
        between.truncate(1024);
        let mut checksum = gz(&tar_of(&[(FILE, "x.jpg", b"picture")]));
        let place = checksum.len() - 8;
        checksum[place] ^= 1;
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.start_file("x.jpg", stored).expect("memory");
        writer.write_all(b"picture").expect("memory");
        let mut flipped = writer.finish().expect("memory").into_inner();
        let place = flipped.windows(7).position(|part| part == b"picture").expect("it is there");
        flipped[place] = b'P';
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 20);
        header.set_cksum();
        let mut builder = Builder::new(Vec::new());
        builder.append(&header, &vec![b'a'; 1 << 20][..]).expect("memory");
        let long = builder.into_inner().expect("memory");
        for (what, archive, problem) in [
            ("absolute", tar_of(&[(FILE, "/tmp/mint-escape", b"x")]), "leads out"),
            ("above", tar_of(&[(FILE, "../mint-escape", b"x")]), "leads out"),
            ("above within", tar_of(&[(FILE, "a/../../mint-escape", b"x")]), "leads out"),
            ("folder above", tar_of(&[(EntryType::Directory, "../a/", b"")]), "leads out"),
            ("symbolic link", tar_of(&[(EntryType::Symlink, "a", b"")]), "is a link"),
            ("hard link", tar_of(&[(EntryType::Link, "a", b"")]), "is a link"),
            ("device", tar_of(&[(EntryType::Char, "a", b"")]), "not a file or a folder"),
            ("backslash", tar_of(&[(FILE, "..\\mint-escape", b"x")]), "backslash"),
            ("bomb", gz(&tar_of(&[(FILE, "x.jpg", &zeros)])), "more bytes"),
            ("zip bomb", zip_of(&[("x.jpg", &zeros)]), "more bytes"),
            ("zip above", zip_of(&[("../mint-escape", b"x")]), "leads out"),
            ("zip absolute", zip_of(&[("/tmp/mint-escape", b"x")]), "leads out"),
            ("deep", tar_of(&[(FILE, &deep, b"x")]), "folders deep"),
            ("packed twice", twice, "cannot unpack"),
            ("cut off", shorter, "cannot unpack"),
            ("cut off between members", between, "cut off"),
            ("wrong checksum", checksum, "cannot unpack"),
            ("wrong checksum in a zip", flipped, "cannot unpack"),
            ("long name", long, "too long"),
            ("the folder itself", tar_of(&[(FILE, ".", b"x")]), "no name"),
            ("the records", tar_of(&[(FILE, "archives/x.json", b"x")]), "no name"),
            ("empty", tar_of(&[]), "has no files"),
            ("a web page", b"<!DOCTYPE html>".to_vec(), "not a tar"),
        ] {
            let place = Place::new();
            let error = place.unpack(&archive, None).expect_err(what);
            let message = format!("{error:#}");
            assert!(message.contains(problem), "{what}: {message}");
            let files = place.files();
            assert!(files.iter().all(|file| file.starts_with("set/")), "{what}: {files:?}");
            assert!(!Path::new("/tmp/mint-escape").exists(), "{what}");
        }
    }

    #[test]
    fn a_link_in_the_folder_is_not_followed() {
        let place = Place::new();
        fs::create_dir_all(place.0.path().join("set")).expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        #[cfg(unix)]
        std::os::unix::fs::symlink(elsewhere.path(), place.0.path().join("set/a")).expect("a link");
        let archive = tar_of(&[(FILE, "a/x.jpg", b"picture")]);
        let error = place.unpack(&archive, None).expect_err("the folder is a link");
        assert!(format!("{error:#}").contains("is a link"), "{error:#}");
        assert_eq!(fs::read_dir(elsewhere.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_member_that_comes_twice_is_one_file_and_the_later_one() {
        let place = Place::new();
        let archive =
            tar_of(&[(FILE, "a.png", b"one"), (FILE, "b", b"b"), (FILE, "a.png", b"two")]);
        let unpacked = place.unpack(&archive, None).expect("a good archive");
        assert_eq!(unpacked.files.len(), 2);
        assert_eq!(fs::read(place.0.path().join("set/a.png")).expect("a file"), b"two");
    }

    #[test]
    fn an_archive_without_the_inner_one_says_so() {
        let place = Place::new();
        let error = place.unpack(&zip_of(&[("a", b"x")]), Some("inner.tar.gz"));
        assert!(format!("{:#}", error.expect_err("it has none")).contains("inner.tar.gz"));
        let error = place.unpack(&tar_of(&[(FILE, "a", b"x")]), Some("inner.tar.gz"));
        assert!(error.expect_err("it is no zip").to_string().contains("not a zip"));
    }
}
