//! A picture with what methods say about it, and its drawing.

use image::RgbImage;
use maud::{Markup, html};
use mint_eval::{OpenWorld, Outcome, Trace, ViewTrace, Views};

use crate::html::thumbnails::data_url;

/// Longest side of the picture, in pixels.
const SIDE: u32 = 448;

/// A picture, and everything that is known about its answers.
pub struct ExplainedPicture<'a> {
    /// Where it is.
    pub path: &'a str,
    /// Its pixels, as the views were cut from them.
    pub picture: &'a RgbImage,
    /// The views that methods looked at.
    pub views: &'a Views,
    /// What zero-shot CLIP says.
    pub zero_shot: ExplainedAnswer<'a>,
    /// What methods say.
    pub methods: Vec<ExplainedMethod<'a>>,
}

/// What is said about a picture.
#[derive(Debug, Clone, Copy)]
pub struct ExplainedAnswer<'a> {
    /// Scores of the classes, then of the texts that stand for none of them.
    pub outcome: &'a Outcome,
    /// What divides logits before they become probabilities.
    pub temperature: f64,
    /// When the answer is none of the classes.
    pub limits: OpenWorld,
}

/// What a method says about a picture, and what it did.
pub struct ExplainedMethod<'a> {
    /// Its name.
    pub title: &'a str,
    /// Its answer.
    pub answer: ExplainedAnswer<'a>,
    /// What happened on the way.
    pub trace: &'a Trace,
}

impl ExplainedMethod<'_> {
    /// Whether it takes some views and leaves the others; otherwise it weighs them.
    pub fn chooses(&self) -> bool {
        self.trace.views.iter().all(|view| view.weight == 0.0 || view.weight == 1.0)
    }

    /// How much a view counts beside the one that counts most, from 0 to 1.
    pub fn weight(&self, view: &ViewTrace) -> f32 {
        let most = self.trace.views.iter().map(|view| view.weight).fold(0.0, f32::max);
        if most > 0.0 { view.weight / most } else { 0.0 }
    }
}

/// The picture. Later drawings use its pixels again, by their id.
pub fn whole(number: usize, explained: &ExplainedPicture<'_>) -> Markup {
    let ExplainedPicture { path, picture, .. } = explained;
    let (width, height) = picture.dimensions();
    let pixels = html! {
        image id=(format!("pixels-{number}")) href=(data_url(picture, SIDE)) width=(width)
            height=(height) preserveAspectRatio="none" {}
    };
    drawn(&format!("{path}, {width} x {height} pixels"), picture, &pixels)
}

/// The picture again, below something.
pub fn below(number: usize, title: &str, picture: &RgbImage, above: &Markup) -> Markup {
    let content = html! { use href=(format!("#pixels-{number}")) {} (above) };
    drawn(title, picture, &content)
}

fn drawn(title: &str, picture: &RgbImage, content: &Markup) -> Markup {
    let (width, height) = picture.dimensions();
    html! {
        svg.photograph viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(title) {
            title { (title) }
            (content)
        }
    }
}
