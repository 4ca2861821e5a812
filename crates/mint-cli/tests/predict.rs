//! Pictures of one's own.

mod program;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use image::codecs::jpeg::JpegEncoder;
use program::{WEIGHTS, failure, folder, mint, partial_failure, program, small_set, stdout};
use serde_json::Value;

/// Three classes that `small_set` has pictures of.
const CLASSES: [&str; 2] = ["--classes", "camel,horse,snail"];

fn predict(folder: &Path, paths: &[&str], options: &[&str]) -> Output {
    mint(folder, &[&["predict"], paths, &CLASSES, options].concat())
}

/// The rows of JSON lines.
#[track_caller]
fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[track_caller]
fn paths(text: &str) -> Vec<String> {
    rows(text).iter().map(|row| row["path"].as_str().expect("a path").to_owned()).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The pictures below a folder, sorted.
fn pictures(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(pictures(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

const JSONL: [&str; 2] = ["--format", "jsonl"];

#[test]
fn folders_patterns_and_lists_are_gone_through_in_the_order_given() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    let album: Vec<String> = pictures(&folder.join("album"))
        .iter()
        .map(|path| path.strip_prefix(folder).expect("below").display().to_string())
        .collect();
    assert_eq!(album.len(), 6);
    let first = &*album[0];
    fs::write(folder.join("album/.hidden.png"), "nothing").expect("a file");
    fs::write(folder.join("album/notes.txt"), "nothing").expect("a file");
    let said = |paths: &[&str]| {
        let output = predict(folder, paths, &JSONL);
        (self::paths(&stdout(&output)), text_of(&output.stderr))
    };
    let (found, message) = said(&["album"]);
    assert_eq!(found, album);
    for expected in ["1 hidden file", "1 file in other formats skipped (1 txt)"] {
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(
        said(&[&album[5], "album/camel"]).0,
        [&album[5], &album[0], &album[1]].map(Clone::clone)
    );
    assert_eq!(said(&["album/*/*.png"]).0, album);
    assert_eq!(said(&["album/[ch]*/*.png"]).0, album[..4]);
    assert_eq!(said(&["album/**/*.png"]).0, album);
    assert_eq!(said(&["**/*.png"]).0, album);
    assert_eq!(said(&["alb?m"]).0, album);

    let listed = |text: &str| {
        let mut command = program();
        command.current_dir(folder).args(["predict", "-"]).args(CLASSES).args(JSONL);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).expect("it reads");
        drop(input);
        self::paths(&stdout(&child.wait_with_output().expect("it ends")))
    };
    assert_eq!(listed(&format!("{}\r\n\n{first}", album[3])), [album[3].clone(), album[0].clone()]);
    assert_eq!(listed(&format!("{}\0{first}\0", album[3])), [album[3].clone(), album[0].clone()]);
}

#[test]
fn what_is_not_there_is_said_and_the_rest_is_classified() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    fs::create_dir(folder.join("empty")).expect("a folder");
    for nothing in [&["empty"][..], &["*.jpg"], &["empty/**/*.png"]] {
        let message = failure(&predict(folder, nothing, &[]));
        assert!(message.contains("there are no pictures to classify"), "{message}");
    }
    let output = predict(folder, &["album", "*.jpg", "gone.png", "empty"], &JSONL);
    let message = partial_failure(&output);
    for expected in [
        "nothing matches `*.jpg`",
        "cannot read `gone.png`",
        "`empty` has no pictures",
        "1 of 4 pictures could not be classified",
        "1 folder or pattern could not be found",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(rows(&text_of(&output.stdout)).len(), 4);
}

#[cfg(unix)]
#[test]
fn pipes_loops_and_odd_names_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    let picture = pictures(&folder.join("album/camel")).remove(0);
    std::os::unix::fs::symlink("..", folder.join("album/camel/loop")).expect("a link");
    let pipe = folder.join("album/camel/pipe.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let named = |name: &[u8]| folder.join("album/odd").join(OsStr::from_bytes(name));
    fs::create_dir(folder.join("album/odd")).expect("a folder");
    for name in [&b"k\xe4se.png"[..], b"k\xf6se.png", b"red\x1b[31m.png", b"two\nlines.png"] {
        fs::copy(&picture, named(name)).expect("a copy");
    }
    let output = predict(folder, &["album"], &JSONL);
    let text = stdout(&output);
    let message = text_of(&output.stderr);
    assert!(message.contains("1 link") && message.contains("1 pipe"), "{message}");
    let found = paths(&text);
    assert_eq!(found.len(), 7);
    for expected in ["k\\xE4se.png", "k\\xF6se.png", "red\u{1b}[31m.png", "two\nlines.png"] {
        assert!(found.contains(&format!("album/odd/{expected}")), "{found:?}");
    }
    let odd = rows(&text).into_iter().find(|row| row["path"] == "album/odd/k\\xE4se.png");
    let bytes = odd.expect("it is there")["path_bytes"].clone();
    assert_eq!(bytes, "616c62756d2f6f64642f6be473652e706e67");

    for format in ["text", "csv"] {
        let text = stdout(&predict(folder, &["album"], &["--format", format]));
        assert!(text.contains("red\\u{1b}[31m.png") && text.contains("two\\nlines.png"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let names = "camel\u{9b}31m,horse\u{1b}[1m";
    for format in ["text", "csv", "jsonl", "json"] {
        let picture = picture.to_str().expect("a plain name");
        let arguments = ["predict", picture, "--classes", names, "--format", format];
        let text = stdout(&mint(folder, &arguments));
        assert!(!text.contains(['\u{9b}', '\u{1b}']), "{text}");
    }
}

#[test]
fn every_form_says_the_same_and_as_much_as_is_asked_for() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    let methods = ["--method", "clip,zero", "--views", "16"];
    let said = |format: &str, top: &str| {
        let options = [&methods[..], &["--format", format, "--top", top]].concat();
        stdout(&predict(folder, &["album"], &options))
    };
    let jsonl = rows(&said("jsonl", "2"));
    let json: Value = serde_json::from_str(&said("json", "2")).expect("JSON");
    assert_eq!(json["predictions"].as_array().expect("a list"), &jsonl);
    assert_eq!(jsonl.len(), 6, "two methods, three pictures");
    assert!(jsonl.iter().all(|row| row["best"].as_array().is_some_and(|best| best.len() == 2)));

    let csv = said("csv", "2");
    let mut lines = csv.lines();
    let head = "path,method,label_1,probability_or_votes_1,label_2,probability_or_votes_2,error";
    assert_eq!(lines.next(), Some(head));
    for (line, row) in lines.zip(&jsonl) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(
            (cells[0], cells[1]),
            (row["path"].as_str().expect("a path"), row["method"].as_str().expect("a method"))
        );
        for (rank, best) in row["best"].as_array().expect("a list").iter().enumerate() {
            assert_eq!(cells[2 + 2 * rank], best["class"].as_str().expect("a class"));
            let number: f64 = cells[3 + 2 * rank].parse().expect("a number");
            let expected = best["probability"].as_f64().or(best["score"].as_f64());
            assert!((number - expected.expect("a number")).abs() < 1e-6, "{line}");
        }
        assert_eq!(cells[6], "");
    }
    let text = said("text", "1");
    assert_eq!(text.lines().count(), 12);
    assert!(text.contains("camel") && text.contains(" votes  "), "{text}");
    // There are no more classes.
    assert!(said("csv", "9").starts_with("path,method,label_1,probability_or_votes_1,label_2,probability_or_votes_2,label_3,probability_or_votes_3,error\n"));
    assert_eq!(predict(folder, &["album"], &["--top", "0"]).status.code(), Some(2));
}

#[test]
fn a_picture_has_the_same_answer_wherever_it_stands() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    let all: Vec<String> =
        pictures(&folder.join("album")).iter().map(|path| path.display().to_string()).collect();
    fs::copy(&all[2], folder.join("copy.png")).expect("a copy");
    let options = ["--method", "clip,tpt,zero", "--views", "16", "--format", "jsonl"];
    let answers = |paths: &[&str]| {
        let mut rows = rows(&stdout(&predict(folder, paths, &options)));
        rows.iter_mut().for_each(|row| row["path"] = Value::Null);
        rows
    };
    let forward = answers(&[&all[0], &all[1], &all[2], "copy.png"]);
    assert_eq!(forward[6..9], forward[9..12], "a copy is the same picture");
    assert_eq!(answers(&[&all[2], &all[0]]), [&forward[6..9], &forward[..3]].concat());
    assert_eq!(answers(&[&all[1]]), forward[3..6]);
}

#[test]
fn results_go_to_a_file_that_nothing_is_lost_from() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    for format in ["text", "jsonl", "csv", "json"] {
        let shown = stdout(&predict(folder, &["album"], &["--format", format]));
        let to_file = ["--format", format, "--output", format];
        let output = predict(folder, &["album"], &to_file);
        assert!(output.status.success() && output.stdout.is_empty());
        assert_eq!(fs::read_to_string(folder.join(format)).expect("a file"), shown);
        let message = failure(&predict(folder, &["album"], &to_file));
        assert!(message.contains("is there already"), "{message}");
        assert_eq!(fs::read_to_string(folder.join(format)).expect("a file"), shown);
        // The ending says the form, if nothing else does.
        let name = format!("results.{format}");
        stdout(&predict(folder, &["album"], &["--output", &name]));
        assert_eq!(fs::read_to_string(folder.join(name)).expect("a file"), shown);
    }
    for (options, expected) in [
        (&["--output", "album"][..], "is a folder"),
        (&["--output", "nowhere/results"], "there is no folder `nowhere`"),
        (&["--output", "new", "--resume"], "--format jsonl"),
        (&["--output", "new", "--resume", "--format", "csv"], "no `new`; leave `--resume` out"),
    ] {
        let message = failure(&predict(folder, &["album"], options));
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(predict(folder, &["album"], &["--resume"]).status.code(), Some(2));
    if Path::new("/dev/full").exists() {
        for format in ["text", "jsonl", "csv"] {
            let options = ["--format", format, "--output", "/dev/full"];
            let message = failure(&predict(folder, &["album"], &options));
            assert!(message.contains("cannot write the results to `/dev/full`"), "{message}");
            assert!(message.contains("No space left"), "{message}");
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_after_its_last_whole_picture() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 3);
    fs::write(folder.join("album/broken.png"), "nothing").expect("a file");
    for format in ["jsonl", "csv"] {
        let options = ["--method", "clip,zero", "--views", "16", "--format", format];
        let options = [&options[..], &["--output", format]].concat();
        partial_failure_quiet(&predict(folder, &["album"], &options));
        let file = folder.join(format);
        let whole = fs::read(&file).expect("results");
        let resume = [&options[..], &["--resume"]].concat();
        for length in [0, 3, whole.len() / 3, whole.len() / 2, whole.len() - 1, whole.len()] {
            fs::write(&file, &whole[..length]).expect("a file");
            partial_failure_quiet(&predict(folder, &["album"], &resume));
            assert_eq!(fs::read(&file).expect("results"), whole, "{format}, {length} bytes");
        }
        // A picture that came meanwhile is added, wherever it stands.
        let copy = folder.join("album/aardvark.png");
        fs::copy(pictures(&folder.join("album/camel")).remove(0), &copy).expect("a copy");
        partial_failure_quiet(&predict(folder, &["album"], &resume));
        let more = fs::read(&file).expect("results");
        assert!(more.starts_with(&whole) && more.len() > whole.len());
        fs::remove_file(copy).expect("it was there");

        for (change, expected) in [
            (&["--seed", "1"][..], "`seed` is 1, the record has 0"),
            (&["--views", "20"], "`views` is 20"),
            (&["--method", "clip"], "`methods`"),
            (&["--top", "2"], "`top` is 2"),
            (&["--temperature", "2"], "`temperatures`"),
            (&["--classes", "camel,horse,dog"], "`class.3`"),
            (&["--exif-orientation", "off"], "`exif-orientation` is false"),
            (&["--weights", WEIGHTS], "`context.sha256` is none"),
        ] {
            let typed = [&["predict", "album"], &resume[..], &CLASSES].concat();
            let typed = [without(&typed, change[0]), change.to_vec()].concat();
            let message = failure(&mint(folder, &typed));
            assert!(
                message.contains("cannot be resumed") && message.contains(expected),
                "{message}"
            );
            assert_eq!(fs::read(&file).expect("results"), more, "nothing was touched");
        }
        let message = failure(&predict(
            folder,
            &["album"],
            &[
                "--method", "tda", "--views", "16", "--format", format, "--output", format,
                "--resume",
            ],
        ));
        assert!(message.contains("TDA remembers"), "{message}");
    }
}

/// A command line without an option and its value.
fn without<'a>(line: &[&'a str], option: &str) -> Vec<&'a str> {
    let place = line.iter().position(|typed| *typed == option);
    let is_left = |&index: &usize| place.is_none_or(|it| index != it && index != it + 1);
    (0..line.len()).filter(is_left).map(|index| line[index]).collect()
}

/// The run ended with 1, since there is a picture that cannot be read, and printed no results.
#[track_caller]
fn partial_failure_quiet(output: &Output) {
    let message = text_of(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("broken.png") || message.contains("could not be classified"),
        "{message}"
    );
    assert!(output.stdout.is_empty());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_with_what_it_has_and_it_goes_on_later() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("one"), 1);
    fs::create_dir(folder.join("album")).expect("a folder");
    let picture = pictures(&folder.join("one")).remove(0);
    for number in 0..400 {
        fs::copy(&picture, folder.join(format!("album/{number:03}.png"))).expect("a copy");
    }
    let options = ["--method", "zero", "--views", "32", "--format", "csv", "--output", "results"];
    let mut command = program();
    command.current_dir(folder).args(["predict", "album"]).args(CLASSES).args(options);
    let child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
    let rows = || {
        let text = fs::read_to_string(folder.join("results")).unwrap_or_default();
        text.lines().count().saturating_sub(1)
    };
    while rows() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = ["-INT", &child.id().to_string()].map(str::to_owned);
    assert!(std::process::Command::new("kill").args(kill).status().expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    let message = text_of(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("of 400 pictures") && message.contains("--resume"), "{message}");
    let done = rows();
    assert!(done > 0 && done < 400, "{done}");
    let rest = predict(folder, &["album"], &[&options[..], &["--resume"]].concat());
    assert!(rest.status.success(), "{}", text_of(&rest.stderr));
    let text = fs::read_to_string(folder.join("results")).expect("results");
    let mut named: Vec<&str> =
        text.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    named.dedup();
    assert_eq!(named.len(), 400, "each once, in order");
    assert!(named.is_sorted());
}

#[test]
fn a_cache_changes_no_byte_and_knows_pictures_by_content() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 3);
    let options = [
        "--weights",
        WEIGHTS,
        "--views",
        "12",
        "--format",
        "jsonl",
        "--method",
        "clip,ensemble,tpt,zero,tda",
    ];
    let run = |more: &[&str]| stdout(&predict(folder, &["album"], &[&options[..], more].concat()));
    let cached = ["--cache", "cache"];
    let plain = run(&[]);
    assert_eq!(run(&cached), plain, "cold");
    assert_eq!(run(&cached), plain, "warm");
    let half = ["--cache", "cache", "--cache-precision", "f16"];
    let rounded = run(&half);
    assert_eq!(run(&half), rounded);
    assert_ne!(rounded, plain);
    let list = || -> Vec<Value> {
        let text = stdout(&mint(folder, &["cache", "list", "cache", "--format", "json"]));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let mut groups = value["groups"].as_array().expect("groups").clone();
        groups.retain(|group| group["group"]["by_content"] == true);
        groups
    };
    assert_eq!(list().len(), 2, "each precision has a group");
    let n_pictures = pictures(&folder.join("album")).len();
    let has_them_all = || list().iter().all(|group| group["images"] == n_pictures);
    assert!(has_them_all());

    // Moved pictures are known, other ones and changed ones are not.
    fs::rename(folder.join("album"), folder.join("moved")).expect("it can be moved");
    let moved = predict(folder, &["moved"], &[&options[..], &cached].concat());
    assert_eq!(stdout(&moved), plain.replace("album/", "moved/"));
    fs::rename(folder.join("moved"), folder.join("album")).expect("it can be moved");
    assert!(has_them_all());
    let [one, other] =
        [0, n_pictures - 1].map(|place| pictures(&folder.join("album")).remove(place));
    fs::copy(&one, &other).expect("a copy");
    let changed = rows(&run(&cached));
    let answers = |row: &Value| (row["method"].clone(), row["best"].clone());
    // But for TDA, which remembers.
    for (row, same) in changed[5 * (n_pictures - 1)..].iter().zip(&changed[..4]) {
        assert_eq!(answers(row), answers(same), "the file is another picture now");
    }
    // Other classes, and turned or not, need no picture again, or all.
    let labels = ["--classes", "dog,cat"];
    let text = stdout(&mint(
        folder,
        &[&["predict", "album"], &labels[..], &options[..], &cached[..]].concat(),
    ));
    let uncached =
        stdout(&mint(folder, &[&["predict", "album"], &labels[..], &options[..]].concat()));
    assert_eq!(text, uncached);
    assert!(has_them_all());
    run(&[&cached[..], &["--exif-orientation", "off"]].concat());
    assert_eq!(list().len(), 3);

    let text = stdout(&mint(folder, &["cache", "list", "cache"]));
    assert!(
        text.contains("own pictures, turned by EXIF") && text.contains("class texts"),
        "{text}"
    );
    let output =
        predict(folder, &["album"], &["--method", "mint", "--views", "10", "--cache", "cache"]);
    stdout(&output);
    assert!(text_of(&output.stderr).contains("pixels are needed by mint"));
}

