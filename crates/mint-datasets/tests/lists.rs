//! Sets that lists and tar files name.

use std::fs;
use std::path::Path;

use mint_datasets::{ImageSet, ListError, open_image_list};
use tempfile::TempDir;

fn entries(set: &ImageSet) -> Vec<(String, &str)> {
    let entry = |image: &mint_datasets::LabelledImage| {
        (image.path.display().to_string(), &*set.class_names[image.label])
    };
    set.images.iter().map(entry).collect()
}

fn open(folder: &Path, name: &str, text: &str) -> Result<ImageSet, ListError> {
    let file = folder.join(name);
    fs::write(&file, text).expect("the file can be written");
    open_image_list(&file, None)
}

#[test]
fn every_form_of_list_names_the_same_set() {
    let folder = TempDir::new().expect("a folder");
    let expected =
        [("sub/b.jpg", "dog"), ("a b.png", "cat")].map(|(path, class)| (path.to_owned(), class));
    for (name, text) in [
        ("list.csv", "sub/b.jpg,dog\na b.png,cat\n"),
        ("head.csv", "\u{feff}id,label,path\n1,dog,sub/b.jpg\n\n2,cat,a b.png\n"),
        ("list.tsv", "Filename\tClass\nsub/b.jpg\tdog\na b.png\tcat\n"),
        (
            "list.jsonl",
            "{\"path\": \"sub/b.jpg\", \"label\": \"dog\"}\n\n{\"image\": \"a b.png\", \"class\": \"cat\"}\n",
        ),
        (
            "list.json",
            "[{\"file\": \"sub/b.jpg\", \"label\": \"dog\"}, {\"file\": \"a b.png\", \"label\": \"cat\"}]",
        ),
    ] {
        let set = open(folder.path(), name, text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(entries(&set), expected, "{name}");
        assert_eq!(set.class_names, ["cat", "dog"], "{name}: sorted");
        assert_eq!(set.folder(), Some(folder.path()), "{name}: paths are below the list's folder");
    }
}

#[test]
fn lists_of_other_programs_are_read() {
    let folder = TempDir::new().expect("a folder");
    let read = |name: &str, text: &str| {
        let set = open(folder.path(), name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        entries(&set).into_iter().map(|(path, class)| (path, class.to_owned())).collect::<Vec<_>>()
    };
    let expected = ["a 1.png", "b.png"].map(str::to_owned).into_iter();
    let expected: Vec<_> = expected.zip(["cat", "dog"].map(str::to_owned)).collect();
    for (name, text) in [
        ("semicolons.csv", "Image Path;Class-Name\r\na 1.png;cat\r\nb.png;dog\r\n"),
        ("tabs.csv", "a 1.png\tcat\nb.png\tdog\n"),
        ("comments.csv", "# made by hand\na 1.png,cat\n# and this\nb.png,dog\n"),
        ("caffe.txt", "a 1.png cat\nb.png dog\n\n"),
        ("object.json", r#"{"a 1.png": "cat", "b.png": "dog"}"#),
    ] {
        assert_eq!(read(name, text), expected, "{name}");
    }
    let wide: Vec<u8> =
        "\u{feff}a 1.png,cat\nb.png,dog\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("wide.csv"), wide).expect("a file");
    let set = open_image_list(&folder.path().join("wide.csv"), None).expect("UTF-16");
    assert_eq!(set.images.len(), 2);
    for (text, problem) in
        [("image,width\na.png,7\n", "none of classes"), ("label,width\ncat,7\n", "none of paths")]
    {
        let error = open(folder.path(), "half.csv", text).expect_err("half a header");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn tar_files_that_are_cut_off_or_doubled_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/I/umbrella");
    let picture = &fs::read(demo.join("twemoji-umbrella.png")).expect("the demo's picture")[..];
    let file = folder.path().join("a.tar");
    let problem = || {
        let error = open_image_list(&file, None).expect_err("it is refused");
        format!("{error}: {:?}", std::error::Error::source(&error))
    };
    tar(&file, &[("a.png", picture), ("a.txt", b"cat"), ("b.png", picture), ("b.txt", b"dog")]);
    let whole = fs::read(&file).expect("a file");
    // Within a member, between two, and without the blocks at the end.
    let member = 512 + picture.len().next_multiple_of(512);
    for end in [member + 700, member + 1024, whole.len() - 1024] {
        fs::write(&file, &whole[..end]).expect("a file");
        assert!(problem().contains("cut off") || problem().contains("unexpected"), "{}", problem());
    }
    fs::write(&file, [0x1f, 0x8b, 8, 0]).expect("a file");
    assert!(problem().contains("unpack it"), "{}", problem());
    tar(&file, &[("a.png", picture), ("a.txt", b"cat"), ("a.jpg", picture)]);
    assert!(problem().contains("`a.jpg` is the second of its kind"), "{}", problem());
    tar(&file, &[("a.image.png", picture), ("a.label.txt", b"cat")]);
    assert_eq!(open_image_list(&file, None).expect("a set").images.len(), 1);
}

#[test]
fn files_that_are_listed_twice_are_told_and_two_classes_refused() {
    let folder = TempDir::new().expect("a folder");
    let set = open(folder.path(), "a.csv", "a.png,cat\nb.png,dog\na.png,cat\n").expect("a list");
    assert_eq!(set.warnings, ["1 of 3 entries are repeated"]);
    let list = "a.png,cat\nb.png,dog\na.png,dog\n";
    let message = open(folder.path(), "a.csv", list).expect_err("two classes").to_string();
    assert!(message.contains("`a.png` is listed with two classes"), "{message}");
}

#[test]
fn names_that_differ_only_in_case_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let list = "a.png,Crane\nb.png,crane\n";
    let message = open(folder.path(), "a.csv", list).expect_err("two equal texts").to_string();
    assert!(message.contains("`Crane` and `crane` are the same to CLIP"), "{message}");
}

#[test]
fn numbers_need_names_and_unknown_classes_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let message = open(folder.path(), "n.csv", "a.jpg,1\n").expect_err("no names").to_string();
    assert!(message.contains("give their names"), "{message}");
    let file = folder.path().join("n.csv");
    let names = || Some(["cat", "dog"].map(str::to_owned).to_vec());
    let set = open_image_list(&file, names()).expect("two names");
    assert_eq!(entries(&set), [("a.jpg".to_owned(), "dog")]);
    for (text, problem) in
        [("a.jpg,2\n", "`2`"), ("a.jpg,cow\n", "`cow`"), ("a.jpg\n", "line 1"), ("", "no images")]
    {
        fs::write(&file, text).expect("the file can be written");
        let message = open_image_list(&file, names()).expect_err(problem).to_string();
        assert!(message.contains(problem) && message.contains("n.csv"), "{message}");
    }
    assert!(open(folder.path(), "x.jsonl", "{").is_err());
    assert!(open(folder.path(), "x.json", "{}").is_err());
}

/// A tar file of members with their contents.
fn tar(file: &Path, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(fs::File::create(file).expect("the file can be made"));
    for (name, contents) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, *contents).expect("the file can be written");
    }
    builder.finish().expect("the file can be written");
}

