//! Where the headers and the run-time compiler of CUDA are: in a toolkit, or in Python packages.
//!
//! Kernels are compiled when they are first needed, by NVRTC, which opens headers. The compiler's
//! caller knows one folder, `CUDA_PATH`, and looks into `include` and `include/cccl` below it.
//! A toolkit fits that. The Python packages of CUDA 12 each have an `include` of their own, so
//! for them a folder of links is made that fits.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Headers that kernels include: for half precision, tensor cores, and copies that run by
/// themselves. The last is what the one before it opens.
pub const HEADERS: [&str; 7] = [
    "cuda_fp16.h",
    "cuda_bf16.h",
    "mma.h",
    "crt/mma.h",
    "cooperative_groups.h",
    "cuda/barrier",
    "nv/target",
];

/// Where headers lie in a toolkit, and in the packages of CUDA 12.
const HEADER_FOLDERS: [&str; 6] = [
    "include",
    "include/cccl",
    "targets/x86_64-linux/include",
    "nvidia/cuda_runtime/include",
    "nvidia/cuda_nvcc/include",
    "nvidia/cuda_cccl/include",
];

/// Where libraries lie.
const LIBRARY_FOLDERS: [&str; 4] =
    ["lib64", "lib", "targets/x86_64-linux/lib", "nvidia/cuda_nvrtc/lib"];

/// Folders that may be, or hold, an installation.
pub struct Places {
    /// In the order in which they are looked into.
    pub folders: Vec<PathBuf>,
    /// Where that was, for a message.
    pub description: String,
}

impl Places {
    /// `CUDA_PATH` alone if it is set, else the usual folders and those next to programs.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Some(path) = variable("CUDA_PATH").filter(|path| !path.is_empty()) {
            // Links that are made to it have to lead there from anywhere.
            let folder = std::path::absolute(&path).unwrap_or_else(|_| path.into());
            let description = format!("`CUDA_PATH` (`{}`)", folder.display());
            return Self { folders: vec![folder], description };
        }
        let mut folders = vec![PathBuf::from("/usr/local/cuda"), PathBuf::from("/opt/cuda")];
        let path = variable("PATH").unwrap_or_default();
        // A Python, or an environment of one, has its packages next to the folder of its programs.
        for programs in std::env::split_paths(&path) {
            let Some(prefix) = programs.parent() else { continue };
            if programs.join("nvcc").exists() {
                folders.push(prefix.to_owned());
            }
            for library in subfolders(&prefix.join("lib"), "python3") {
                folders.extend(["site-packages", "dist-packages"].map(|name| library.join(name)));
            }
        }
        let description = "`/usr/local/cuda`, `/opt/cuda`, and next to `nvcc` and the Pythons on `PATH` (`CUDA_PATH` is not set)";
        Self { folders, description: description.to_owned() }
    }
}

/// Folders with headers in one place.
pub fn header_folders(place: &Path) -> Vec<PathBuf> {
    let folders = HEADER_FOLDERS.iter().map(|folder| place.join(folder));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Needed headers that are in none of the folders.
pub fn missing_headers(folders: &[PathBuf]) -> Vec<&'static str> {
    let is_missing = |header: &&str| !folders.iter().any(|folder| folder.join(header).is_file());
    HEADERS.into_iter().filter(is_missing).collect()
}

