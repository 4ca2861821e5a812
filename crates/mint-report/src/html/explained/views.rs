//! The views of a picture: what they show of it, how sure they are, and which ones count.

use image::RgbImage;
use image::imageops::flip_horizontal;
use maud::{Markup, html};
use mint_eval::{ViewPlace, ViewTrace, Views};

use super::picture::{ExplainedMethod, ExplainedPicture, below};
use crate::html::thumbnails::data_url;

/// Views that are shown small, and bars that are drawn.
const SHOWN: usize = 64;
/// Longer side of a view, in pixels: twice that of its place on the page.
const SIDE: u32 = 96;
/// Shares below this count as nothing in words and drawings.
const LEAST: f32 = 0.01;
/// Width and height of the drawn bars, and the room for numbers at the left and below.
const BARS: [f64; 4] = [320.0, 110.0, 34.0, 20.0];

/// All views, small, with the methods that chose each.
pub fn thumbnails(explained: &ExplainedPicture<'_>) -> Markup {
    let ExplainedPicture { views, methods, .. } = explained;
    let choosers = |view: usize| -> Vec<&str> {
        let is_chosen = |method: &&ExplainedMethod<'_>| {
            method.chooses() && method.trace.views.get(view).is_some_and(|view| view.weight > 0.0)
        };
        methods.iter().filter(is_chosen).map(|method| method.title).collect()
    };
    let figure = |(view, place): (usize, &ViewPlace)| {
        let choosers = choosers(view);
        let name = name(view);
        let alternative = format!("{name}: {}", in_words(place, explained.picture));
        html! {
            figure.view.chosen[!choosers.is_empty()] {
                img src=(data_url(&shown(explained, view, place), SIDE)) alt=(alternative) loading="lazy";
                figcaption {
                    (name) @if place.mirrored { " ⇄" }
                    @if !choosers.is_empty() { br; b { (choosers.join(", ")) } }
                }
            }
        }
    };
    html! {
        h3 { "What the methods looked at" }
        p {
            (views.count) " views: the clean one, and random parts of the picture. ⇄ means that left and "
            "right are exchanged. The methods that chose a view are named below it."
            @if views.count > SHOWN { " Here are the first " (SHOWN) "." }
            @if views.places.iter().any(|place| place.mixed) {
                " The methods saw the views mixed by AugMix, which is not shown."
            }
        }
        div.pictures { @for view in views.places.iter().enumerate().take(SHOWN) { (figure(view)) } }
    }
}

/// How sure each view is, and where those are that count.
pub fn entropies(
    number: usize,
    method: &ExplainedMethod<'_>,
    explained: &ExplainedPicture<'_>,
    names: &[String],
) -> Markup {
    let ExplainedPicture { views, picture, .. } = explained;
    let of_views = &method.trace.views;
    let chosen = of_views.iter().filter(|view| view.weight > 0.0).count();
    let counting = if method.chooses() {
        format!(
            "{} chose {chosen} of {} views, those with the shortest bars",
            method.title,
            of_views.len()
        )
    } else {
        format!(
            "{} weighs its {} views: the darker, the more one counts",
            method.title,
            of_views.len()
        )
    };
    html! {
        h4 { "Views" }
        p {
            "A bar is the entropy of a view: how unsure it is of its class. " (counting) ". "
            (opinions(method, names))
        }
        div.beside {
            figure.boxes {
                (below(number, &format!("{}. {counting}", explained.path), picture, &boxes(method, views)))
                figcaption { "Where the views are in the picture; those that count are thick." }
            }
            figure.bars { (bars(method)) figcaption { "Entropy of each view in nats, the surest first." } }
        }
    }
}

/// What the views that count say, in words.
fn opinions(method: &ExplainedMethod<'_>, names: &[String]) -> String {
    let mut counts: Vec<(usize, f32)> = Vec::new();
    let mut total = 0.0;
    for ViewTrace { best, weight, .. } in &method.trace.views {
        total += weight;
        match counts.iter_mut().find(|(class, _)| class == best) {
            Some((_, sum)) => *sum += weight,
            None => counts.push((*best, *weight)),
        }
    }
    counts.retain(|(_, sum)| *sum >= LEAST * total);
    counts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let opinion = |(class, sum): &(usize, f32)| {
        if method.chooses() {
            format!("{} ({sum:.0})", names[*class])
        } else {
            format!("{} ({:.0} %)", names[*class], 100.0 * sum / total)
        }
    };
    let opinions: Vec<String> = counts.iter().take(super::BEST).map(opinion).collect();
    let more = if counts.len() > super::BEST { " and others" } else { "" };
    format!("The best classes of those that count: {}{more}.", opinions.join(", "))
}