#[test]
fn what_is_damaged_in_a_cache_is_computed_again_and_mended() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 2);
    let options = ["--cache", "cache", "--format", "csv"];
    let run = || {
        let output = predict(folder, &["album"], &options);
        (stdout(&output), text_of(&output.stderr))
    };
    let plain = run().0;
    let packs = |name: &str| -> Vec<PathBuf> {
        let mut found = pictures(&folder.join("cache"));
        found.retain(|file| {
            file.file_name().is_some_and(|it| it.to_string_lossy().starts_with(name))
        });
        found
    };
    let pack = packs("pictures-").remove(0);
    let mut bytes = fs::read(&pack).expect("a file");
    bytes[100] ^= 1;
    fs::write(&pack, &bytes).expect("a file");
    let message = partial_failure(&mint(folder, &["cache", "verify", "cache"]));
    assert!(message.contains("the cache is damaged"), "{message}");
    let (text, message) = run();
    assert_eq!(text, plain);
    assert!(message.contains("1 damaged entry"), "{message}");
    let mended = stdout(&mint(folder, &["cache", "prune", "cache", "--damaged"]));
    assert!(mended.contains("mended"), "{mended}");
    stdout(&mint(folder, &["cache", "verify", "cache"]));
    assert_eq!(run(), (plain.clone(), run().1));
    assert!(!run().1.contains("damaged"));
    // Entries of a run that was killed while it wrote.
    let bytes = fs::read(&pack).expect("a file");
    fs::write(&pack, &bytes[..bytes.len() - 7]).expect("a file");
    assert_eq!(run().0, plain);
    stdout(&mint(folder, &["cache", "prune", "cache", "--all"]));
    assert!(packs("pictures-").is_empty() && packs("files-").is_empty());
}

