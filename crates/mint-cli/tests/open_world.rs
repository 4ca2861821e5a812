//! Answers that are none of the classes.

mod program;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::{failure, folder, mint, small_set, stdout};
use serde_json::Value;

fn predict(folder: &Path, options: &[&str]) -> Output {
    mint(folder, &[&["predict"], options].concat())
}

/// The answers of a run, one for each picture and method.
#[track_caller]
fn answers(folder: &Path, options: &[&str]) -> Vec<Value> {
    let text = stdout(&predict(folder, &[options, &["--format", "jsonl"]].concat()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The probability of a class in an answer.
#[track_caller]
fn probability(answer: &Value, class: &str) -> f64 {
    let best = answer["best"].as_array().expect("classes");
    let of_class = best.iter().find(|entry| entry["class"] == class).expect("the class");
    of_class["probability"].as_f64().expect("a probability")
}

/// Classes of the demo in a folder for each, and others in a folder `none`.
fn examples(root: &Path) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images");
    for set in ["I", "A", "V", "R", "K"] {
        for class in ["camel", "horse", "snail", "apple", "book", "car"] {
            let name = if ["camel", "horse", "snail"].contains(&class) { class } else { "none" };
            fs::create_dir_all(root.join(name)).expect("a folder can be made");
            let Ok(files) = fs::read_dir(demo.join(set).join(class)) else { continue };
            for file in files {
                let file = file.expect("a file").path();
                let own = file.file_name().expect("a name").to_string_lossy().into_owned();
                let copy = root.join(name).join(format!("{set}-{class}-{own}"));
                fs::copy(file, copy).expect("the file can be copied");
            }
        }
    }
}

#[test]
fn a_text_of_none_competes_as_it_is_and_is_never_a_class() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    let closed = answers(folder, &["album", "--classes", "camel,horse,snail"]);
    assert!(closed[0].get("answer").is_none(), "{}", closed[0]);
    // The template's own text of a class, so that all probabilities are those of three classes.
    let none = ["album", "--classes", "horse,snail", "--none", "a photo of a camel."];
    let open = answers(folder, &none);
    assert_eq!((closed.len(), open.len()), (6, 6));
    let mut n_none = 0;
    for (closed, open) in closed.iter().zip(&open) {
        assert_eq!(closed["path"], open["path"]);
        assert_eq!(open["best"].as_array().map(Vec::len), Some(2), "{open}");
        for class in ["horse", "snail"] {
            let pair = (probability(closed, class), probability(open, class));
            assert!((pair.0 - pair.1).abs() < 1e-5, "{class}: {pair:?}");
        }
        let best = &closed["best"][0]["class"];
        if best == "camel" {
            n_none += 1;
            assert!(open["answer"].is_null(), "{open}");
            let why = serde_json::json!({ "by": "text", "text": "a photo of a camel." });
            assert_eq!(open["none"], why);
        } else {
            assert_eq!((&open["answer"], &open["none"]), (best, &Value::Null));
        }
    }
    assert!((1..6).contains(&n_none), "{n_none}");

    let text = stdout(&predict(folder, &none));
    assert_eq!(
        text.matches("none of these: `a photo of a camel.` fits best").count(),
        n_none,
        "{text}"
    );
    let csv = stdout(&predict(folder, &[&none[..], &["--format", "csv", "--top", "1"]].concat()));
    let head = csv.lines().next().expect("a head");
    assert_eq!(head, "path,method,answer,label_1,probability_1,error");
    assert_eq!(csv.matches(",clip,none of these,").count(), n_none, "{csv}");
}

#[test]
fn every_method_takes_texts_of_none() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    let options =
        ["album", "--classes", "horse,snail", "--none", "a photo of a camel.", "--none", "a sheep"];
    let all = answers(folder, &[&options[..], &["--method", "all", "--views", "10"]].concat());
    assert_eq!(all.len() % 3, 0);
    assert!(all.len() / 3 >= 19, "{}", all.len());
    for answer in &all {
        assert!(answer["error"].is_null(), "{answer}");
        let best = answer["best"].as_array().expect("classes");
        assert!(best.iter().all(|it| it["class"] == "horse" || it["class"] == "snail"), "{answer}");
        let sum: f64 = best.iter().filter_map(|it| it["probability"].as_f64()).sum();
        assert!(sum < 1.0 - 1e-9 || answer["scores"] == "votes", "others have a share: {answer}");
    }
    let none_by = |method: &str| {
        let of_method = all.iter().filter(|answer| answer["method"] == method);
        of_method.filter(|answer| answer["none"]["by"] == "text").count()
    };
    for method in ["clip", "tpt", "mint", "zero", "cocoop", "dpe", "onzeta"] {
        assert!(none_by(method) > 0, "{method} takes a camel for a camel");
    }
}

