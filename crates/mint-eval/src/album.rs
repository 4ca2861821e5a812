//! What methods remember of an album: pictures of the user's own that come in several runs, which
//! together are to give the answers of one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mint_clip::burn::tensor::Device;
use mint_tuner::{Memory, MethodError, SarBatch};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::basis::Basis;
use crate::config::RunConfig;
use crate::lock::lock;
use crate::memory_file;
use crate::method_id::MethodId;
use crate::methods::ConfiguredMethod;
use crate::record::run_info::{Difference, hex, listed};

/// The form of the file.
const FORMAT: u64 = 1;

/// The least time between two saves.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How much longer than a save itself takes the time between two is at least.
const SAVE_SHARE: u32 = 20;

/// Why the memory of an album cannot be used or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlbumError {
    /// There is nothing to remember.
    #[error("none of the methods remembers anything from picture to picture")]
    Forgetful,
    /// OnZeta's answers depend on the length of the stream.
    #[error("OnZeta must know how many pictures the whole album will have; set `images`")]
    NoCount,
    /// The pictures of an unfinished batch would be lost between two runs.
    #[error(
        "SAR with batches of several pictures cannot be continued exactly: set its `batch` to `\"views\"`"
    )]
    Batches,
    /// There is no memory to resume with.
    #[error("there is no memory `{}` to go on with", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the memory `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{}` is no memory of an album: {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The file is not as it was written.
    #[error("the memory `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The memory was made otherwise.
    #[error(
        "the memory `{}` is of another album or of other settings:{}",
        path.display(), listed(differences)
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// Another process uses the file.
    #[error("another process is using the memory `{}`", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write the memory `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A method cannot give or take what it remembers.
    #[error("what {} remembers", method.title())]
    Method {
        /// The method.
        method: MethodId,
        /// Why not.
        source: MethodError,
    },
}

/// What is said in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    /// Which form the file has.
    album: u64,
    /// Pictures so far, those included that could not be read.
    images: usize,
    /// Pictures before the run that saved this.
    begun: usize,
    /// The methods that remember.
    methods: Vec<MethodId>,
    /// Of all tensors.
    sha256: String,
    basis: Basis,
}

/// What a file of an album's memory holds.
#[derive(Debug, Clone)]
pub struct AlbumMemory {
    /// Pictures so far, those included that could not be read.
    pub images: usize,
    /// Pictures before the run that saved this.
    pub begun: usize,
    /// What the answers depend on besides.
    pub basis: Basis,
    /// What each method remembers.
    pub memories: Vec<(MethodId, Memory)>,
}

impl AlbumMemory {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is something else, or is damaged.
    pub fn read(path: &Path) -> Result<Self, AlbumError> {
        let bytes =
            fs::read(path).map_err(|source| AlbumError::Read { path: path.to_owned(), source })?;
        let foreign = |what: &str| AlbumError::Foreign { path: path.to_owned(), what: what.into() };
        let damaged =
            |reason: &str| AlbumError::Damaged { path: path.to_owned(), reason: reason.into() };
        if bytes.is_empty() {
            return Err(damaged("it is empty"));
        }
        let head = memory_file::description(&bytes)
            .ok_or_else(|| foreign("it has no description of one, or ends within it"))?;
        match head.get("album").map(Value::as_u64) {
            Some(Some(FORMAT)) => {}
            Some(_) => return Err(foreign("a later version of this program wrote it")),
            None => return Err(foreign("it is what a run over test sets remembers")),
        }
        let head: Head =
            serde_json::from_value(head).map_err(|error| damaged(&error.to_string()))?;
        let names: Vec<String> = head.methods.iter().map(|id| id.name().to_owned()).collect();
        let mut memories = memory_file::memories(&bytes, &names)
            .ok_or_else(|| damaged("its tensors are cut off, or not the ones that it names"))?;
        if checksum(&memories) != head.sha256 {
            return Err(damaged("its tensors do not have the checksum that it states"));
        }
        let memories =
            head.methods.iter().map(|&id| (id, memories.remove(id.name()).unwrap_or_default()));
        let Head { images, begun, basis, .. } = head;
        Ok(Self { images, begun, basis, memories: memories.collect() })
    }
}

/// The hexadecimal SHA-256 of all tensors with their names and shapes.
fn checksum(memories: &BTreeMap<String, Memory>) -> String {
    let mut digest = Sha256::new();
    for (method, memory) in memories {
        for (name, data) in memory.tensors() {
            digest.update(json!([method, name, data.shape().to_vec()]).to_string());
            digest.update(data.as_bytes());
        }
    }
    hex(&digest.finalize())
}

/// The memory of an album while pictures are added to it. No other process may use the file then.
#[derive(Debug)]
pub struct Album {
    path: PathBuf,
    basis: Basis,
    remembering: Vec<MethodId>,
    /// Pictures before this run.
    begun: usize,
    /// Pictures of this run that the memory in the file has seen.
    seen: usize,
    /// The device that earlier pictures were seen on, if it is another one.
    other_device: Option<String>,
    saved: Instant,
    /// What the last save took.
    cost: Duration,
    /// Released when it is closed.
    _lock: File,
}