#[test]
fn photographs_are_turned_as_their_files_say() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    let upright = image::open(pictures(&folder.join("album/camel")).remove(0)).expect("a picture");
    let upright = upright.into_rgb8();
    let exif = |orientation: u8| {
        let mut block = b"II*\0\x08\0\0\0\x01\0".to_vec();
        block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
        block
    };
    let save = |name: &str, picture: &image::RgbImage, orientation: u8| {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif(orientation)).expect("a place");
        picture.write_with_encoder(encoder).expect("a picture");
        fs::write(folder.join(name), bytes.into_inner()).expect("a file");
    };
    save("upright.png", &upright, 1);
    // A camera that was held to the side: 6 says that it is to be turned by 90 degrees.
    save("side.png", &image::imageops::rotate270(&upright), 6);
    let best = |name: &str, more: &[&str]| {
        rows(&stdout(&predict(folder, &[name], &[&JSONL[..], more].concat())))[0]["best"].clone()
    };
    assert_eq!(best("side.png", &[]), best("upright.png", &[]));
    let off = ["--exif-orientation", "off"];
    assert_eq!(best("upright.png", &off), best("upright.png", &[]));
    assert_ne!(best("side.png", &off), best("upright.png", &[]));
    // The default is that of the command, whether settings come from a file or not.
    fs::write(folder.join("settings.toml"), "seed = 0\n").expect("a file");
    assert_eq!(best("side.png", &["--config", "settings.toml"]), best("upright.png", &[]));
    fs::write(folder.join("settings.toml"), "exif-orientation = false\n").expect("a file");
    assert_eq!(best("side.png", &["--config", "settings.toml"]), best("side.png", &off));

    fs::create_dir_all(folder.join("set/camel")).expect("a folder");
    fs::create_dir_all(folder.join("set/horse")).expect("a folder");
    fs::rename(folder.join("side.png"), folder.join("set/camel/a.png")).expect("a file");
    fs::rename(folder.join("upright.png"), folder.join("set/horse/a.png")).expect("a file");
    let run = |output: &str, more: &[&str]| {
        let options = ["--image-folder", "set", "--weights", WEIGHTS, "--method", "clip"];
        stdout(&mint(folder, &[&options[..], &["--output", output], more].concat()));
        program::lines_without_seconds(&folder.join(output).join("set-clip.jsonl"))
    };
    let scores =
        |lines: &[Value]| -> Vec<Value> { lines.iter().map(|line| line["top5"].clone()).collect() };
    let stored = scores(&run("off", &[]));
    assert_ne!(stored[0], stored[1], "evaluations turn nothing");
    let turned = scores(&run("on", &["--exif-orientation", "on"]));
    assert_eq!(turned[0], turned[1]);
    let message =
        failure(&mint(folder, &["--resume", "--output", "on", "--exif-orientation", "off"]));
    assert!(message.contains("`exif-orientation` is false, the record has true"), "{message}");
}