#[test]
fn an_answer_below_a_limit_is_none_and_its_guess_stays() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    let options = ["album", "--classes", "camel,horse,snail"];
    let plain = answers(folder, &options);
    let of_rank = |answer: &Value, rank: usize| answer["best"][rank]["probability"].as_f64();
    let mut best: Vec<f64> = plain.iter().filter_map(|answer| of_rank(answer, 0)).collect();
    best.sort_by(f64::total_cmp);
    let margins: Vec<f64> =
        plain.iter().filter_map(|answer| Some(of_rank(answer, 0)? - of_rank(answer, 1)?)).collect();
    let mut sorted = margins.clone();
    sorted.sort_by(f64::total_cmp);
    let (least, margin) = (f64::midpoint(best[2], best[3]), f64::midpoint(sorted[1], sorted[2]));
    for (option, limit, by) in
        [("--min-probability", least, "probability"), ("--min-margin", margin, "margin")]
    {
        let limit = limit.to_string();
        let limited = answers(folder, &[&options[..], &[option, &limit]].concat());
        let mut n_none = 0;
        for ((plain, limited), margin) in plain.iter().zip(&limited).zip(&margins) {
            assert_eq!(plain["best"], limited["best"]);
            let value = if by == "margin" { *margin } else { of_rank(plain, 0).expect("one") };
            let is_none = value < limit.parse().expect("a number");
            assert_eq!(limited["answer"].is_null(), is_none, "{limited}");
            if is_none {
                n_none += 1;
                assert_eq!(limited["none"]["by"], by);
                let told = limited["none"][by].as_f64().expect("a number");
                assert!((told - value).abs() < 1e-6, "{limited}");
            } else {
                assert_eq!(limited["answer"], plain["best"][0]["class"]);
            }
        }
        assert_eq!(n_none, if by == "margin" { 2 } else { 3 });
    }
    let message = failure(&predict(folder, &[&options[..], &["--none", " "]].concat()));
    assert!(message.contains("a text of `--none` is empty"), "{message}");
    let message = failure(&predict(
        folder,
        &[&options[..], &["--method", "zero", "--views", "10", "--min-margin", "0.1"]].concat(),
    ));
    assert!(message.contains("ZERO counts votes"), "{message}");
    for wrong in ["1.5", "-0.1", "nan", "half"] {
        let output =
            predict(folder, &[&options[..], &[&*format!("--min-probability={wrong}")]].concat());
        let message = failure(&output);
        assert_eq!(output.status.code(), Some(2));
        assert!(message.contains("it must be a number from 0 to 1"), "{message}");
    }
}

#[test]
fn a_calibration_on_examples_is_used_as_it_is_written() {
    let folder = folder();
    let folder = folder.path();
    examples(&folder.join("examples"));
    small_set(&folder.join("album"), 2);
    let classes = ["--classes", "camel,horse,snail"];
    let fit = ["--calibrate", "examples", "--calibration", "fitted.json", "--method", "clip,tda"];
    let views = ["--views", "10"];
    let report = stdout(&predict(folder, &[&classes[..], &fit, &views].concat()));
    let count = |name: &str| fs::read_dir(folder.join("examples").join(name)).expect("it").count();
    let known: usize = ["camel", "horse", "snail"].map(count).iter().sum();
    for expected in [
        format!("{known} examples of the classes, {} of no class", count("none")),
        "calibration of CLIP zero-shot".to_owned(),
        "95 % of redrawn examples".to_owned(),
        "right answers turned down: ".to_owned(),
        format!("of {}, ", count("none")),
        "its answers depend on the pictures before".to_owned(),
    ] {
        assert!(report.contains(&expected), "{expected}: {report}");
    }
    let text = fs::read_to_string(folder.join("fitted.json")).expect("it is written");
    let fitted: Value = serde_json::from_str(&text).expect("JSON");
    let of_clip = &fitted["methods"]["clip"];
    let temperature = of_clip["temperature"].as_f64().expect("a number");
    let least = of_clip["min_probability"].as_f64().expect("a number");
    assert_eq!(of_clip["fitted_to"]["examples"]["none_examples"], count("none"));

    let use_it = ["--calibration", "fitted.json"];
    let used = answers(folder, &[&["album"], &classes[..], &use_it, &views].concat());
    let typed = temperature.to_string();
    let typed = answers(folder, &[&["album"], &classes[..], &["--temperature", &typed]].concat());
    for (used, typed) in used.iter().zip(&typed) {
        let best = used["best"][0]["probability"].as_f64().expect("a probability");
        let same = typed["best"][0]["probability"].as_f64().expect("a probability");
        assert!((best - same).abs() < 1e-5, "{used} {typed}");
        assert_eq!(used["answer"].is_null(), best < least, "{used}");
    }
    assert!(used.iter().any(|answer| answer["answer"].is_null()), "{used:?}");

    // What was learned from the examples is forgotten: at once or later is the same.
    let tda = ["--method", "tda"];
    let later = answers(folder, &[&["album"], &classes[..], &use_it, &tda, &views].concat());
    let fit_at_once = ["--calibrate", "examples"];
    let at_once = answers(folder, &[&["album"], &classes[..], &fit_at_once, &tda, &views].concat());
    assert_eq!(later, at_once);

    for (options, expected) in [
        (
            &["--views", "10", "--classes", "camel,snail,horse"][..],
            "`class.2` is `snail`, the record has `horse`",
        ),
        (
            &["--views", "10", "--classes", "camel,horse,snail", "--none", "apple"],
            "`none.1` is `apple`",
        ),
        (&["--classes", "camel,horse,snail", "--method", "vte"], "was not made with VTE"),
        (&["--classes", "camel,horse,snail", "--template", "a {}"], "`template`"),
        (&["--classes", "camel,horse,snail", "--method", "tda", "--views", "11"], "`views` is 11"),
    ] {
        let message = failure(&predict(folder, &[&["album"], options, &use_it].concat()));
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.contains("hint:"), "{message}");
    }
    let both =
        predict(folder, &[&["album"], &classes[..], &use_it, &["--temperature", "2"]].concat());
    assert!(failure(&both).contains("cannot be used with"));
}

