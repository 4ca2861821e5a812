//! A page about single pictures: what each method says, and how it came to that.

mod picture;
mod recalled;
mod steps;
mod views;

use std::collections::BTreeSet;

use maud::{Markup, html};
use mint_eval::{Answer, NoneOfThese, Outcome, probabilities, ranking};

pub use picture::{ExplainedAnswer, ExplainedMethod, ExplainedPicture};

use super::{document, scrolling};

/// Best classes of each answer that are shown.
const BEST: usize = 5;
/// Width of the bar of everything, in the page's unit.
const WIDEST: f32 = 6.5;

const TITLE: &str = "Why these answers";

/// A page that grows picture by picture, so that no picture need be kept.
#[derive(Debug)]
pub struct ExplainedPage {
    /// Of the classes, and the texts that stand for none of them.
    names: Vec<String>,
    n_classes: usize,
    /// Paths of the pictures, with what is drawn of them.
    pictures: Vec<(String, Markup)>,
    notes: Vec<String>,
}

impl ExplainedPage {
    /// Without pictures yet. Scores are those of the classes, then of the texts that stand for none of
    /// them.
    pub fn new(class_names: &[String], none: &[String]) -> Self {
        let none = none.iter().map(|text| format!("none of these: {text}"));
        Self {
            names: class_names.iter().cloned().chain(none).collect(),
            n_classes: class_names.len(),
            pictures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether a file's contents are such a page, of whatever pictures.
    pub fn is_one(contents: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&contents[..contents.len().min(1000)]);
        head.starts_with("<!DOCTYPE html>") && head.contains(&format!("<title>{TITLE}</title>"))
    }

    /// Number of pictures.
    pub fn pictures(&self) -> usize {
        self.pictures.len()
    }

    /// Something that readers have to know, above everything else.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Draws the next picture.
    pub fn add(&mut self, picture: &ExplainedPicture<'_>) {
        let number = self.pictures.len() + 1;
        let drawn = section(number, picture, &self.names, self.n_classes);
        self.pictures.push((picture.path.to_owned(), drawn));
    }

    /// The page.
    pub fn finish(self) -> String {
        let header = html! {
            h1 { "Why these answers" }
            @for note in &self.notes { p.warning { (note) } }
            p {
                "For each picture: what zero-shot CLIP says, what each method says, and what the method "
                "did in between. The numbers are those of the run."
            }
            p {
                "A probability is a share among the " (self.n_classes) " given classes"
                @if self.names.len() > self.n_classes {
                    " and the texts that stand for none of them"
                }
                ". All together are 100 %, whatever the picture shows."
            }
            nav aria-label="Pictures" {
                ul {
                    @for (index, (path, _)) in self.pictures.iter().enumerate() {
                        li { a href=(format!("#picture-{}", index + 1)) { (file_name(path)) } }
                    }
                }
            }
        };
        let main = html! {
            @if self.pictures.is_empty() { p { "There are no pictures." } }
            @for (_, drawn) in &self.pictures { (drawn) }
        };
        document(TITLE, &header, &main)
    }
}

fn section(
    number: usize,
    explained: &ExplainedPicture<'_>,
    names: &[String],
    n_classes: usize,
) -> Markup {
    let ExplainedPicture { path, views, methods, .. } = explained;
    let id = format!("picture-{number}");
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (number) ". " (file_name(path)) }
            div.beside {
                figure.boxes { (picture::whole(number, explained)) }
                div {
                    p.answer { "Zero-shot CLIP says " (said(&explained.zero_shot, names, n_classes)) "." }
                    @for method in methods {
                        p.answer { (method.title) " says " (said(&method.answer, names, n_classes)) "." }
                    }
                    p.caption { (path) }
                }
            }
            (answers(explained, names))
            @if views.count > 1 { (views::thumbnails(explained)) }
            @for method in methods { (how(number, method, explained, names)) }
        }
    }
}

