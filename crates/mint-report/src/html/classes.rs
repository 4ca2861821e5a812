//! Classes on which methods differ, and what they are taken for.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use mint_eval::RecordedLine;

use super::scrolling;
use crate::runs::Cell;

/// Classes, and pairs of classes, that are shown.
const SHOWN: usize = 20;

/// Right answers and images of each class.
type PerClass = BTreeMap<usize, (u64, u64)>;

/// How often a class was taken for another one.
type Confusions = HashMap<(usize, usize), u64>;

/// The classes on which methods differ most, and the confusions of which there are more or fewer.
pub fn section(set: &str, cells: &[&Cell], labels: &[String]) -> Markup {
    let Some(first) = cells.first() else { return html! {} };
    let names = names(cells);
    let name = |class: usize| {
        names.get(&class).map_or(format!("class {class}"), |name| (*name).to_owned())
    };
    let zero_shot = |line: &RecordedLine| line.result().map(|result| result.zero_shot_top1);
    let method = |line: &RecordedLine| line.result().and_then(|result| result.top1());
    let titles: Vec<&str> =
        ["zero-shot"].into_iter().chain(labels.iter().map(String::as_str)).collect();

    let mut per_class = vec![shares(&first.lines, zero_shot)];
    per_class.extend(cells.iter().map(|cell| shares(&cell.lines, method)));
    let percent = |shares: &PerClass, class: usize| {
        let &(right, images) = shares.get(&class)?;
        Some(100.0 * right as f64 / images as f64)
    };
    let spread = |class: usize| {
        let values = per_class.iter().filter_map(|shares| percent(shares, class));
        let (low, high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it)));
        high - low
    };
    let mut classes: Vec<usize> = per_class[0].keys().copied().collect();
    let n_classes = classes.len();
    classes.sort_by(|&one, &other| spread(other).total_cmp(&spread(one)).then(one.cmp(&other)));
    classes.retain(|&class| spread(class) > 0.0);
    classes.truncate(SHOWN);

    let mut confused = vec![confusions(&first.lines, zero_shot)];
    confused.extend(cells.iter().map(|cell| confusions(&cell.lines, method)));
    let range = |pair: &(usize, usize)| {
        let counts = confused.iter().map(|of| of.get(pair).copied().unwrap_or(0));
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    };
    let mut pairs: Vec<(usize, usize)> =
        confused.iter().flat_map(|of| of.keys().copied()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.sort_by_key(|pair| std::cmp::Reverse(range(pair)));
    pairs.retain(|pair| range(pair) > 0);
    pairs.truncate(SHOWN);

    let head = |first: Markup| {
        html! { thead { tr {
            (first)
            @for title in &titles { th.number scope="col" { (title) } }
        } } }
    };
    let of_classes = html! {
        (head(html! { th scope="col" { "Class" } th.number scope="col" { "Images" } }))
        tbody { @for &class in &classes { tr {
            th scope="row" { (name(class)) }
            td.number { (per_class[0].get(&class).map_or(0, |(_, images)| *images)) }
            @for shares in &per_class {
                td.number {
                    (percent(shares, class).map_or("–".to_owned(), |share| format!("{share:.0}")))
                }
            }
        } } }
    };
    let of_pairs = html! {
        (head(html! { th scope="col" { "Class" } th scope="col" { "taken for" } }))
        tbody { @for pair in &pairs { tr {
            th scope="row" { (name(pair.0)) }
            td { (name(pair.1)) }
            @for of in &confused { td.number { (of.get(pair).copied().unwrap_or(0)) } }
        } } }
    };
    let which = html! {
        "Percentage of right answers in the " (classes.len()) " of " (n_classes)
        " classes on which methods differ most."
    };
    let what = html! {
        "What is taken for what, where methods differ most: number of images."
    };
    html! {
        h3 { "Classes on which methods differ" }
        @if classes.is_empty() { p { "There are none." } } @else {
            (scrolling(&format!("Right answers per class of {set}"), which, of_classes))
        }
        @if !pairs.is_empty() {
            (scrolling(&format!("Confusions on {set}"), what, of_pairs))
        }
    }
}

/// The names of all classes that were among the five best of an image.
pub fn names<'a>(cells: &[&'a Cell]) -> HashMap<usize, &'a str> {
    let results = cells.iter().flat_map(|cell| &cell.lines).filter_map(RecordedLine::result);
    let best = results.flat_map(|result| result.best);
    best.map(|class| (class.class, class.name.as_str())).collect()
}

fn shares(lines: &[RecordedLine], answer: impl Fn(&RecordedLine) -> Option<usize>) -> PerClass {
    let mut shares = PerClass::new();
    for line in lines {
        if let Some(answer) = answer(line) {
            let (right, images) = shares.entry(line.label()).or_default();
            *images += 1;
            *right += u64::from(answer == line.label());
        }
    }
    shares
}

fn confusions(
    lines: &[RecordedLine],
    answer: impl Fn(&RecordedLine) -> Option<usize>,
) -> Confusions {
    let mut confusions = Confusions::new();
    for line in lines {
        if let Some(answer) = answer(line).filter(|answer| *answer != line.label()) {
            *confusions.entry((line.label(), answer)).or_default() += 1;
        }
    }
    confusions
}