#[test]
fn nothing_but_a_calibration_is_read_or_replaced_by_one() {
    let folder = folder();
    let folder = folder.path();
    examples(&folder.join("examples"));
    small_set(&folder.join("album"), 1);
    let classes = ["--classes", "camel,horse,snail"];
    for contents in ["notes", "{}", "{\"calibration\": 2}", "{\"calibration\": 1, \"methods\": {}}"]
    {
        fs::write(folder.join("notes.json"), contents).expect("it can be written");
        let file = ["--calibration", "notes.json"];
        for what in [&["album"][..], &["--calibrate", "examples"]] {
            let message = failure(&predict(folder, &[what, &classes, &file].concat()));
            assert!(message.contains("`notes.json` is no calibration"), "{message}");
            let kept = fs::read_to_string(folder.join("notes.json")).expect("it is there");
            assert_eq!(kept, contents);
        }
    }
    let missing = ["--calibration", "gone.json"];
    let message = failure(&predict(folder, &[&["album"], &classes[..], &missing].concat()));
    assert!(message.contains("cannot read the calibration `gone.json`"), "{message}");
}

#[test]
fn pictures_without_labels_give_a_guess_and_say_so() {
    let folder = folder();
    let folder = folder.path();
    examples(&folder.join("examples"));
    let flat = folder.join("flat/2024");
    fs::create_dir_all(&flat).expect("a folder can be made");
    for class in ["camel", "horse", "snail", "none"] {
        for file in fs::read_dir(folder.join("examples").join(class)).expect("it is there") {
            let file = file.expect("a file").path();
            fs::copy(&file, flat.join(file.file_name().expect("a name")))
                .expect("it can be copied");
        }
    }
    let classes = ["--classes", "camel,horse,snail"];
    let output = predict(folder, &[&classes[..], &["--calibrate", "flat"]].concat());
    let report = stdout(&output);
    for expected in ["pictures without labels", "this is a guess", "confidences, from the lowest"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("no folder of `flat` is called as a class"), "{message}");
    let json = predict(
        folder,
        &[&classes[..], &["--calibrate", "flat/2024", "--format", "json"]].concat(),
    );
    let fitted: Value = serde_json::from_str(&stdout(&json)).expect("JSON");
    let guess = &fitted["methods"]["clip"]["fitted_to"]["pictures"];
    let deciles: Vec<f64> =
        guess["deciles"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert!(deciles.len() == 11 && deciles.is_sorted(), "{guess}");
    assert!(guess["below"].as_u64() > Some(0), "{guess}");

    // A folder among class folders that is neither a class nor said to be of none.
    fs::rename(folder.join("examples/none"), folder.join("examples/rest"))
        .expect("it can be moved");
    let fit = ["--calibrate", "examples"];
    let message = failure(&predict(folder, &[&classes[..], &fit].concat()));
    assert!(
        message.contains("`rest` is none of the classes") && message.contains("--none-folder"),
        "{message}"
    );
    let named = ["--none-folder", "rest"];
    assert!(
        stdout(&predict(folder, &[&classes[..], &fit, &named].concat())).contains("of no class")
    );
    for (class, kept) in [("camel", 2), ("horse", 1), ("snail", 1)] {
        let files = fs::read_dir(folder.join("examples").join(class)).expect("it is there");
        for file in files.skip(kept) {
            fs::remove_file(file.expect("a file").path()).expect("it can be removed");
        }
    }
    let message = failure(&predict(folder, &[&classes[..], &fit, &named].concat()));
    assert!(message.contains("4 examples of the classes are too few"), "{message}");
}