#[test]
fn classes_are_names_texts_and_templates() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    for (name, contents) in [
        ("ids.txt", "n1\tcamel\nn2\thorse\nn3\tsnail\n"),
        ("list.json", r#"["camel", "horse", "snail"]"#),
        (
            "texts.json",
            r#"{"camel": "a photo of a camel.", "horse": ["a photo of a horse."], "snail": ["a photo of a snail."]}"#,
        ),
        (
            "many.json",
            r#"{"snail": ["a snail", "a slow animal"], "horse": "a horse", "camel": ["a camel", "a humped animal"]}"#,
        ),
    ] {
        fs::write(folder.join(name), contents).expect("a file");
    }
    let said = |arguments: &[&str]| {
        stdout(&mint(folder, &[&["predict", "album", "--format", "csv"], arguments].concat()))
    };
    let plain = said(&CLASSES);
    for classes in ["ids.txt", "list.json"] {
        assert_eq!(said(&["--classes", classes]), plain, "{classes}");
    }
    // Texts that go through the model one by one are rounded otherwise.
    for (texts, names) in said(&["--classes", "texts.json"]).lines().zip(plain.lines()).skip(1) {
        for (cell, expected) in texts.split(',').zip(names.split(',')) {
            match (cell.parse::<f64>(), expected.parse::<f64>()) {
                (Ok(number), Ok(expected)) => assert!((number - expected).abs() < 1e-5, "{texts}"),
                _ => assert_eq!(cell, expected),
            }
        }
    }
    let several = said(&["--classes", "many.json"]);
    assert!(
        several != plain && several.contains("camel") && several.contains("snail"),
        "{several}"
    );
    assert_eq!(said(&["--classes", "snail,horse,camel", "--class-texts", "many.json"]), several);

    let template = |text: &str| said(&[&CLASSES[..], &["--template", text]].concat());
    assert_eq!(template("a photo of a {}."), plain);
    assert_ne!(template("a drawing of a {}, a kind of animal."), plain);
    assert_ne!(said(&[&CLASSES[..], &["--texts", "templates-7"]].concat()), plain);
    let long = "a very long name ".repeat(30);
    fs::write(folder.join("long.txt"), format!("camel\n\n{long}\n")).expect("a file");
    fs::write(folder.join("twice.txt"), "camel\nhorse\n\nCamel\n").expect("a file");
    for (arguments, expected) in [
        (&["--classes", "camel,horse", "--template", "a photo"][..], "must have `{}` once"),
        (
            &["--classes", "camel,horse", "--template", "{}", "--texts", "templates-7"],
            "give one of them",
        ),
        (&["--classes", "camel,horse", "--template", "{}", "--method", "mint"], "fixed texts"),
        (
            &["--classes", "texts.json", "--texts", "template"],
            "has the texts of each class already",
        ),
        (&["--classes", "long.txt"], "line 3"),
        (&["--classes", "twice.txt"], "line 1 (`camel`) and line 4 (`Camel`)"),
        (&["--classes", "camel,,horse"], "name 2 has an empty name"),
    ] {
        let message = failure(&mint(folder, &[&["predict", "album"], arguments].concat()));
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn a_picture_that_is_cut_off_is_named_in_every_form() {
    let folder = folder();
    let folder = folder.path();
    let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(&picture).expect("a picture");
    fs::write(folder.join("whole.jpg"), &jpeg).expect("a file");
    fs::write(folder.join("cut.jpg"), &jpeg[..jpeg.len() / 2]).expect("a file");
    for format in ["jsonl", "csv", "json", "text"] {
        let output = predict(folder, &["whole.jpg", "cut.jpg", "whole.jpg"], &["--format", format]);
        let message = partial_failure(&output);
        assert!(message.contains("cannot decode `cut.jpg`"), "{message}");
        assert!(message.contains("1 of 3 pictures could not be classified"), "{message}");
        let text = text_of(&output.stdout);
        assert_eq!(text.matches("whole.jpg").count(), 2, "{text}");
        assert_eq!(text.contains("cut off"), format != "text", "{text}");
    }
}

#[test]
fn predict_names_the_best_of_the_given_classes() {
    let folder = folder();
    let image = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets/demo/images/I/banana")
        .read_dir()
        .expect("the demo has bananas")
        .next()
        .expect("at least one")
        .expect("a file")
        .path();
    let image = image.to_str().expect("a path");
    let arguments = [
        "predict",
        image,
        "--classes",
        "dog,banana,castle",
        "--method",
        "clip",
        "--format",
        "json",
    ];
    let result: Value =
        serde_json::from_str(&stdout(&mint(folder.path(), &arguments))).expect("JSON");
    let best = result["predictions"][0]["best"].as_array().expect("classes");
    assert_eq!(best.len(), 3);
    assert_eq!(best[0]["class"], "banana");
    let total: f64 = best.iter().filter_map(|class| class["probability"].as_f64()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
}

#[test]
fn class_names_that_are_not_meant_are_refused() {
    let folder = folder();
    small_set(folder.path(), 1);
    let image = fs::read_dir(folder.path().join("camel")).expect("a folder").next();
    let image = image.expect("a picture").expect("an entry").path();
    let image = image.to_str().expect("a plain name");
    fs::write(folder.path().join("one.txt"), "camel\n").expect("a file");
    fs::write(folder.path().join("names.csv"), "index,name\n1,horse\n0,camel\n").expect("a file");
    let predict = |classes: &str| {
        let options = ["--method", "clip", "--format", "json"];
        mint(folder.path(), &[&["predict", image, "--classes", classes], &options[..]].concat())
    };
    for (classes, expected) in [
        ("labels", "no file `labels`"),
        ("labels.csv", "no file `labels.csv`"),
        ("camel", "is a folder"),
        ("one.txt", "one class only"),
        ("snail,", "one class only"),
        ("snail,horse,snail", "name 1 (`snail`) and name 3 (`snail`)"),
        ("Snail,snail", "name 1 (`Snail`) and name 2 (`snail`)"),
        ("", "at least two names"),
    ] {
        let message = failure(&predict(classes));
        assert!(
            message.contains("--classes") && message.contains(expected),
            "{classes}: {message}"
        );
    }
    let long = failure(&predict(&"x".repeat(100_000)));
    assert!(long.len() < 500, "{} characters", long.len());
    let result: Value = serde_json::from_str(&stdout(&predict("names.csv"))).expect("JSON");
    let best = result["predictions"][0]["best"].as_array().expect("classes");
    let mut names: Vec<&str> = best.iter().filter_map(|class| class["class"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["camel", "horse"]);
}

#[test]
fn a_picture_that_cannot_be_read_costs_no_other_picture_its_result() {
    let folder = folder();
    small_set(folder.path(), 2);
    let mut images: Vec<String> = fs::read_dir(folder.path().join("camel"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    images.sort();
    fs::write(folder.path().join("empty.jpg"), "").expect("a file");
    let predict = |names: &[&str]| {
        let options = ["--classes", "camel,horse", "--method", "clip", "--format", "json"];
        mint(folder.path(), &[&["predict"], names, &options[..]].concat())
    };
    let output = predict(&[&images[0], "empty.jpg", &images[1]]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("empty.jpg") && message.contains("1 of 3 pictures"), "{message}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let predictions = result["predictions"].as_array().expect("a list");
    let paths: Vec<&str> = predictions.iter().filter_map(|entry| entry["path"].as_str()).collect();
    assert_eq!(paths, [&images[0], &images[1]]);
}

#[test]
fn the_demos_model_is_not_asked_about_photographs() {
    let folder = folder();
    let photograph = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([x as u8, y as u8, 9]));
    photograph.save(folder.path().join("photograph.png")).expect("it can be written");
    let options = ["predict", "photograph.png", "--classes", "cat,dog"];
    let message = failure(&mint(folder.path(), &options));
    assert!(message.contains("300x200") && message.contains("--weights"), "{message}");
    let with_weights = mint(folder.path(), &[&options[..], &["--weights", WEIGHTS]].concat());
    assert!(stdout(&with_weights).contains("CLIP zero-shot"), "the default looks at one picture");
}

#[test]
fn no_file_is_lost_to_another() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    fs::write(folder.join("mine.txt"), "mine").expect("a file");
    fs::write(folder.join("a.csv.run.json"), "{}").expect("a file");
    fs::write(folder.join("names.txt"), "camel\nhorse\nsnail\n").expect("a file");
    for (options, said) in [
        (&["--explain", "mine.txt"][..], "is there already and is no such page"),
        (&["--output", "x.html", "--format", "csv", "--explain", "x.html"], "`--output`"),
        (&["--output", "m.csv", "--method", "tda", "--memory", "m.csv"], "`--output`"),
        (&["--output", "a.csv"], "would take the place of another file"),
    ] {
        let message = failure(&predict(folder, &["album"], options));
        assert!(message.contains(said), "{options:?}: {message}");
    }
    let command = ["predict", "album", "--classes", "names.txt", "--explain", "names.txt"];
    let message = failure(&mint(folder, &command));
    assert!(message.contains("`--explain` and for `--classes`"), "{message}");
    assert_eq!(fs::read_to_string(folder.join("mine.txt")).expect("it is there"), "mine");
    stdout(&predict(folder, &["album"], &["--explain", "why.html"]));
    stdout(&predict(folder, &["album"], &["--explain", "why.html"]));
}

#[cfg(unix)]
#[test]
fn paths_in_a_table_are_different_if_files_are() {
    let folder = folder();
    let folder = folder.path();
    small_set(&folder.join("album"), 1);
    let first = pictures(&folder.join("album")).remove(0);
    fs::create_dir(folder.join("odd")).expect("a folder");
    for name in ["new\nline.png", "new\\nline.png"] {
        fs::copy(&first, folder.join("odd").join(name)).expect("a copy");
    }
    let table = stdout(&predict(folder, &["odd"], &["--format", "csv"]));
    let paths: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    assert_eq!(paths, ["odd/new\\nline.png", "odd/new\\\\nline.png"]);
    // Both are found again.
    stdout(&predict(folder, &["odd"], &["--format", "csv", "--output", "odd.csv"]));
    let before = fs::read(folder.join("odd.csv")).expect("results");
    stdout(&predict(folder, &["odd"], &["--format", "csv", "--output", "odd.csv", "--resume"]));
    assert_eq!(fs::read(folder.join("odd.csv")).expect("results"), before);
}
