//! Finding test sets in folders.

use std::fs;
use std::path::Path;

use mint_datasets::{
    FolderError, ImageNet, ImageSet, Order, TestSet, open_image_folder, read_class_names,
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
    for set in TestSet::ALL {
        let key = match set {
            TestSet::ImageNetV2 => "7".to_owned(),
            _ => set.classes()[3].synset.clone(),
        };
        for folder in set.folders().iter().chain(&["."]) {
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
    let names = read_class_names(&names).expect("two names");
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
