//! The page that shows how the methods came to their answers.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use image::RgbImage;
use mint_eval::{ConfiguredMethod, Explanation, MethodId, RunConfig, Session, Views, write_whole};
use mint_report::{ExplainedAnswer, ExplainedMethod, ExplainedPage, ExplainedPicture};
use mint_tuner::{ClassSet, MethodError, Outcome};

use super::limits::Limits;
use crate::model::Model;
use crate::output::{counted, note, shown};

/// Pictures on a page; each takes a few hundred kilobytes.
const MOST: usize = 20;

/// A page that is being drawn.
pub struct Explanations<'a> {
    file: PathBuf,
    config: &'a RunConfig,
    limits: &'a Limits,
    zero_shot: ConfiguredMethod,
    page: ExplainedPage,
    /// Pictures that the page has no room for.
    left_out: u64,
}

/// Refuses a place where no page can be, before anything is computed: the page is written last.
///
/// # Errors
///
/// If it is one.
pub fn check(file: &Path) -> anyhow::Result<()> {
    if file.is_dir() {
        bail!("`--explain {}` is a folder; name a file such as `why.html`", shown(file));
    }
    if file.is_file() && !std::fs::read(file).is_ok_and(|bytes| ExplainedPage::is_one(&bytes)) {
        bail!(
            "`--explain {}` is there already and is no such page; name another file",
            shown(file)
        );
    }
    match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => bail!("`--explain`: there is no folder `{}`; make it first", shown(folder)),
        None => Ok(()),
    }
}

impl<'a> Explanations<'a> {
    /// Begins a page about pictures among some classes.
    ///
    /// # Errors
    ///
    /// If zero-shot CLIP, which every answer stands beside, cannot run.
    pub fn begin(
        file: &Path,
        model: &Model,
        classes: &ClassSet<'_>,
        config: &'a RunConfig,
        limits: &'a Limits,
    ) -> anyhow::Result<Self> {
        let of_clip = RunConfig { methods: vec![MethodId::Clip], ..config.clone() };
        let zero_shot = model.methods(&of_clip)?.pop().context("zero-shot CLIP is a method")?;
        zero_shot.method.prepare(classes)?;
        let page = ExplainedPage::new(classes.names(), classes.none_texts());
        Ok(Self { file: file.to_owned(), config, limits, zero_shot, page, left_out: 0 })
    }

    /// The page if it has room for the next picture, which is counted if it has not.
    pub fn for_next(&mut self) -> Option<&mut Self> {
        let has_room = self.page.pictures() < MOST;
        self.left_out += u64::from(!has_room);
        has_room.then_some(self)
    }

    /// [`Session::classify_views`], and the picture is drawn.
    pub fn classify(
        &mut self,
        session: &mut Session<'_>,
        path: &Path,
        picture: &RgbImage,
        views: Views,
    ) -> Vec<Result<Outcome, MethodError>> {
        let zero_shot = &mut *self.zero_shot.method;
        let Explanation { methods, zero_shot } = session.explain_views(views.clone(), zero_shot);
        if let Ok(zero_shot) = &zero_shot {
            let ids = session.methods().iter().map(|method| method.id);
            // What `clip` says is what zero-shot CLIP says.
            let others = ids.zip(&methods).filter(|(id, _)| *id != MethodId::Clip);
            let explained = others.filter_map(|(id, explained)| {
                let (outcome, trace) = explained.as_ref().ok()?;
                Some(ExplainedMethod { title: id.title(), answer: self.answer(id, outcome), trace })
            });
            let picture = ExplainedPicture {
                path: &shown(path),
                picture,
                views: &views,
                zero_shot: self.answer(MethodId::Clip, zero_shot),
                methods: explained.collect(),
            };
            self.page.add(&picture);
        }
        methods.into_iter().map(|explained| explained.map(|(outcome, _)| outcome)).collect()
    }

    fn answer<'o>(&self, method: MethodId, outcome: &'o Outcome) -> ExplainedAnswer<'o> {
        let temperature = self.config.fixed_temperature(method);
        ExplainedAnswer { outcome, temperature, limits: self.limits.of(method) }
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "more picture");
            let text = format!("The first {MOST} pictures; {left_out} were classified as well.");
            note(&format!(
                "note: `{}` shows {}",
                shown(&self.file),
                text.replacen("The", "the", 1)
            ));
            self.page.note(text);
        }
        write_whole(&self.file, self.page.finish().as_bytes())
            .with_context(|| format!("cannot write `{}`", shown(&self.file)))
    }
}
