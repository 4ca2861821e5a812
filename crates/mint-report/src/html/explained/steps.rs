//! What each step of adaptation changed.

use maud::{Markup, html};
use mint_eval::{Outcome, StepSummary};

use super::picture::ExplainedMethod;
use super::{amount, bar, shown};
use crate::html::{plots, scrolling};

/// Scores before and after each step, and what was minimised.
pub fn section(method: &ExplainedMethod<'_>, path: &str, names: &[String]) -> Markup {
    let title = method.title;
    let steps = &method.answer.outcome.steps;
    let values = |value: fn(&StepSummary) -> f32| steps.iter().map(value).collect::<Vec<_>>();
    let table = html! {
        thead { tr {
            th scope="col" { "Step" }
            th.number scope="col" { "Loss" }
            th.number scope="col" { "Entropy" }
        } }
        tbody { @for (index, StepSummary { loss, entropy }) in steps.iter().enumerate() { tr {
            th scope="row" { (index + 1) }
            td.number { (format!("{loss:.4}")) }
            td.number { (format!("{entropy:.4}")) }
        } } }
    };
    let caption = html! {
        "What each step made smaller. The entropy is that of the chosen views together, in nats, before "
        "the step; the loss may have other parts."
    };
    html! {
        h4 { "Steps" }
        (scores(method, path, names))
        (scrolling(&format!("Loss and entropy of {title} on {path}"), caption, table))
        @if steps.len() > 1 {
            div.plots {
                (plots::steps("Loss", &values(|step| step.loss)))
                (plots::steps("Entropy", &values(|step| step.entropy)))
            }
        }
    }
}

/// The best classes before the first step, after each, and at the end.
fn scores(method: &ExplainedMethod<'_>, path: &str, names: &[String]) -> Markup {
    let stages: Vec<Outcome> = method.trace.scores.iter().cloned().map(Outcome::logits).collect();
    if stages.is_empty() {
        return html! {};
    }
    let classes = shown([stages.first(), stages.last()].into_iter().flatten());
    let stage = |index: usize| match index {
        0 => "start".to_owned(),
        last if last + 1 == stages.len() => format!("step {last}: answer"),
        step => format!("step {step}"),
    };
    let content = html! {
        thead { tr {
            th scope="col" { "Class" }
            @for index in 0..stages.len() { th scope="col" { (stage(index)) } }
        } }
        tbody { @for class in classes { tr {
            th scope="row" { (names[class]) }
            @for stage in &stages {
                @let (share, text) = amount(stage, method.answer.temperature, class);
                td { (bar(share, &text)) }
            }
        } } }
    };
    let caption = html! {
        "Probabilities from left to right: before the first step, and after each one. The last column "
        "is the answer."
    };
    scrolling(
        &format!("Probabilities after each step of {} on {path}", method.title),
        caption,
        content,
    )
}
