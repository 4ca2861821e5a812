//! The page of `predict --explain` is about the run that writes it.

mod program;

use std::fs;
use std::path::Path;

use program::{WEIGHTS, folder, mint, small_set, stdout};
use serde_json::Value;

const CLASSES: &str = "camel,horse,snail,cat,fish";

/// Names of the pictures of a small set, in one folder.
fn album(root: &Path, of_class: usize) -> Vec<String> {
    small_set(&root.join("set"), of_class);
    fs::create_dir(root.join("album")).expect("a folder can be made");
    let mut names = Vec::new();
    for class in ["camel", "horse", "snail"] {
        let files = fs::read_dir(root.join("set").join(class)).expect("the set has the class");
        for file in files.map(|file| file.expect("a file").path()) {
            let name = format!("album/{}", file.file_name().expect("a name").to_string_lossy());
            fs::rename(&file, root.join(&name)).expect("a file can be moved");
            names.push(name);
        }
    }
    names.sort();
    names
}

fn predict(root: &Path, more: &[&str]) -> std::process::Output {
    let command = ["predict", "album", "--weights", WEIGHTS, "--classes", CLASSES];
    mint(root, &[&command, more].concat())
}

/// What each method says of each picture.
fn predictions(text: &str) -> Vec<Value> {
    let whole: Value = serde_json::from_str(text).expect("JSON");
    whole["predictions"].as_array().expect("a list").clone()
}

fn page(root: &Path) -> String {
    fs::read_to_string(root.join("why.html")).expect("the page was written")
}

/// The page has a part for each picture.
fn parts(page: &str) -> Vec<&str> {
    page.split("<section ").skip(1).collect()
}

#[test]
fn a_page_changes_no_answer_and_says_what_the_run_says() {
    let folder = folder();
    let names = album(folder.path(), 2);
    // Methods that remember, that choose, that weigh, and that do none of it.
    let methods = "mint,tda,tpt,zero,mta,clip,boostadapter,dpe";
    let options = ["--method", methods, "--views", "16", "--format", "json"];
    let plain = stdout(&predict(folder.path(), &options));
    let explained =
        stdout(&predict(folder.path(), &[&options[..], &["--explain", "why.html"]].concat()));
    assert_eq!(plain, explained);

    let page = page(folder.path());
    let parts = parts(&page);
    assert_eq!(parts.len(), names.len());
    let predictions = predictions(&plain);
    assert_eq!(predictions.len(), names.len() * methods.split(',').count());
    let mut zero_shot = 0;
    for prediction in &predictions {
        let path = prediction["path"].as_str().expect("a path");
        let part = names.iter().position(|name| name == path).expect("a picture of the album");
        let part = parts[part];
        assert!(part.contains(path), "{path}");
        let (method, best) = (&prediction["method"], &prediction["best"][0]);
        let class = best["class"].as_str().expect("a name");
        let amount = match best["probability"].as_f64() {
            Some(probability) => format!("{:.1} %)", 100.0 * probability),
            None => format!("{:.1} of ", best["score"].as_f64().expect("votes")),
        };
        let says = format!("says <strong>{class}</strong> ({amount}");
        let title = match method.as_str().expect("a name") {
            // What `clip` says stands there as what zero-shot CLIP says, once.
            "clip" => {
                zero_shot += part.matches(&format!("Zero-shot CLIP {says}")).count();
                continue;
            }
            "tda" => "TDA",
            "tpt" => "TPT",
            "zero" => "ZERO",
            "mta" => "MTA",
            "mint" => "MINT",
            "dpe" => "DPE",
            "boostadapter" => "BoostAdapter",
            other => panic!("{other}"),
        };
        assert!(part.contains(&format!("{title} {says}")), "{path}: {title} {says}");
    }
    assert_eq!(zero_shot, names.len());
    for part in &parts {
        assert!(part.contains("MINT chose 1 of 16 views"), "the views that MINT chose");
        assert!(part.contains("step 3: answer"), "the steps of MINT");
        assert!(part.contains("MTA weighs its 16 views"), "the views that MTA weighs");
        assert_eq!(part.matches("<img ").count(), 16, "small views");
    }
    // The first picture finds an empty memory; each leaves 3 steps x 16 views x 6 slots to the next.
    for (index, part) in parts.iter().enumerate() {
        let recalls = format!("recalled, {} times in all", index * 3 * 16 * 6);
        assert!(part.contains(&recalls), "{recalls}");
    }
}

