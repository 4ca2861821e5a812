//! Finding test sets in folders.

use std::fs;
use std::path::Path;

use mint_datasets::{
    Corruption, FolderError, ImageNet, ImageSet, Order, TestSet, open_image_folder,
    read_class_names,
};
use tempfile::TempDir;

/// Creates empty files; finding does not open images.
fn touch(root: &Path, files: &[&str]) {
    for file in files {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder can be made");
        fs::write(file, []).expect("the file can be written");
    }
}

fn listing(set: &ImageSet) -> Vec<(String, usize)> {
    let entry = |image: &mint_datasets::LabelledImage| {
        (image.path.to_string_lossy().into_owned(), image.label)
    };
    set.images.iter().map(entry).collect()
}

#[test]
fn imagenet_r_labels_follow_its_own_subset() {
    let data = TempDir::new().expect("a folder");
    let root = data.path().join("imagenet-rendition/imagenet-r");
    touch(
        &root,
        &["README.txt", "n01443537/b.jpg", "n01443537/a.JPEG", "n01484850/x.png", ".DS_Store"],
    );
    let set = TestSet::ImageNetR.find(data.path()).expect("the set is there");
    let expected = [("n01443537/a.JPEG", 0), ("n01443537/b.jpg", 0), ("n01484850/x.png", 1)];
    assert_eq!(listing(&set), expected.map(|(path, label)| (path.to_owned(), label)));
    assert_eq!(set.class_names.len(), 200);
    assert_eq!(&set.class_names[..2], ["goldfish", "great white shark"]);
    assert_eq!(set.warnings.len(), 2, "it is incomplete: {:?}", set.warnings);
}

#[test]
fn imagenet_v2_labels_are_the_folders_numbers() {
    let data = TempDir::new().expect("a folder");
    touch(
        &data.path().join("imagenetv2-matched-frequency-format-val"),
        &["0/a.jpeg", "1/a.jpeg", "10/a.jpeg", "100/a.jpeg", "2/a.jpeg", "999/a.jpeg"],
    );
    let set = TestSet::ImageNetV2.find(data.path()).expect("the set is there");
    let labels: Vec<usize> = set.images.iter().map(|image| image.label).collect();
    assert_eq!(labels, [0, 1, 10, 100, 2, 999], "sorted as text, labelled by number");
}

#[test]
fn every_usual_folder_and_the_folder_itself_are_found() {
    let corrupted = Corruption::new("fog", 5).map(TestSet::ImageNetC);
    for set in TestSet::IMAGENET.into_iter().chain(corrupted) {
        let key = match set {
            TestSet::ImageNetV2 => "7".to_owned(),
            _ => set.synsets()[3].synset.clone(),
        };
        // All corruptions have the same classes: which one a bare folder holds, nothing says.
        let bare = (!matches!(set, TestSet::ImageNetC(_))).then_some(".");
        for folder in set.folders().iter().map(String::as_str).chain(bare) {
            let data = TempDir::new().expect("a folder");
            touch(&data.path().join(folder), &[&format!("{key}/image.jpg")]);
            let found = set.find(data.path()).unwrap_or_else(|error| panic!("{folder}: {error}"));
            assert_eq!(found.images.len(), 1, "{set} in {folder}");
        }
    }
}

#[test]
fn missing_empty_and_wrong_folders_say_what_and_where() {
    let data = TempDir::new().expect("a folder");
    let error = TestSet::ImageNetA.find(data.path()).expect_err("nothing is there");
    let FolderError::NotFound { title, example, places } = error else {
        panic!("the set is not there: {error}")
    };
    assert_eq!((title.as_str(), example.as_str()), ("ImageNet-A", "n01498041"));
    assert_eq!(places[0], data.path().join("imagenet-a"));

    let root = data.path().join("imagenet-a");
    fs::create_dir_all(root.join("n01498041")).expect("the folder can be made");
    let error = TestSet::ImageNetA.find(data.path()).expect_err("the class folder is empty");
    assert!(matches!(error, FolderError::Empty { .. }), "{error}");

    touch(&root, &["n01498041/a.jpg", "n01440764/a.jpg"]);
    let error = TestSet::ImageNetA.find(data.path()).expect_err("tench is no class of the set");
    assert!(error.to_string().contains("n01440764"), "{error}");
}

