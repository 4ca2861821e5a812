//! Test sets on the command line: names, lists, orders, texts, and their doctor.

mod program;

use std::fs;
use std::path::Path;

use program::{WEIGHTS, failure, folder, mint, partial_failure, small_set, stdout};
use serde_json::{Value, json};

/// Pictures of the demo in the places where test sets are looked for.
fn fake(data: &Path, files: &[&str]) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/I/umbrella");
    let picture = fs::read(demo.join("twemoji-umbrella.png")).expect("the demo's picture");
    for (number, file) in files.iter().enumerate() {
        let file = data.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder can be made");
        // After the picture's end, so that no two files are the same.
        let bytes = [&picture[..], &[number as u8]].concat();
        fs::write(file, bytes).expect("the file can be written");
    }
}

fn rows(output: &std::process::Output) -> Vec<Value> {
    let result: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    result["rows"].as_array().expect("rows").clone()
}

#[test]
fn corrupted_sets_are_named_by_corruption_and_severity() {
    let folder = folder();
    let kinds = ["fog", "snow"];
    let files: Vec<String> = kinds
        .iter()
        .map(|kind| format!("imagenet-c/{kind}/5/n01440764/a.JPEG"))
        .chain(["imagenet-c/blur/zoom_blur/1/n01440764/a.JPEG".to_owned()])
        .collect();
    fake(folder.path(), &files.iter().map(String::as_str).collect::<Vec<_>>());
    let run = |sets: &str| {
        let options = ["--test-sets", sets, "--data", ".", "--weights", WEIGHTS];
        let more =
            ["--method", "clip", "--format", "json", "--output", &sets.replace(['/', '*'], "-")];
        mint(folder.path(), &[&options[..], &more].concat())
    };
    let sets: Vec<Value> = rows(&run("C/fog/5,c/SNOW/5/C/zoom_blur/1"))
        .iter()
        .map(|row| row["test_set"].clone())
        .collect();
    assert_eq!(sets, ["C-fog-5", "C-snow-5", "C-zoom_blur-1"]);
    assert!(failure(&run("C/*/5")).contains("gaussian noise"), "all 15 are wanted");
    for (sets, problem) in
        [("C/mist/5", "corruptions are"), ("C/fog/6", "not a set"), ("C", "named as `C/fog/5`")]
    {
        let message = failure(&run(sets));
        assert!(message.contains(problem), "{sets}: {message}");
    }
}

#[test]
fn groups_stand_for_their_sets() {
    let folder = folder();
    let run = |sets: &str| {
        mint(folder.path(), &["--test-sets", sets, "--data", ".", "--weights", WEIGHTS])
    };
    assert!(failure(&run("imagenet")).contains("ImageNet-A was not found"));
    assert!(failure(&run("fine-grained")).contains("Flowers102 was not found"));
    assert!(failure(&run("fine-grained/pets")).contains("`pets` is named twice"));
}

#[test]
fn food101_has_its_own_names_or_the_exchanged_ones_and_says_which() {
    let folder = folder();
    fake(folder.path(), &["food-101/images/apple_pie/1214326.jpg"]);
    let run = |output: &str, more: &[&str]| {
        let options =
            ["--test-sets", "food101", "--data", ".", "--weights", WEIGHTS, "--limit", "1"];
        let rest = ["--method", "clip", "--order", "file", "--format", "json", "--output", output];
        mint(folder.path(), &[&options[..], &rest, more].concat())
    };
    assert_eq!(rows(&run("right", &[]))[0]["test_set"], "food101");
    assert_eq!(rows(&run("official", &["--official-food101"]))[0]["test_set"], "food101-official");
    let message =
        failure(&mint(folder.path(), &["--resume", "--output", "right", "--official-food101"]));
    assert!(message.contains("`official-food101` is true"), "{message}");
    stdout(&mint(folder.path(), &["--resume", "--output", "official"]));
}

#[test]
fn lists_and_tar_files_are_sets_like_any_other() {
    let folder = folder();
    small_set(&folder.path().join("set"), 2);
    let mut lines = vec!["path,label".to_owned()];
    for class in ["camel", "horse", "snail"] {
        for entry in fs::read_dir(folder.path().join("set").join(class)).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            lines.push(format!("set/{class}/{name},{class}"));
        }
    }
    fs::write(folder.path().join("list.csv"), lines.join("\n")).expect("a file");
    let run = |what: [&str; 2], output: &str| {
        let options = ["--weights", WEIGHTS, "--method", "clip,mint", "--views", "10"];
        let rest = ["--order", "file", "--format", "json", "--output", output];
        mint(folder.path(), &[&what[..], &options, &rest].concat())
    };
    let of_folder = rows(&run(["--image-folder", "set"], "a"));
    let of_list = rows(&run(["--image-list", "list.csv"], "b"));
    assert_eq!(of_list[0]["images"], 6);
    let top1 = |rows: &[Value]| rows.iter().map(|row| row["top1"].clone()).collect::<Vec<_>>();
    assert_eq!(of_list[0]["test_set"], "list");
    assert_eq!(top1(&of_folder)[0], top1(&of_list)[0]);
    stdout(&mint(folder.path(), &["--resume", "--output", "b"]));
    let twice = run(["--image-list", "list.csv"], "c");
    stdout(&twice);
    let message = failure(&run(["--image-list", "missing.csv"], "d"));
    assert!(message.contains("cannot read `missing.csv`"), "{message}");
}

