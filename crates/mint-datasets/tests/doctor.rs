//! Examining and mending data folders: a fault of each kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use mint_datasets::{
    Examination, FindingKind, FineGrained, FolderError, Severity, TestSet, examine, make, nested,
    sorted_into_classes,
};
use tempfile::TempDir;

/// A picture of the demo, with its last bytes changed to tell copies apart.
fn picture(number: u8) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/I/umbrella");
    let file = folder.join("twemoji-umbrella.png");
    let mut bytes = fs::read(file).expect("the demo's picture");
    // After the picture's end, which decoders do not read.
    bytes.extend([0, number]);
    bytes
}

fn write(file: PathBuf, bytes: &[u8]) {
    fs::create_dir_all(file.parent().expect("a folder")).expect("the folder can be made");
    fs::write(file, bytes).expect("the file can be written");
}

fn kinds(examination: &Examination) -> Vec<(Severity, FindingKind, String)> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let findings = examination.findings.iter();
    findings.map(|finding| (finding.severity, finding.kind, name(&finding.path))).collect()
}

#[test]
fn a_fault_of_each_kind_is_found() {
    let data = TempDir::new().expect("a folder");
    let root = data.path().join("imagenet-r");
    write(root.join("n01443537/good.jpg"), &picture(1));
    write(root.join("n01443537/copy.jpg"), &picture(1));
    write(root.join("n01484850/copy.jpg"), &picture(1));
    write(root.join("n01443537/cut.jpg"), &picture(2)[..300]);
    write(root.join("n01443537/empty.jpg"), b"");
    write(root.join("n01443537/page.jpg"), b"<!DOCTYPE html>");
    write(root.join("loose.jpg"), &picture(3));
    let seen = AtomicUsize::new(0);
    let count = |_| {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let found = examine(TestSet::ImageNetR, data.path(), count).expect("the set is there");
    assert_eq!((found.images, seen.into_inner(), found.classes), (6, 6, 2));
    assert_eq!((found.expected_images, found.expected_classes), (30_000, 200));
    assert_eq!(found.worst(), Some(Severity::Error));
    let found = kinds(&found);
    for (severity, kind, name) in [
        (Severity::Error, FindingKind::Unreadable, "cut.jpg"),
        (Severity::Error, FindingKind::Unreadable, "empty.jpg"),
        (Severity::Error, FindingKind::Unreadable, "page.jpg"),
        (Severity::Warning, FindingKind::Duplicate, "copy.jpg"),
        (Severity::Warning, FindingKind::Misplaced, "imagenet-r"),
        (Severity::Warning, FindingKind::Missing, "imagenet-r"),
        (Severity::Warning, FindingKind::Count, "imagenet-r"),
    ] {
        assert!(found.contains(&(severity, kind, name.to_owned())), "{kind:?} {name}: {found:?}");
    }
    assert!(found[0].0 == Severity::Error && found.last().expect("some").0 == Severity::Warning);
}

#[test]
fn files_of_a_list_that_are_missing_are_errors() {
    let data = TempDir::new().expect("a folder");
    let list = FineGrained::Eurosat.test_list();
    write(data.path().join("eurosat/2750").join(&list[0].0), &picture(1));
    let set = TestSet::FineGrained(FineGrained::Eurosat);
    let found = examine(set, data.path(), |_| {}).expect("the set is there");
    let missing = kinds(&found).iter().filter(|(_, kind, _)| *kind == FindingKind::Missing).count();
    assert_eq!(missing, 8099 + 1, "each file, and their number");
    assert_eq!((found.worst(), found.classes), (Some(Severity::Error), 1));
}

#[test]
fn other_folders_and_numbers_of_v2_are_layout_errors() {
    let data = TempDir::new().expect("a folder");
    write(data.path().join("imagenet-a/n01498041/a.jpg"), &picture(1));
    write(data.path().join("imagenet-a/n01440764/a.jpg"), &picture(2));
    let found = examine(TestSet::ImageNetA, data.path(), |_| {}).expect("the folder is there");
    assert_eq!(found.findings[0].kind, FindingKind::Layout);
    assert!(found.findings[0].message.contains("n01440764"), "{found:?}");
    // V2's folders are numbers; synsets are another set's.
    write(data.path().join("imagenetv2/7/a.jpeg"), &picture(1));
    write(data.path().join("imagenetv2/1000/a.jpeg"), &picture(2));
    let found = examine(TestSet::ImageNetV2, data.path(), |_| {}).expect("the folder is there");
    assert!(found.findings[0].message.contains("`1000`"), "{found:?}");
    let error = examine(TestSet::ImageNetSketch, data.path(), |_| {}).expect_err("it is missing");
    assert!(matches!(error, FolderError::NotFound { .. }), "{error}");
}

#[test]
fn images_that_lie_too_deep_are_moved_up_and_nothing_is_overwritten() {
    let pets = TestSet::FineGrained(FineGrained::Pets);
    for (set, place, wrapper, file) in [
        (TestSet::ImageNetR, "imagenet-r", "imagenet-r", "n01443537/a.jpg"),
        (TestSet::ImageNetR, "imagenet-r", "Images", "n01443537/a.jpg"),
        (pets, "oxford_pets/images", "images", "Abyssinian_201.jpg"),
    ] {
        let data = TempDir::new().expect("a folder");
        let outer = data.path().join(place);
        write(outer.join(wrapper).join(file), &picture(1));
        let found = examine(set, data.path(), |_| {}).expect("it is nearly there");
        assert!(found.findings[0].message.contains("one folder too deep"), "{found:?}");
        let moves = nested(set, data.path()).expect("it is nested").moves().expect("free places");
        make(&moves).expect("they can be made");
        assert!(outer.join(file).is_file() && !outer.join(wrapper).exists());
        assert_eq!(set.find(data.path()).expect("it is there").folder(), Some(&*outer));
    }
    let data = TempDir::new().expect("a folder");
    write(data.path().join("imagenet-r/imagenet-r/n01443537/a.jpg"), &picture(1));
    write(data.path().join("imagenet-r/imagenet-r/README.txt"), b"theirs");
    write(data.path().join("imagenet-r/README.txt"), b"mine");
    let nested = nested(TestSet::ImageNetR, data.path()).expect("it is nested");
    let message = nested.moves().expect_err("a place is taken").to_string();
    assert!(message.contains("already exists"), "{message}");
}

#[test]
fn folders_that_belong_to_others_stay_where_they_are() {
    let data = TempDir::new().expect("a folder");
    let of = |set: TestSet| nested(set, data.path());
    // A training part, another set inside, and a copy that somebody keeps.
    write(data.path().join("imagenet/train/n01440764/a.jpg"), &picture(1));
    write(data.path().join("imagenet/imagenet-r/n01443537/a.jpg"), &picture(1));
    write(data.path().join("imagenet-r/copy/n01443537/a.jpg"), &picture(1));
    assert_eq!((of(TestSet::ImageNet), of(TestSet::ImageNetR)), (None, None));
    #[cfg(unix)]
    {
        let elsewhere = TempDir::new().expect("a folder");
        write(elsewhere.path().join("n01443537/a.jpg"), &picture(1));
        let link = data.path().join("imagenet-r/imagenet-r");
        std::os::unix::fs::symlink(elsewhere.path(), link).expect("a link");
        assert_eq!(of(TestSet::ImageNetR), None);
    }
}

#[test]
fn a_flat_validation_folder_is_sorted_by_labels() {
    let data = TempDir::new().expect("a folder");
    let val = data.path().join("imagenet/val");
    let name = |number| format!("ILSVRC2012_val_0000000{number}");
    for number in 1..=3u8 {
        write(val.join(format!("{}.JPEG", name(number))), &picture(number));
    }
    let classes: BTreeMap<String, String> =
        (1..=2).map(|number| (name(number), "n01440764".to_owned())).collect();
    let message = sorted_into_classes(&val, &classes).expect_err("one has none").to_string();
    assert!(message.contains("00000003"), "{message}");
    let mut classes = classes;
    classes.insert(name(3), "n01443537".to_owned());
    make(&sorted_into_classes(&val, &classes).expect("all have one")).expect("they can be made");
    let set = TestSet::ImageNet.find(data.path()).expect("it is sorted");
    let labels: Vec<usize> = set.images.iter().map(|image| image.label).collect();
    assert_eq!(labels, [0, 0, 1]);
}
