//! What a memory of slots recalled for a picture.

use maud::{Markup, html};
use mint_eval::Recalled;

use super::bar;
use crate::html::scrolling;

/// Slots of a level and step that are shown.
const SHOWN: usize = 5;

/// The slots that views recalled at each level, step by step, and those of the answer.
pub fn section(title: &str, path: &str, recalled: &Recalled) -> Markup {
    let Recalled { blocks, usage, steps, answer } = recalled;
    let used = usage.iter().filter(|count| **count > 0).count();
    let total: u64 = usage.iter().sum();
    let content = html! {
        thead { tr {
            th scope="col" { "Step" }
            @for block in blocks { th scope="col" { "Level after block " (block) } }
        } }
        tbody {
            @for (index, levels) in steps.iter().enumerate() { tr {
                th scope="row" { (index + 1) }
                @for slots in levels { td { (level(slots)) } }
            } }
            tr {
                th scope="row" { "Answer" }
                @for slots in answer { td {
                    @for slot in slots { div.slot { "slot " (slot) } }
                } }
            }
        }
    };
    let caption = html! {
        "Slots that the views recalled, the most frequent first, with the share of all that the level "
        "recalled. Last, the slots that the clean view recalled for the answer."
    };
    html! {
        h4 { "Memory" }
        p {
            "At each level every view recalls the slots whose keys are nearest to it; what they hold goes "
            "into the image encoder. Before this picture " (used) " of " (usage.len()) " slots had been "
            "recalled, " (total) " times in all. While adapting, the usual settings make slots that were "
            "seldom recalled seem nearer, and take those first that never were. The answer compares "
            "without that."
        }
        (scrolling(&format!("Slots that {title} recalled for {path}"), caption, content))
    }
}

fn level(slots: &[(usize, usize)]) -> Markup {
    let all: usize = slots.iter().map(|(_, times)| times).sum();
    html! {
        @for (slot, times) in slots.iter().take(SHOWN) {
            div.slot { (bar(*times as f32 / all as f32, &format!("slot {slot}: {times} times"))) }
        }
        @if slots.len() > SHOWN {
            div.slot { "and " (slots.len() - SHOWN) " others" }
        }
    }
}