#[test]
fn tar_files_with_pictures_and_classes_are_a_set() {
    let folder = TempDir::new().expect("a folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/I/umbrella");
    let picture = fs::read(demo.join("twemoji-umbrella.png")).expect("the demo's picture");
    tar(
        &folder.path().join("0000.tar"),
        &[("a.jpg", &picture), ("a.txt", b"umbrella\n"), ("b.cls", b"cat"), ("b.png", &picture)],
    );
    tar(
        &folder.path().join("0001.tar"),
        &[("x/c.json", b"{}"), ("x/c.jpg", &picture), ("x/c.txt", b"cat"), ("d.jpg", &picture)],
    );
    let set = open_image_list(folder.path(), None).expect("two shards");
    let expected = [("0000.tar/a", "umbrella"), ("0000.tar/b", "cat"), ("0001.tar/x/c", "cat")];
    assert_eq!(entries(&set), expected.map(|(path, class)| (path.to_owned(), class)));
    for index in 0..3 {
        assert_eq!(set.load(index).expect("a picture").dimensions(), (64, 64));
    }
    // Cut short after it was opened.
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("0001.tar"));
    file.and_then(|file| file.set_len(1000)).expect("the file can be cut");
    assert!(set.load(2).is_err());
    let one = open_image_list(&folder.path().join("0000.tar"), None).expect("one shard");
    assert_eq!(one.images.len(), 2);
    // As CLIP benchmark distributes sets: names beside the tar files, or above.
    tar(
        &folder.path().join("0000.tar"),
        &[("a.jpg", &picture), ("a.cls", b"1"), ("b.jpg", &picture)],
    );
    fs::write(folder.path().join("classnames.txt"), "cat\numbrella\n").expect("a file");
    let named = open_image_list(&folder.path().join("0000.tar"), None).expect("one shard");
    assert_eq!(entries(&named), [("0000.tar/a".to_owned(), "umbrella")]);
    assert_eq!(
        named.warnings,
        ["skipped, as they lack a picture or a class: 1 keys of the tar files"]
    );
    fs::remove_file(folder.path().join("classnames.txt")).expect("it is there");

    fs::write(folder.path().join("page.tar"), "<!DOCTYPE html>").expect("a file");
    assert!(open_image_list(&folder.path().join("page.tar"), None).is_err());
}