#[test]
fn orders_are_recorded_and_resumed() {
    let folder = folder();
    let lines = |output: &str, order: &str| -> Vec<String> {
        let options =
            ["--test-sets", "demo-V", "--method", "clip", "--limit", "400", "--output", output];
        stdout(&mint(folder.path(), &[&options[..], &["--order", order]].concat()));
        let file = folder.path().join(output).join("demo-V-clip.jsonl");
        let text = fs::read_to_string(file).expect("lines");
        let label =
            |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["label"].to_string();
        text.lines().map(label).collect()
    };
    let repeats = |labels: &[String]| labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let classes = lines("classes", "classes");
    assert!(repeats(&classes) > 150, "{}", repeats(&classes));
    let bursts = lines("bursts", "dirichlet:0.01");
    let shuffled = lines("shuffled", "shuffled");
    assert!(repeats(&bursts) > 10 * repeats(&shuffled).max(1), "{}", repeats(&bursts));
    stdout(&mint(folder.path(), &["--resume", "--output", "bursts"]));
    let message =
        failure(&mint(folder.path(), &["--resume", "--output", "bursts", "--order", "file"]));
    assert!(message.contains("`order` is `file`, the record has `dirichlet:0.01`"), "{message}");
    let output = mint(folder.path(), &["--order", "random"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(failure(&output).contains("orders are"));
}

#[test]
fn texts_of_the_set_and_of_each_class_make_rows_of_their_own() {
    let folder = folder();
    small_set(&folder.path().join("set"), 2);
    let texts = json!({
        "camel": ["an icon of a camel.", "a drawing of a camel."],
        "Horse": ["an icon of a horse."],
        "snail": "an icon of a snail.",
    });
    fs::write(folder.path().join("texts.json"), texts.to_string()).expect("a file");
    let run = |output: &str, more: &[&str]| {
        let options = ["--image-folder", "set", "--weights", WEIGHTS, "--method", "clip,zero"];
        let rest = ["--views", "10", "--format", "json", "--output", output];
        mint(folder.path(), &[&options[..], &rest, more].concat())
    };
    let starts = |output| rows(&output).iter().map(|row| row["start"].clone()).collect::<Vec<_>>();
    assert_eq!(starts(run("a", &["--texts", "set-template"])), ["set template"; 2]);
    let class_texts = ["--texts", "class-texts", "--class-texts", "texts.json"];
    assert_eq!(starts(run("b", &class_texts)), ["class texts"; 2]);
    assert!(failure(&run("c", &["--texts", "class-texts"])).contains("hint: give its file"));
    // Another file is another run.
    fs::write(folder.path().join("texts.json"), texts.to_string().replace("icon", "image"))
        .expect("a file");
    let message = failure(&mint(folder.path(), &["--resume", "--output", "b"]));
    assert!(message.contains("`class-texts.sha256`"), "{message}");
    for (text, problem) in [
        ("{", "not a JSON object"),
        (r#"{"camel": ["a"], "horse": ["b"]}"#, "none for the class `snail`"),
        (r#"{"camel": [], "horse": ["b"], "snail": ["c"]}"#, "has no texts"),
    ] {
        fs::write(folder.path().join("texts.json"), text).expect("a file");
        let message = failure(&run("d", &class_texts));
        assert!(message.contains(problem), "{message}");
        let _ = fs::remove_dir_all(folder.path().join("d"));
    }
}

#[test]
fn descriptors_and_texts_of_each_class_are_files_that_rows_ask_for() {
    let folder = folder();
    small_set(&folder.path().join("set"), 2);
    let tps = "methods = [\"tps\"]\n[tps]\nprototypes = \"micro\"\n";
    let dpe = "methods = [\"dpe\"]\n[dpe]\nwith-class-texts = true\n";
    for (name, text) in [("tps.toml", tps), ("dpe.toml", dpe)] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let lists = json!({ "camel": ["a long neck"], "horse": ["has a mane"], "snail": ["one foot"] });
    fs::write(folder.path().join("lists.json"), lists.to_string()).expect("a file");
    let run = |config: &str, output: &str, more: &[&str]| {
        let options = ["--image-folder", "set", "--weights", WEIGHTS, "--config", config];
        let rest = ["--views", "10", "--format", "json", "--output", output];
        mint(folder.path(), &[&options[..], &rest, more].concat())
    };
    for (config, option, start) in [
        ("tps.toml", "--descriptors", "template + descriptors"),
        ("dpe.toml", "--class-texts", "set ensemble + class texts"),
    ] {
        let name = &option[2..];
        assert_eq!(rows(&run(config, name, &[option, "lists.json"]))[0]["start"], start);
        let message = failure(&run(config, "none", &[]));
        assert!(message.contains(&format!("hint: give its file with `{option}`")), "{message}");
        fs::write(folder.path().join("lists.json"), lists.to_string().replace("foot", "horn"))
            .expect("a file");
        let message = failure(&mint(folder.path(), &["--resume", "--output", name]));
        assert!(message.contains(&format!("`{name}.sha256`")), "{message}");
        fs::write(folder.path().join("lists.json"), lists.to_string()).expect("a file");
    }
}

#[test]
fn sets_are_listed_with_what_they_should_have() {
    let folder = folder();
    fake(folder.path(), &["oxford_pets/images/Abyssinian_201.jpg"]);
    let text = stdout(&mint(folder.path(), &["datasets", "--data", "."]));
    assert_eq!(text.lines().count(), 15);
    assert!(text.contains("3669 of 3669 images, 37 classes"), "{text}");
    assert!(text.contains("3668 of 3669 images are missing"), "{text}");
    assert!(text.contains("not in `.`: 8041 images, 196 classes"), "{text}");
    let text = stdout(&mint(folder.path(), &["datasets", "--data", ".", "--format", "json"]));
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(list["test_sets"].as_array().map(Vec::len), Some(15));
}

#[test]
fn the_doctor_finds_mends_and_ends_by_severity() {
    let folder = folder();
    let doctor = |more: &[&str]| {
        mint(folder.path(), &[&["datasets", "doctor", "--data", "."], more].concat())
    };
    assert!(failure(&doctor(&[])).contains("no test set was found"));
    assert!(failure(&doctor(&["pets"])).contains("OxfordPets was not found"));

    // Good pictures of an incomplete set: warnings alone.
    fake(folder.path(), &["imagenet-r/n01443537/a.jpg", "imagenet-r/n01484850/b.jpg"]);
    let text = stdout(&doctor(&["R"]));
    assert!(text.contains("R: 2 of 30000 images, 2 of 200 classes"), "{text}");
    fs::write(folder.path().join("imagenet-r/n01443537/cut.jpg"), "x").expect("a file");
    let output = doctor(&["R", "--format", "json"]);
    assert!(partial_failure(&output).contains("R cannot be used whole"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let first = &found["test_sets"][0]["findings"][0];
    assert_eq!((&first["severity"], &first["kind"]), (&json!("error"), &json!("unreadable")));

    // A folder too deep, and a flat one.
    fake(folder.path(), &["imagenet-a/imagenet-a/n01498041/a.jpg"]);
    fake(folder.path(), &["imagenet/val/ILSVRC2012_val_00000001.JPEG"]);
    let message = partial_failure(&doctor(&["A"]));
    assert!(message.contains("A cannot be used whole"), "{message}");
    assert!(message.contains("hint: `--fix` moves the images up"), "{message}");
    assert!(partial_failure(&doctor(&["I"])).contains("hint: `--fix --labels FILE` sorts"));
    let dry = doctor(&["A", "--fix", "--dry-run"]);
    assert!(partial_failure(&dry).contains("1 move would be made"));
    assert!(folder.path().join("imagenet-a/imagenet-a").is_dir(), "nothing was moved");
    stdout(&doctor(&["A", "--fix"]));
    assert!(folder.path().join("imagenet-a/n01498041/a.jpg").is_file());
    assert!(partial_failure(&doctor(&["I", "--fix"])).contains("--labels FILE"));
    fs::write(folder.path().join("labels.txt"), "n01440764\n").expect("a file");
    stdout(&doctor(&["I", "--fix", "--labels", "labels.txt"]));
    let sorted = "imagenet/val/n01440764/ILSVRC2012_val_00000001.JPEG";
    assert!(folder.path().join(sorted).is_file());
    // A second start sorts what a killed one left.
    fake(folder.path(), &["imagenet/val/ILSVRC2012_val_00000002.JPEG"]);
    fs::write(folder.path().join("labels.txt"), "n01440764\nn01443537\n").expect("a file");
    stdout(&doctor(&["I", "--fix", "--labels", "labels.txt"]));
    assert!(folder.path().join("imagenet/val/n01443537/ILSVRC2012_val_00000002.JPEG").is_file());
    fs::write(folder.path().join("labels.txt"), "n00000000\n").expect("a file");
    fake(folder.path(), &["flat/imagenet/val/ILSVRC2012_val_00000001.JPEG"]);
    let output = mint(
        folder.path(),
        &["datasets", "doctor", "I", "--data", "flat", "--fix", "--labels", "labels.txt"],
    );
    assert!(partial_failure(&output).contains("`n00000000` is not a class of ImageNet"));
}