impl Album {
    /// Checks that methods can continue exactly what they remember.
    ///
    /// # Errors
    ///
    /// If none remembers anything, or one that does cannot be continued with its settings.
    pub fn check(config: &RunConfig) -> Result<(), AlbumError> {
        let remembering = config.remembering();
        if remembering.is_empty() {
            return Err(AlbumError::Forgetful);
        }
        if remembering.contains(&MethodId::Onzeta) && config.onzeta.images.is_none() {
            return Err(AlbumError::NoCount);
        }
        match config.sar.batch {
            SarBatch::Images(images) if images > 1 && remembering.contains(&MethodId::Sar) => {
                Err(AlbumError::Batches)
            }
            _ => Ok(()),
        }
    }

    /// Opens the memory in a file, from which the methods continue; without such a file they start
    /// anew. This is for a session that has begun: at its beginning methods forget. A run that
    /// `resumes` is the one that saved last, and goes on after [`Album::seen`] of its pictures.
    ///
    /// # Errors
    ///
    /// Those of [`Album::check`]; and if another process uses the file, it is damaged or something
    /// else, anything differs that answers depend on, or there is no file to resume with.
    pub fn open(
        path: &Path,
        basis: Basis,
        methods: &mut [ConfiguredMethod],
        device: &Device,
        resumes: bool,
    ) -> Result<Self, AlbumError> {
        Self::check(&basis.config)?;
        if path.is_dir() {
            let what = "it is a folder".to_owned();
            return Err(AlbumError::Foreign { path: path.to_owned(), what });
        }
        let write = |source| AlbumError::Write { path: path.to_owned(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = lock(Path::new(&name)).map_err(write)?;
        let lock = lock.ok_or_else(|| AlbumError::Locked { path: path.to_owned() })?;
        let remembering = basis.config.remembering();
        let (mut begun, mut seen, mut other_device) = (0, 0, None);
        if resumes && !path.exists() {
            return Err(AlbumError::Nothing { path: path.to_owned() });
        }
        if path.exists() {
            let earlier = AlbumMemory::read(path)?;
            let methods_of = |ids: &mut dyn Iterator<Item = MethodId>| {
                let names: Vec<String> = ids.map(|id| format!("`{}`", id.name())).collect();
                format!("[{}]", names.join(", "))
            };
            let mut differences = basis.differences(&earlier.basis, &remembering);
            if !earlier.memories.iter().map(|(id, _)| id).eq(&remembering) {
                let now = methods_of(&mut remembering.iter().copied());
                let recorded = methods_of(&mut earlier.memories.iter().map(|(id, _)| *id));
                // Settings of the others differ as well, which says nothing more.
                differences =
                    vec![Difference { name: "methods that remember".into(), now, recorded }];
            }
            if !differences.is_empty() {
                return Err(AlbumError::Other { path: path.to_owned(), differences });
            }
            for ConfiguredMethod { id, method, .. } in methods.iter_mut() {
                let saved = earlier.memories.iter().find(|(of, _)| of == id);
                if let Some((_, saved)) = saved
                    && let Some(memory) = method.remembers()
                {
                    let of_method = |source| AlbumError::Method { method: *id, source };
                    memory.restore(saved, device).map_err(of_method)?;
                }
            }
            (begun, seen) = match resumes {
                true => (earlier.begun, earlier.images.saturating_sub(earlier.begun)),
                false => (earlier.images, 0),
            };
            other_device = Some(earlier.basis.device).filter(|device| *device != basis.device);
        }
        let (path, saved, cost) = (path.to_owned(), Instant::now(), Duration::ZERO);
        Ok(Self { path, basis, remembering, begun, seen, other_device, saved, cost, _lock: lock })
    }

    /// Pictures before this run, those included that could not be read.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// Pictures of this run that the memory in the file has seen, those included that could not be
    /// read.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// The device that earlier pictures were seen on, if it is another one, which rounds differently.
    pub fn other_device(&self) -> Option<&str> {
        self.other_device.as_deref()
    }

    /// Whether the last save is so long ago that the next one costs little time.
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() > SAVE_EVERY.max(self.cost * SAVE_SHARE)
    }

    /// Saves what the methods remember after `seen` pictures of this run, all or nothing.
    ///
    /// # Errors
    ///
    /// If the device cannot deliver it, or the file cannot be written.
    pub fn save(
        &mut self,
        methods: &mut [ConfiguredMethod],
        seen: usize,
    ) -> Result<(), AlbumError> {
        let clock = Instant::now();
        let mut memories = BTreeMap::new();
        for ConfiguredMethod { id, method, .. } in methods {
            if let Some(memory) = method.remembers().filter(|_| self.remembering.contains(id)) {
                let memory =
                    memory.save().map_err(|source| AlbumError::Method { method: *id, source })?;
                memories.insert(id.name().to_owned(), memory);
            }
        }
        let head = Head {
            album: FORMAT,
            images: self.begun + seen,
            begun: self.begun,
            methods: self.remembering.clone(),
            sha256: checksum(&memories),
            basis: self.basis.clone(),
        };
        memory_file::write(&self.path, &head, &memories)
            .map_err(|source| AlbumError::Write { path: self.path.clone(), source })?;
        self.seen = seen;
        (self.saved, self.cost) = (Instant::now(), clock.elapsed());
        Ok(())
    }
}