#[test]
fn zero_shot_alone_has_no_views() {
    let folder = folder();
    album(folder.path(), 1);
    stdout(&predict(folder.path(), &["--explain", "why.html"]));
    let page = page(folder.path());
    assert_eq!(page.matches("Zero-shot CLIP says <strong>").count(), 3);
    assert!(!page.contains("<img ") && !page.contains("came to it"), "there are no views");
}

#[test]
fn a_page_has_room_for_20_pictures_and_says_so() {
    let folder = folder();
    let names = album(folder.path(), 2);
    let many: Vec<&str> = names.iter().cycle().take(23).map(String::as_str).collect();
    let command = ["predict", "--weights", WEIGHTS, "--classes", CLASSES, "--explain", "why.html"];
    let output = mint(folder.path(), &[&command[..], &many].concat());
    let answers = stdout(&output);
    assert_eq!(answers.matches(" (CLIP").count(), 23, "all are classified\n{answers}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("`why.html` shows the first 20 pictures; 3 more"), "{errors}");
    let page = page(folder.path());
    assert_eq!(parts(&page).len(), 20);
    assert!(page.contains("The first 20 pictures; 3 more pictures were classified as well."));
}

#[test]
fn a_picture_that_cannot_be_read_costs_only_its_place_on_the_page() {
    let folder = folder();
    let names = album(folder.path(), 1);
    fs::write(folder.path().join(&names[1]), "no picture").expect("a file can be written");
    let options = ["--method", "mint", "--views", "16", "--explain", "why.html"];
    let output = predict(folder.path(), &options);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains(&names[1]), "{errors}");
    let page = page(folder.path());
    assert_eq!(parts(&page).len(), 2);
    assert!(page.contains(&names[0]) && !page.contains(&names[1]) && page.contains(&names[2]));
    assert!(page.contains("recalled, 288 times in all"), "the second finds what the first left");
}

#[test]
fn a_page_that_cannot_be_written_is_refused_before_anything_is_computed() {
    let folder = folder();
    album(folder.path(), 1);
    for (file, message) in [
        ("nowhere/why.html", "there is no folder `nowhere`; make it first"),
        ("album", "`--explain album` is a folder; name a file such as `why.html`"),
    ] {
        let output = predict(folder.path(), &["--explain", file]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "nothing was classified");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(message), "{errors}");
    }
}

#[test]
fn a_page_is_about_pixels_whatever_is_kept() {
    let folder = folder();
    album(folder.path(), 1);
    let options = ["--method", "zero", "--views", "16", "--cache", "kept"];
    let plain = stdout(&predict(folder.path(), &options));
    let output = predict(folder.path(), &[&options[..], &["--explain", "why.html"]].concat());
    assert_eq!(stdout(&output), plain);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("the cache is not used, since `--explain` shows views"), "{errors}");
    assert_eq!(page(folder.path()).matches("How ZERO came to it").count(), 3);
}

/// The memory that `--memory` restores is the one that the page shows.
#[test]
fn a_restored_memory_is_on_the_page() {
    let folder = folder();
    album(folder.path(), 1);
    let options = ["--method", "mint", "--views", "16", "--memory", "album.memory"];
    stdout(&predict(folder.path(), &options));
    stdout(&predict(folder.path(), &[&options[..], &["--explain", "why.html"]].concat()));
    let page = page(folder.path());
    for (index, part) in parts(&page).iter().enumerate() {
        let recalls = format!("recalled, {} times in all", (3 + index) * 3 * 16 * 6);
        assert!(part.contains(&recalls), "{recalls}");
    }
}

/// What stands on the page for each picture is what is printed, with limits and texts for none of the
/// classes.
#[test]
fn answers_that_are_none_of_the_classes_are_none_on_the_page() {
    let folder = folder();
    album(folder.path(), 2);
    let options = ["--none", "a photo of something else.", "--none", "a drawing", "--views", "16"];
    let more = ["--method", "mint", "--min-probability", "0.6", "--explain", "why.html"];
    let printed = stdout(&predict(folder.path(), &[options, more].concat()));
    let page = page(folder.path());
    let mut none = 0;
    for (part, printed) in parts(&page).iter().zip(printed.split("album/").skip(1)) {
        let says = part.split("MINT says <strong>").nth(1).expect("it says something");
        let is_none = printed.contains("none of these");
        assert_eq!(says.starts_with("none of these"), is_none, "{printed}\n{says:.80}");
        none += usize::from(is_none);
    }
    assert!((1..6).contains(&none), "{none} of 6\n{printed}");
    assert!(page.contains("and the texts that stand for none of them"), "what the shares are of");
}