#[test]
fn any_folder_of_class_folders_is_a_set() {
    let data = TempDir::new().expect("a folder");
    touch(data.path(), &["zebra/1.png", "ant/sub/2.jpg", "ant/1.jpg", "ant/notes.txt"]);
    let set = open_image_folder(data.path(), None).expect("it holds images");
    assert_eq!(set.class_names, ["ant", "zebra"]);
    assert_eq!(set.images.iter().map(|image| image.label).collect::<Vec<_>>(), [0, 0, 1]);

    let names = data.path().join("names.txt");
    fs::write(&names, "a small ant\n\na striped zebra\n").expect("the file can be written");
    let names = read_class_names(&names).expect("two names").names;
    let set = open_image_folder(data.path(), Some(names)).expect("two names for two folders");
    assert_eq!(set.class_names, ["a small ant", "a striped zebra"]);
    let error = open_image_folder(data.path(), Some(vec!["one".into()])).expect_err("one name");
    assert!(matches!(error, FolderError::NameCount { folders: 2, names: 1, .. }), "{error}");
}

#[test]
fn the_order_is_a_permutation_that_the_seed_decides() {
    let data = TempDir::new().expect("a folder");
    let files: Vec<String> = (0..50).map(|index| format!("a/{index:02}.png")).collect();
    touch(data.path(), &files.iter().map(String::as_str).collect::<Vec<_>>());
    let set = open_image_folder(data.path(), None).expect("it holds images");
    let shuffled = set.order(Order::Shuffled(1));
    assert_eq!(shuffled, set.order(Order::Shuffled(1)));
    assert_ne!(shuffled, set.order(Order::Shuffled(2)));
    assert_eq!(set.order(Order::File), (0..50).collect::<Vec<_>>());
    let mut sorted = shuffled;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

#[test]
fn the_facts_have_the_published_sizes() {
    let facts = ImageNet::facts();
    assert_eq!(facts.classes.len(), 1000);
    assert_eq!((facts.imagenet_a.len(), facts.imagenet_r.len()), (200, 200));
    assert_eq!((facts.templates_80.len(), facts.templates_7.len()), (80, 7));
    for subset in [&facts.imagenet_a, &facts.imagenet_r] {
        assert!(subset.windows(2).all(|pair| pair[0] < pair[1]), "labels ascend");
    }
}

/// An own folder, opened with these class names.
fn own(root: &Path, names: &[&str]) -> Result<ImageSet, FolderError> {
    let names = (!names.is_empty()).then(|| names.iter().map(|&name| name.to_owned()).collect());
    open_image_folder(root, names)
}

#[test]
fn what_systems_and_archives_leave_behind_is_no_class_and_is_said() {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    let left =
        ["__MACOSX/cat/a.jpg", "@eaDir/b.jpg", "lost+found/c.jpg", ".hidden/d.jpg", "cat/._e.jpg"];
    touch(root, &left);
    touch(root, &["cat/a.jfif", "dog/b.ppm", "dog/notes.txt", "dog/c.svg", "dog/d.SVG", "e.png"]);
    fs::create_dir(root.join("empty")).expect("a folder can be made");
    let set = own(root, &[]).expect("two classes");
    assert_eq!(set.class_names, ["cat", "dog"]);
    let expected = [("cat/a.jfif", 0), ("dog/b.ppm", 1)];
    assert_eq!(listing(&set), expected.map(|(path, label)| (path.to_owned(), label)));
    let expected = [
        "3 system folders (`@eaDir`, `__MACOSX`, `lost+found`) skipped",
        "1 folder (`empty`) with no images skipped",
        "3 files in other formats skipped (2 svg, 1 txt)",
        "1 image outside the class folders skipped",
    ];
    assert_eq!(set.warnings, expected);
    // As many names as folders of any kind: then the empty one is a class as well.
    let set = own(root, &["feline", "canine", "nothing"]).expect("three names for three folders");
    assert_eq!(set.class_names, ["feline", "canine", "nothing"]);
    assert_eq!(set.images.iter().map(|image| image.label).collect::<Vec<_>>(), [0, 1]);
    let set = own(root, &["feline", "canine"]).expect("two names for two folders with images");
    assert_eq!(set.class_names, ["feline", "canine"]);
}

#[test]
fn junk_beside_the_classes_of_a_known_set_is_skipped_and_other_classes_are_not() {
    let data = TempDir::new().expect("a folder");
    let root = data.path().join("imagenet-r");
    touch(&root, &["n01443537/a.jpg", "lost+found/b.jpg", "papers/readme.pdf"]);
    let set = TestSet::ImageNetR.find(data.path()).expect("the set is there");
    assert_eq!(set.images.len(), 1);
    assert!(set.warnings.iter().any(|warning| warning.contains("`lost+found`")), "{set:?}");
    assert!(set.warnings.iter().any(|warning| warning.contains("`papers`")), "{set:?}");
    touch(&root, &["n99999999/a.jpg"]);
    let error = TestSet::ImageNetR.find(data.path()).expect_err("that is no class of it");
    assert!(matches!(error, FolderError::WrongClasses { .. }), "{error}");
}

#[test]
fn images_without_class_folders_are_recognised() {
    let data = TempDir::new().expect("a folder");
    let flat = ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"];
    touch(&data.path().join("imagenet/val"), &flat);
    let message = TestSet::ImageNet.find(data.path()).expect_err("it is flat").to_string();
    assert!(message.contains("2 images that are in no class folder"), "{message}");
    assert!(message.contains("valprep.sh") && message.contains("n01440764"), "{message}");
    let message = own(&data.path().join("imagenet/val"), &[]).expect_err("it is flat").to_string();
    assert!(message.contains("no class folder") && message.contains("predict"), "{message}");
}

#[test]
fn names_that_are_the_folders_own_are_matched_and_not_taken_by_position() {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    touch(root, &["bird/a.jpg", "cat/a.jpg", "great_white_shark/a.jpg"]);
    let set = own(root, &["Great white shark", "bird", "cat"]).expect("the same three");
    assert_eq!(set.class_names, ["bird", "cat", "Great white shark"]);
    assert_eq!(set.warnings.len(), 1, "{:?}", set.warnings);
    assert!(set.warnings[0].contains("matched by name"), "{:?}", set.warnings);
    assert!(
        own(root, &["bird", "cat", "great white shark"]).expect("in order").warnings.is_empty()
    );
    let error = own(root, &["cat", "sparrow", "shark"]).expect_err("`cat` is folder 2");
    let message = error.to_string();
    assert!(message.contains("class name 1 is `cat`"), "{message}");
    assert!(message.contains("folder 1 is `bird`"), "{message}");
    assert!(own(root, &["sparrow", "cat", "shark"]).is_ok(), "`cat` is where it belongs");
}

#[cfg(unix)]
#[test]
fn links_that_go_round_end_and_what_is_no_file_is_not_opened() {
    use std::os::unix::fs::symlink;

    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    touch(root, &["cat/a.jpg", "dog/b.jpg", "elsewhere.jpg"]);
    symlink(".", root.join("cat/again")).expect("a link");
    symlink(".", root.join("cat/once_more")).expect("a link");
    symlink("..", root.join("dog/up")).expect("a link");
    symlink("nowhere.jpg", root.join("dog/broken.jpg")).expect("a link");
    symlink("../elsewhere.jpg", root.join("dog/linked.jpg")).expect("a link");
    let pipe = std::process::Command::new("mkfifo").arg(root.join("dog/pipe.jpg")).status();
    assert!(pipe.expect("the system's tools are there").success());
    let set = own(root, &[]).expect("two classes");
    let paths: Vec<String> = listing(&set).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["cat/a.jpg", "dog/b.jpg", "dog/linked.jpg"], "each picture once");
    let warnings = set.warnings.join("; ");
    assert!(warnings.contains("3 links (`cat/again`, `cat/once_more`, `dog/up`)"), "{warnings}");
    assert!(warnings.contains("2 pipes, sockets, devices or broken links"), "{warnings}");

    // Named outright they are refused, without waiting for bytes.
    for (path, what) in [("dog/pipe.jpg", "a pipe"), ("cat", "a folder")] {
        let images = vec![mint_datasets::LabelledImage { path: path.into(), label: 0 }];
        let message = ImageSet { images, ..set.clone() }.load(0).expect_err("no file").to_string();
        assert!(message.contains(what) && message.contains(path), "{message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_in_another_encoding_are_names() {
    use std::os::unix::ffi::OsStrExt;

    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    touch(root, &["dog/a.png"]);
    let class = root.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&class).expect("a folder can be made");
    let picture = image::RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3]));
    let file = class.join(std::ffi::OsStr::from_bytes(b"r\xe9sum\xe9.png"));
    picture.save(&file).expect("the picture can be written");
    let set = own(root, &[]).expect("two classes");
    assert_eq!(set.images.len(), 2);
    assert_eq!(set.load(0).expect("it can be opened"), picture);
}