/// How a method came to its answer, as far as it says.
fn how(
    number: usize,
    method: &ExplainedMethod<'_>,
    explained: &ExplainedPicture<'_>,
    names: &[String],
) -> Markup {
    let ExplainedMethod { title, answer: ExplainedAnswer { outcome, .. }, trace } = method;
    if trace.views.is_empty() && outcome.steps.is_empty() && trace.recalled.is_none() {
        return html! {};
    }
    html! {
        h3 { "How " (title) " came to it" }
        @if !trace.views.is_empty() { (views::entropies(number, method, explained, names)) }
        @if !outcome.steps.is_empty() { (steps::section(method, explained.path, names)) }
        @if let Some(recalled) = &trace.recalled { (recalled::section(title, explained.path, recalled)) }
    }
}

/// The answer with its share, in words.
fn said(answer: &ExplainedAnswer<'_>, names: &[String], n_classes: usize) -> Markup {
    let ExplainedAnswer { outcome, temperature, limits } = *answer;
    let probabilities = probabilities(outcome, temperature);
    let best = ranking(&outcome.scores, 1)[0];
    let (name, amount) = (&names[best], amount(outcome, temperature, best).1);
    let none = strong("none of these");
    match limits.answer(&outcome.scores, probabilities.as_deref(), n_classes) {
        // The name of a text for none of the classes says so.
        Answer::Class(_) | Answer::None(NoneOfThese::Text(_)) => {
            html! { (strong(name)) " (" (amount) ")" }
        }
        Answer::None(NoneOfThese::Probability(_)) => html! {
            (none) ": " (name) " has " (amount) ", and "
            (percent(limits.min_probability as f32)) " is the least"
        },
        Answer::None(NoneOfThese::Margin { second, .. }) => html! {
            (none) ": " (name) " (" (amount) ") and " (names[second]) " are nearer than "
            (percent(limits.min_margin as f32))
        },
    }
}

fn strong(text: &str) -> Markup {
    html! { strong { (text) } }
}

/// A class's share of an outcome, from 0 to 1, and how it is written.
fn amount(outcome: &Outcome, temperature: f64, class: usize) -> (f32, String) {
    match probabilities(outcome, temperature) {
        Some(probabilities) => (probabilities[class], percent(probabilities[class])),
        None => {
            let votes = outcome.scores[class];
            let all: f32 = outcome.scores.iter().sum();
            (votes / all.max(1.0), format!("{votes:.1} of {all:.0} votes"))
        }
    }
}

/// The best classes of zero-shot CLIP and of all methods, side by side.
fn answers(explained: &ExplainedPicture<'_>, names: &[String]) -> Markup {
    let ExplainedPicture { path, zero_shot, methods, .. } = explained;
    let mut columns = vec![("zero-shot CLIP", *zero_shot)];
    columns.extend(methods.iter().map(|method| (method.title, method.answer)));
    let classes = shown(columns.iter().map(|(_, answer)| answer.outcome));
    let content = html! {
        thead { tr {
            th scope="col" { "Class" }
            @for (title, ..) in &columns { th scope="col" { (title) } }
        } }
        tbody { @for class in classes { tr {
            th scope="row" { (names[class]) }
            @for (_, answer) in &columns {
                @let (share, text) = amount(answer.outcome, answer.temperature, class);
                td { (bar(share, &text)) }
            }
        } } }
    };
    let caption = html! {
        "The " (BEST) " best classes of each answer. The longer a bar, the larger the probability or "
        "the share of votes."
    };
    scrolling(&format!("Answers for {path}"), caption, content)
}

/// The best classes of some outcomes, those of the last one first.
fn shown<'a>(outcomes: impl DoubleEndedIterator<Item = &'a Outcome>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let best = outcomes.rev().flat_map(|outcome| ranking(&outcome.scores, BEST));
    best.filter(|class| seen.insert(*class)).collect()
}

/// A bar with the number that it draws.
fn bar(share: f32, text: &str) -> Markup {
    html! {
        span.amount { (text) }
        span.bar style=(format!("width:{:.2}rem", WIDEST * share.clamp(0.0, 1.0))) {}
    }
}

fn percent(probability: f32) -> String {
    format!("{:.1} %", 100.0 * probability)
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
