//! Accuracy along the stream: does what a method remembers help later images?

use mint_eval::RecordedLine;

/// Some images in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Images before the end of the window.
    pub end: usize,
    /// Percentage of right answers of the method.
    pub top1: f64,
    /// Percentage of right answers of zero-shot CLIP.
    pub zero_shot_top1: f64,
}

/// The images in their order, in windows of equal size; those that could not be read are left out.
/// There are as many windows as were asked for, or fewer, so that each has 20 images at least.
pub fn windows(lines: &[RecordedLine], count: usize) -> Vec<Window> {
    let results: Vec<_> = lines.iter().filter_map(RecordedLine::result).collect();
    let count = count.min(results.len() / 20).max(1);
    let bound = |index: usize| results.len() * index / count;
    (0..count)
        .map(|index| (bound(index), bound(index + 1)))
        .filter(|(from, to)| to > from)
        .map(|(from, to)| {
            let window = &results[from..to];
            let percent = |right: usize| 100.0 * right as f64 / window.len() as f64;
            let is_right = |it: &&mint_eval::RecordedResult<'_>| it.zero_shot_top1 == it.label;
            Window {
                end: to,
                top1: percent(window.iter().filter(|result| result.is_right()).count()),
                zero_shot_top1: percent(window.iter().filter(is_right).count()),
            }
        })
        .collect()
}
