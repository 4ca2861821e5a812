//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name beside a file for what is not yet whole, which no other process or thread uses.
pub(crate) fn partial_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{count}.partial", process::id()));
    name.into()
}

/// Writes a temporary file and renames it, so that the file is always whole, after a power cut
/// too. Nothing is left of a file that cannot be written. Several processes may write one file: the
/// last one stays. A link stays one, and what is no file, such as a pipe, is written into.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Ok(target) = fs::read_link(path) {
        return write_whole(&path.parent().unwrap_or(Path::new("")).join(target), contents);
    }
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return File::options().write(true).open(path)?.write_all(contents);
    }
    let partial = partial_name(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    let written = write();
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&partial);
    } else if let Some(Ok(folder)) = path.parent().map(File::open) {
        // Where folders can be opened, the new name is made to last as well.
        let _ = folder.sync_all();
    }
    written
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("file", &link).expect("a link can be made");
        for contents in ["one", "two"] {
            write_whole(&link, contents.as_bytes()).expect("it can be written");
            assert_eq!(fs::read_to_string(&file).expect("it is there"), contents);
            assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        }
        write_whole(Path::new("/dev/null"), b"gone").expect("it can be written");
        assert!(!fs::metadata("/dev/null").expect("it is there").is_file());
        assert!(write_whole(Path::new("/dev/full"), b"no room").is_err());
    }
}
