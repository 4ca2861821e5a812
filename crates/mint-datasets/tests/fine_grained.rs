//! Finding the fine-grained sets in the layouts in which they are distributed.

use std::fs;
use std::path::Path;

use mint_datasets::{FineGrained, FolderError, TestSet};
use tempfile::TempDir;

/// Creates every fifth file of a list, empty; finding does not open images.
fn touch(root: &Path, set: FineGrained, cut: &str) -> usize {
    let list = set.test_list();
    let some = list.iter().step_by(5);
    for (path, _) in some.clone() {
        let file = root.join(path.strip_prefix(cut).unwrap_or(path));
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder can be made");
        fs::write(file, []).expect("the file can be written");
    }
    some.count()
}

#[test]
fn every_set_is_found_in_every_usual_folder() {
    for set in [FineGrained::Dtd, FineGrained::Pets, FineGrained::Caltech101, FineGrained::Aircraft]
    {
        for folder in &set.facts().folders {
            let data = TempDir::new().expect("a folder");
            let files = touch(&data.path().join(folder), set, "");
            let found = TestSet::FineGrained(set).find(data.path());
            let found = found.unwrap_or_else(|error| panic!("{folder}: {error}"));
            let all = set.facts().images;
            assert_eq!(found.images.len(), all, "{folder}");
            let missing = format!("{} of {all} images are missing", all - files);
            assert_eq!(found.warnings, [missing], "{folder}");
            assert_eq!(found.class_names, set.facts().names);
        }
    }
}

#[test]
fn cars_are_found_with_their_folder_without_it_and_within_itself() {
    let set = FineGrained::Cars;
    for (folder, cut) in [
        ("stanford_cars", ""),
        ("stanford_cars/cars_test", ""),
        ("stanford_cars/images", "cars_test/"),
    ] {
        let data = TempDir::new().expect("a folder");
        touch(&data.path().join(folder), set, cut);
        let found = TestSet::FineGrained(set).find(data.path()).expect("the set is there");
        let first = found.images[0].path.to_string_lossy().into_owned();
        assert_eq!(first, ["cars_test/00001.jpg", "00001.jpg"][usize::from(!cut.is_empty())]);
        assert_eq!(found.images[0].label, 180, "{folder}");
    }
    // Another numbering of all images is not the test set.
    let data = TempDir::new().expect("a folder");
    fs::create_dir_all(data.path().join("stanford_cars/car_ims")).expect("a folder");
    fs::write(data.path().join("stanford_cars/car_ims/000001.jpg"), []).expect("a file");
    let error = TestSet::FineGrained(set).find(data.path()).expect_err("these are other files");
    assert!(matches!(error, FolderError::NotFound { .. }), "{error}");
}

#[test]
fn a_split_file_next_to_the_images_takes_precedence() {
    let data = TempDir::new().expect("a folder");
    let root = data.path().join("oxford_pets/images");
    touch(&root, FineGrained::Pets, "");
    let split = data.path().join("oxford_pets/split_zhou_OxfordPets.json");
    let find = || TestSet::FineGrained(FineGrained::Pets).find(data.path());
    let write = |text: &str| fs::write(&split, text).expect("the file can be written");

    let two = r#"[["b.jpg", 1, "a_dog"], ["a.jpg", 0, "a_cat"]]"#;
    write(&format!(r#"{{"train": [], "val": [], "test": {two}}}"#));
    let found = find().expect("the set is there");
    assert_eq!(found.class_names, ["a_cat", "a_dog"]);
    assert_eq!(found.images[0].path, Path::new("b.jpg"));
    assert_eq!(found.warnings.len(), 3, "missing, too few, other names: {:?}", found.warnings);

    for (text, problem) in [
        ("{", "EOF"),
        (r#"{"test": []}"#, "0 images"),
        (r#"{"test": [["a.jpg", 1, "cat"], ["b.jpg", 1, "dog"]]}"#, "both"),
        (r#"{"test": [["a.jpg", 1, "cat"], ["b.jpg", 1, "cat"]]}"#, "no images"),
        (r#"{"test": [["../a.jpg", 0, "cat"]]}"#, "leads out"),
    ] {
        write(text);
        let message = find().expect_err("the file is damaged").to_string();
        assert!(message.contains(problem) && message.contains("split_zhou"), "{message}");
    }
}

#[test]
fn sets_answer_to_the_names_that_people_type() {
    for (typed, id) in [
        ("pets", "pets"),
        ("Oxford_Pets", "pets"),
        ("StanfordCars", "cars"),
        ("FOOD-101", "food101"),
        ("eurosat", "eurosat"),
        ("fgvc_aircraft", "aircraft"),
        ("r", "R"),
        ("imagenet-sketch", "K"),
        ("C-gaussian_noise-5", "C-gaussian_noise-5"),
    ] {
        let set: TestSet = typed.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(set.id(), id, "{typed}");
        assert_eq!(set.id().parse(), Ok(set), "{typed}");
    }
    for unknown in ["pet shop", "C-fog-9", "C-mist-5", ""] {
        assert!(unknown.parse::<TestSet>().is_err(), "{unknown}");
    }
    assert_eq!(TestSet::all().count(), 15);
}
