//! The results as tables for a document.

use std::fmt::Write;

use serde_json::Value;

/// Draws whatever parts there are.
pub fn draw(report: &Value) -> String {
    let mut text = format!("# {}\n", name(&report["device"]));
    let card = report["card"].as_str().unwrap_or("no driver's tool named a card");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{card}; {} views; seed {}", report["views"], report["seed"]);
    agreement(&mut text, &report["agreement"]);
    odd_shapes(&mut text, &report["odd_shapes"]);
    stages(&mut text, report);
    speed(&mut text, report);
    text
}

fn agreement(text: &mut String, agreements: &Value) {
    let agreements = list(agreements);
    let Some(first) = agreements.first() else { return };
    text.push_str("\n## Beside the CPU in single precision\n\nLargest difference, relative to the largest value:\n\n| quantity |");
    for agreement in agreements {
        let _ = write!(text, " {} | bound |", name(&agreement["precision"]));
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- | --- |".repeat(agreements.len()));
    text.push('\n');
    for (row, difference) in list(&first["differences"]).iter().enumerate() {
        let _ = write!(text, "| {} |", name(&difference["what"]));
        for agreement in agreements {
            let of = &agreement["differences"][row];
            let bound = of["bound"].as_f64().unwrap_or(f64::NAN);
            let _ = write!(text, " {} | {bound:.2} |", small(&of["relative"]));
        }
        text.push('\n');
    }
    text.push_str("\nMINT on images in a row, each device with picks and choices of its own:\n\n");
    text.push_str(
        "| precision | image | same picks | same choices | loss | logits | same class |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for agreement in agreements {
        for (image, of) in list(&agreement["adaptation"]).iter().enumerate() {
            let choices = &of["same_choices"];
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} % | {} of {} | {} | {} | {} |",
                name(&agreement["precision"]),
                image + 1,
                100.0 * of["same_picks"].as_f64().unwrap_or(f64::NAN),
                choices[0],
                choices[1],
                small(&of["losses"]),
                small(&of["logits"]),
                if of["same_class"] == true { "yes" } else { "no" },
            );
        }
    }
}

fn odd_shapes(text: &mut String, shapes: &Value) {
    if !shapes.is_array() {
        return;
    }
    text.push_str("\n## Odd shapes, the first blocks beside the CPU\n\n");
    text.push_str("| precision | views | classes | agrees | again |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for shape in list(shapes) {
        let agrees = |what: &str| shape[what].as_str().unwrap_or("yes").to_owned();
        let precision = name(&shape["precision"]);
        let _ = writeln!(
            text,
            "| {precision} | {} | {} | {} | {} |",
            shape["views"],
            shape["classes"],
            agrees("problem"),
            agrees("problem_again")
        );
    }
}

fn stages(text: &mut String, report: &Value) {
    let precisions = ["f32", "f16", "bf16"];
    let measured: Vec<(&str, &Value)> = precisions
        .iter()
        .map(|&precision| (precision, &report[format!("stages_{precision}")]))
        .filter(|(_, stages)| stages.is_array())
        .collect();
    let Some((_, first)) = measured.first() else { return };
    text.push_str("\n## Parts of MINT, milliseconds\n\n| part |");
    for (precision, _) in &measured {
        let _ = write!(text, " {precision} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(measured.len()));
    text.push('\n');
    for (row, part) in list(first).iter().enumerate() {
        let _ = write!(text, "| {} |", name(&part[0]));
        for (_, stages) in &measured {
            let _ = write!(text, " {:.2} |", 1e3 * stages[row][1].as_f64().unwrap_or(f64::NAN));
        }
        text.push('\n');
    }
}

fn speed(text: &mut String, report: &Value) {
    let cells = list(&report["speed"]);
    if cells.is_empty() {
        return;
    }
    text.push_str("\n## Images a second\n\n");
    let peer = &report["peer"];
    match (&peer["torch"], &peer["missing"]) {
        (Value::String(torch), _) => {
            let _ = writeln!(
                text,
                "PyTorch {torch} in the official order of work, same device, same images:\nautocast to f16 next to half precision, none next to f32.\n"
            );
        }
        (_, Value::String(why)) => {
            let _ = writeln!(text, "No figures of PyTorch: {why}.\n");
        }
        _ => {}
    }
    text.push_str("| method | classes | precision | images/s | from files | first image s | MB | PyTorch | ratio |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for cell in cells {
        let amp = if cell["precision"] == "f32" { "no" } else { "f16" };
        let like = |figure: &&Value| {
            (&figure["method"], &figure["classes"]) == (&cell["method"], &cell["classes"])
                && figure["amp"] == amp
        };
        let peer = list(&peer["figures"]).iter().find(like);
        let peer = peer.and_then(|figure| figure["images_per_second"].as_f64());
        let ours = cell["images_per_second"].as_f64().unwrap_or(f64::NAN);
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ours:.2} | {} | {} | {} | {} | {} |",
            name(&cell["method"]),
            cell["classes"],
            name(&cell["precision"]),
            number(cell["images_per_second_from_files"].as_f64()),
            number(cell["first_image_seconds"].as_f64()),
            cell["megabytes"].as_f64().map_or("-".to_owned(), |size| format!("{size:.0}")),
            number(peer),
            number(peer.map(|peer| ours / peer)),
        );
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn name(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// A small number; NaN has no JSON form but `null`.
fn small(value: &Value) -> String {
    value.as_f64().map_or("no number".to_owned(), |value| format!("{value:.1e}"))
}
