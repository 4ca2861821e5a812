//! Where an interrupted run continues: the lines and the memory of one moment, together.

use mint_clip::burn::tensor::Device;
use mint_datasets::ImageSet;
use mint_tuner::{Lifetime, Remembers};

use crate::error::{EvalError, RecordError};
use crate::memory_file::{self, SavedMemories};
use crate::methods::ConfiguredMethod;
use crate::record::Record;
use crate::record::lines::{LineWriter, RecordedLine};
use crate::tally::Tally;

/// The lines that an interrupted run left, cut to what all methods have done and what the saved
/// memory has seen, which is restored. A memory that has seen more than the lines have is of no
/// use: the set starts anew from the memory of its start.
pub fn earlier_lines(
    methods: &mut [ConfiguredMethod],
    device: &Device,
    set: &ImageSet,
    record: &Record,
    indices: &[usize],
    before: Option<(String, usize)>,
) -> Result<Vec<Vec<RecordedLine>>, EvalError> {
    let mut lines = Vec::new();
    for method in &*methods {
        lines.push(record.earlier_lines(&set.id, method.id.name())?);
    }
    let mut done = lines.iter().map(Vec::len).min().unwrap_or(0);
    if methods.iter_mut().any(|method| method.method.remembers().is_some()) {
        let saved = memory_file::load(record.folder(), &set.id)?;
        match saved.filter(|saved| saved.images <= done) {
            Some(saved) => {
                done = saved.images;
                restore(methods, device, set, &saved, |_| true)?;
            }
            None => {
                done = 0;
                restore_start(methods, device, set, record, before)?;
            }
        }
    }
    for lines in &mut lines {
        lines.truncate(done);
        let fits = |(line, &index): (&RecordedLine, &usize)| {
            line.path() == set.images[index].path.to_string_lossy()
        };
        if !lines.iter().zip(indices).all(fits) || done > indices.len() {
            return Err(EvalError::OtherImages(set.title.clone()));
        }
    }
    Ok(lines)
}

/// Restores what is remembered from test set to test set, as it was when the set began.
fn restore_start(
    methods: &mut [ConfiguredMethod],
    device: &Device,
    set: &ImageSet,
    record: &Record,
    before: Option<(String, usize)>,
) -> Result<(), EvalError> {
    let Some((previous, images)) = before else { return Ok(()) };
    let lasts = |memory: &dyn Remembers| memory.lifetime() == Lifetime::Run;
    if !methods
        .iter_mut()
        .filter_map(|method| method.method.remembers())
        .any(|memory| lasts(memory))
    {
        return Ok(());
    }
    let saved = memory_file::load(record.folder(), &previous)?;
    let Some(saved) = saved.filter(|saved| saved.images == images) else {
        let path = memory_file::path(record.folder(), &previous);
        let next = set.title.clone();
        return Err(RecordError::MemoryLost { path, previous, next }.into());
    };
    restore(methods, device, set, &saved, lasts)
}

/// Restores the memories of some methods.
fn restore(
    methods: &mut [ConfiguredMethod],
    device: &Device,
    set: &ImageSet,
    saved: &SavedMemories,
    which: impl Fn(&dyn Remembers) -> bool,
) -> Result<(), EvalError> {
    for ConfiguredMethod { id, method, .. } in methods {
        if let Some(memory) = method.remembers().filter(|memory| which(*memory))
            && let Some(saved) = saved.memories.get(id.name())
        {
            let restored = memory.restore(saved, device);
            restored.map_err(|source| EvalError::of_set(*id, set, source))?;
        }
    }
    Ok(())
}

/// Saves what all methods remember, after the lines that it goes with.
pub fn save_memory(
    methods: &mut [ConfiguredMethod],
    set: &ImageSet,
    record: &Record,
    tallies: &[Tally],
    images: usize,
) -> Result<(), EvalError> {
    tallies.iter().filter_map(|tally| tally.lines.as_ref()).try_for_each(LineWriter::sync)?;
    let mut saved = SavedMemories { images, ..SavedMemories::default() };
    for ConfiguredMethod { id, method, .. } in methods {
        if let Some(memory) = method.remembers() {
            let memory = memory.save().map_err(|source| EvalError::of_set(*id, set, source))?;
            saved.memories.insert(id.name().to_owned(), memory);
        }
    }
    if !saved.memories.is_empty() {
        memory_file::save(record.folder(), &set.id, &saved)?;
    }
    Ok(())
}