fn boxes(method: &ExplainedMethod<'_>, views: &Views) -> Markup {
    let weights = method.trace.views.iter().map(|view| method.weight(view));
    let mut places: Vec<(&ViewPlace, f32)> = views.places.iter().zip(weights).collect();
    // Those that count lie above the others.
    places.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    html! {
        @for (ViewPlace { rectangle, .. }, weight) in places {
            rect.place.counts[weight >= LEAST] x=(rectangle.left) y=(rectangle.top)
                width=(rectangle.width) height=(rectangle.height)
                style=[(weight >= LEAST).then(|| format!("stroke-opacity:{:.2}", 0.25 + 0.75 * weight))] {}
        }
    }
}

fn bars(method: &ExplainedMethod<'_>) -> Markup {
    let mut order: Vec<(usize, &ViewTrace)> = method.trace.views.iter().enumerate().collect();
    order.sort_by(|(_, one), (_, other)| one.entropy.total_cmp(&other.entropy));
    order.truncate(SHOWN);
    let most = order.iter().map(|(_, view)| view.entropy).fold(f32::MIN_POSITIVE, f32::max);
    let [width, height, left, below] = BARS;
    let step = width / order.len() as f64;
    let ends = |at: usize| order.get(at).map_or(0.0, |(_, view)| view.entropy);
    let title = format!(
        "Entropies of {} views for {}: from {:.2} to {:.2} nats",
        order.len(),
        method.title,
        ends(0),
        ends(order.len().saturating_sub(1)),
    );
    html! {
        svg viewBox=(format!("0 0 {} {}", left + width, 8.0 + height + below)) role="img"
            aria-label=(title) {
            title { (title) }
            @for (place, (view, seen)) in order.iter().enumerate() {
                @let tall = height * f64::from((seen.entropy / most).clamp(0.0, 1.0));
                @let weight = method.weight(seen);
                rect.entropy.counts[weight >= LEAST] x=(format!("{:.1}", left + step * place as f64))
                    y=(format!("{:.1}", 8.0 + height - tall)) width=(format!("{:.1}", step * 0.8))
                    height=(format!("{:.1}", tall.max(1.0)))
                    style=[(weight >= LEAST).then(|| format!("fill-opacity:{:.2}", 0.25 + 0.75 * weight))] {
                    title { (format!("{}: {:.3} nats", name(*view), seen.entropy)) }
                }
            }
            line.quiet x1=(left) x2=(left + width) y1=(8.0 + height) y2=(8.0 + height) {}
            text.end x=(left - 4.0) y="17" { (format!("{most:.2}")) }
            text.end x=(left - 4.0) y=(8.0 + height) { "0" }
            text x=(left) y=(8.0 + height + 15.0) { "surest" }
            text.end x=(left + width) y=(8.0 + height + 15.0) { "least sure" }
        }
    }
}

/// A view as it was seen, or its part of the picture where AugMix changed it.
fn shown(explained: &ExplainedPicture<'_>, view: usize, place: &ViewPlace) -> RgbImage {
    explained.views.picture(view).unwrap_or_else(|| {
        let part = place.rectangle.crop(explained.picture);
        if place.mirrored { flip_horizontal(&part) } else { part }
    })
}

fn name(view: usize) -> String {
    if view == 0 { "clean".to_owned() } else { format!("view {view}") }
}

/// A view's part of the picture, in words.
fn in_words(place: &ViewPlace, picture: &RgbImage) -> String {
    let area = f64::from(place.rectangle.width) * f64::from(place.rectangle.height);
    let share = area / (f64::from(picture.width()) * f64::from(picture.height()));
    let mirrored = if place.mirrored { ", mirrored" } else { "" };
    format!("{:.0} % of the picture{mirrored}", 100.0 * share)
}