/// The first library in one of the places that has one of the names.
pub fn library(places: &[PathBuf], names: &[String]) -> Option<PathBuf> {
    let folders = places.iter().flat_map(|place| LIBRARY_FOLDERS.map(|folder| place.join(folder)));
    let files = folders.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// The folder that `CUDA_PATH` has to name for these headers: theirs, if all are below one, else
/// a folder of links in `cache`.
pub fn cuda_path(folders: &[PathBuf], cache: &Path) -> io::Result<PathBuf> {
    let fits = |root: &&Path| missing_headers(&include_folders(root)).is_empty();
    if let Some(root) = folders.iter().filter_map(|folder| folder.parent()).find(fits) {
        return Ok(root.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    folders.hash(&mut hasher);
    let root = cache.join(format!("cuda-{:016x}", hasher.finish()));
    if missing_headers(&include_folders(&root)).is_empty() {
        return Ok(root);
    }
    let unfinished = cache.join(format!("cuda-{}.part", std::process::id()));
    let include = unfinished.join("include");
    std::fs::create_dir_all(&include)?;
    for folder in folders {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match link(&entry.path(), &include.join(entry.file_name())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    if root.exists() {
        std::fs::remove_dir_all(&root)?; // its links lead nowhere any more
    }
    std::fs::rename(&unfinished, &root)?;
    Ok(root)
}

/// The two folders below `CUDA_PATH` that are looked into.
fn include_folders(root: &Path) -> [PathBuf; 2] {
    [root.join("include"), root.join("include/cccl")]
}

fn subfolders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut folders: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

#[cfg(unix)]
fn link(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use tempfile::TempDir;

    /// Empty files below a fresh folder.
    fn tree(files: &[&str]) -> TempDir {
        let root = TempDir::new().expect("a folder can be made");
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a file has a folder"))
                .expect("a folder can be made");
            std::fs::write(path, "").expect("a file can be written");
        }
        root
    }

    const RUNTIME_12: [&str; 4] = [
        "nvidia/cuda_runtime/include/cuda_fp16.h",
        "nvidia/cuda_runtime/include/cuda_bf16.h",
        "nvidia/cuda_runtime/include/mma.h",
        "nvidia/cuda_runtime/include/cooperative_groups.h",
    ];
    const OTHERS_12: [&str; 3] = [
        "nvidia/cuda_nvcc/include/crt/mma.h",
        "nvidia/cuda_cccl/include/cuda/barrier",
        "nvidia/cuda_cccl/include/nv/target",
    ];
    const COMPILER_12: &str = "nvidia/cuda_nvrtc/lib/libnvrtc.so.12";

    fn packages_of_cuda_12() -> TempDir {
        tree(&[&RUNTIME_12[..], &OTHERS_12, &[COMPILER_12]].concat())
    }

    #[test]
    fn a_toolkit_is_used_where_it_is() {
        let headers = HEADERS.map(|header| match header {
            "cuda/barrier" | "nv/target" => format!("include/cccl/{header}"),
            _ => format!("include/{header}"),
        });
        let root = tree(&headers.each_ref().map(String::as_str));
        let folders = header_folders(root.path());
        assert!(missing_headers(&folders).is_empty());
        let cuda_path = cuda_path(&folders, Path::new("/nonexistent")).expect("nothing is written");
        assert_eq!(cuda_path, root.path());
    }

    #[test]
    #[cfg(unix)]
    fn packages_of_cuda_12_are_linked_into_one_folder() {
        let (root, cache) = (packages_of_cuda_12(), tree(&[]));
        let folders = header_folders(root.path());
        assert_eq!(folders.len(), 3);
        let linked = cuda_path(&folders, cache.path()).expect("links can be made");
        assert!(linked.starts_with(cache.path()));
        assert!(missing_headers(&[linked.join("include")]).is_empty());
        assert_eq!(cuda_path(&folders, cache.path()).expect("it is there"), linked, "reused");
    }

    #[test]
    #[cfg(unix)]
    fn links_that_lead_nowhere_are_made_anew() {
        let (root, cache) = (packages_of_cuda_12(), tree(&[]));
        let folders = header_folders(root.path());
        let linked = cuda_path(&folders, cache.path()).expect("links can be made");
        std::fs::remove_file(linked.join("include/mma.h")).expect("a link can be removed");
        cuda_path(&folders, cache.path()).expect("links can be made");
        assert!(linked.join("include/mma.h").is_file());
    }

    #[test]
    fn the_runtime_package_alone_lacks_headers() {
        let root = tree(&RUNTIME_12);
        let missing = missing_headers(&header_folders(root.path()));
        assert_eq!(missing, ["crt/mma.h", "cuda/barrier", "nv/target"]);
    }

    #[test]
    fn cuda_path_is_the_only_place_if_it_is_set() {
        let variable = |name: &str| (name == "CUDA_PATH").then(|| OsString::from("/somewhere"));
        let places = Places::of(variable);
        assert_eq!(places.folders, [PathBuf::from("/somewhere")]);
        assert_eq!(places.description, "`CUDA_PATH` (`/somewhere`)");
    }

    #[test]
    fn packages_of_a_python_on_the_path_are_found() {
        let root = tree(&["bin/python3", "lib/python3.12/site-packages/nvidia/x"]);
        let variable = |name: &str| (name == "PATH").then(|| root.path().join("bin").into());
        let packages = root.path().join("lib/python3.12/site-packages");
        assert!(Places::of(variable).folders.contains(&packages));
    }

    #[test]
    fn the_compiler_is_found_in_its_package() {
        let root = packages_of_cuda_12();
        let names = ["libnvrtc.so", "libnvrtc.so.12"].map(str::to_owned);
        let found = library(&[root.path().to_owned()], &names).expect("it is there");
        assert_eq!(found, root.path().join(COMPILER_12));
        assert_eq!(library(&[root.path().to_owned()], &names[..1]), None);
    }
}
