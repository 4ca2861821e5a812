//! A small fake of every test set's official archive: taken, unpacked, found, and run.

mod programs;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use programs::{mint_cli, root, success, xtask};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

#[derive(Clone, Copy)]
enum Form {
    Tar,
    TarGz,
    Zip,
    /// A tar.gz of this name in a zip.
    TarGzInZip(&'static str),
}

/// The archive of a set as its publisher has it, with its first pictures.
struct Fake {
    set: &'static str,
    /// What `fetch` takes, where it is not the set's name.
    archive: Option<&'static str>,
    form: Form,
    files: [&'static str; 3],
}

const FAKES: [Fake; 16] = [
    Fake {
        set: "A",
        archive: None,
        form: Form::Tar,
        files: [
            "imagenet-a/README.txt",
            "imagenet-a/n01498041/0.000116_digital clock.jpg",
            "imagenet-a/n01531178/1.jpg",
        ],
    },
    Fake {
        set: "R",
        archive: None,
        form: Form::Tar,
        files: [
            "imagenet-r/n01443537/art_0.jpg",
            "imagenet-r/n01443537/b.jpg",
            "imagenet-r/n01484850/c.jpg",
        ],
    },
    Fake {
        set: "V",
        archive: None,
        form: Form::TarGz,
        files: [
            "imagenetv2-matched-frequency-format-val/0/a.jpeg",
            "imagenetv2-matched-frequency-format-val/10/a.jpeg",
            "imagenetv2-matched-frequency-format-val/999/a.jpeg",
        ],
    },
    Fake {
        set: "K",
        archive: None,
        form: Form::Zip,
        files: [
            "sketch/n01440764/sketch_0.JPEG",
            "sketch/n01440764/sketch_1.JPEG",
            "sketch/n01443537/s.JPEG",
        ],
    },
    Fake {
        set: "I",
        archive: None,
        form: Form::Tar,
        files: [
            "ILSVRC2012_val_00000001.JPEG",
            "ILSVRC2012_val_00000002.JPEG",
            "ILSVRC2012_val_00000003.JPEG",
        ],
    },
    Fake {
        set: "C/gaussian_noise/5",
        archive: Some("C/noise"),
        form: Form::Tar,
        files: [
            "gaussian_noise/5/n01440764/ILSVRC2012_val_00000293.JPEG",
            "gaussian_noise/5/n01440764/ILSVRC2012_val_00002138.JPEG",
            "shot_noise/5/n01440764/ILSVRC2012_val_00000293.JPEG",
        ],
    },
    Fake {
        set: "flower102",
        archive: None,
        form: Form::TarGz,
        files: ["jpg/image_00172.jpg", "jpg/image_00130.jpg", "jpg/image_00220.jpg"],
    },
    Fake {
        set: "dtd",
        archive: None,
        form: Form::TarGz,
        files: [
            "dtd/images/banded/banded_0060.jpg",
            "dtd/images/banded/banded_0089.jpg",
            "dtd/images/banded/banded_0137.jpg",
        ],
    },
    Fake {
        set: "pets",
        archive: None,
        form: Form::TarGz,
        files: [
            "images/Abyssinian_201.jpg",
            "images/Abyssinian_202.jpg",
            "images/Abyssinian_204.jpg",
        ],
    },
    Fake {
        set: "cars",
        archive: None,
        form: Form::TarGz,
        files: ["cars_test/00001.jpg", "cars_test/00002.jpg", "cars_test/00003.jpg"],
    },
    Fake {
        set: "ucf101",
        archive: None,
        form: Form::Zip,
        files: [
            "UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg",
            "UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c02.jpg",
            "UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c03.jpg",
        ],
    },
    Fake {
        set: "caltech101",
        archive: None,
        form: Form::TarGzInZip("caltech-101/101_ObjectCategories.tar.gz"),
        files: [
            "101_ObjectCategories/Faces/image_0426.jpg",
            "101_ObjectCategories/Faces/image_0239.jpg",
            "101_ObjectCategories/Faces/image_0353.jpg",
        ],
    },
    Fake {
        set: "food101",
        archive: None,
        form: Form::TarGz,
        files: [
            "food-101/images/apple_pie/1214326.jpg",
            "food-101/images/apple_pie/523810.jpg",
            "food-101/images/apple_pie/1332030.jpg",
        ],
    },
    Fake {
        set: "sun397",
        archive: None,
        form: Form::TarGz,
        files: [
            "SUN397/a/abbey/sun_ajkqrqitspwywirx.jpg",
            "SUN397/a/abbey/sun_ajhtswxgrqbeiikc.jpg",
            "SUN397/a/abbey/sun_ahebfjooupcqbjht.jpg",
        ],
    },
    Fake {
        set: "aircraft",
        archive: None,
        form: Form::TarGz,
        files: [
            "fgvc-aircraft-2013b/data/images/1514522.jpg",
            "fgvc-aircraft-2013b/data/images/0747566.jpg",
            "fgvc-aircraft-2013b/data/images/1008575.jpg",
        ],
    },
    Fake {
        set: "eurosat",
        archive: None,
        form: Form::Zip,
        files: [
            "2750/AnnualCrop/AnnualCrop_1048.jpg",
            "2750/AnnualCrop/AnnualCrop_1613.jpg",
            "2750/AnnualCrop/AnnualCrop_997.jpg",
        ],
    },
];

/// A picture of the demo: PNG, whatever the file is called.
fn picture() -> Vec<u8> {
    let file = root().join("assets/demo/images/I/umbrella/twemoji-umbrella.png");
    fs::read(file).expect("the demo's picture")
}

fn tar(files: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let contents = picture();
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, file, &*contents).expect("memory");
    }
    builder.into_inner().expect("memory")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("memory");
        writer.write_all(contents).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

impl Fake {
    fn archive(&self) -> Vec<u8> {
        let with_pictures = |files: &[&'static str]| -> Vec<(&str, Vec<u8>)> {
            files.iter().map(|&file| (file, picture())).collect()
        };
        match self.form {
            Form::Tar => tar(&self.files),
            Form::TarGz => gz(&tar(&self.files)),
            Form::Zip => zip(&with_pictures(&self.files)),
            Form::TarGzInZip(name) => zip(&[
                (name, gz(&tar(&self.files))),
                ("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"junk".to_vec()),
            ]),
        }
    }

    /// Takes the archive into a data folder.
    fn take(&self, folder: &Path, data: &Path) {
        let file = folder.join("archive");
        fs::write(&file, self.archive()).expect("the file can be written");
        let mut chore = xtask();
        chore.args(["fetch", "datasets", self.archive.unwrap_or(self.set), "--any-sum"]);
        chore.arg("--from").arg(&file).arg("--into").arg(data);
        let line = success(&mut chore);
        assert!(line.contains("3 files in"), "{}: {line}", self.set);
    }

    /// Runs three methods on the first three pictures, with the demo's weights.
    fn run(&self, data: &Path) -> Vec<Value> {
        let mut command = mint_cli();
        command.args(["--test-sets", self.set, "--method", "clip,zero,mint", "--limit", "3"]);
        command.args(["--order", "file", "--views", "10", "--format", "json", "--data"]).arg(data);
        command.args(["--weights", "assets/demo/clip.safetensors"]);
        command.arg("--output").arg(data.join("run"));
        let result: Value = serde_json::from_str(&success(&mut command)).expect("JSON");
        result["rows"].as_array().expect("rows").clone()
    }
}

#[test]
fn every_set_is_taken_from_its_archive_found_and_run() {
    for fake in FAKES.iter().filter(|fake| fake.set != "I") {
        let folder = tempfile::tempdir().expect("a folder");
        let data: PathBuf = folder.path().join("data");
        fake.take(folder.path(), &data);
        let rows = fake.run(&data);
        assert_eq!(rows.len(), 3, "{}", fake.set);
        // Not every file of these archives is a picture of the set.
        let images = match fake.set {
            "A" | "C/gaussian_noise/5" => 2,
            _ => 3,
        };
        for row in rows {
            assert_eq!((&row["images"], &row["unreadable"]), (&images.into(), &0.into()), "{row}");
            assert_eq!(row["test_set"], fake.set.replace('/', "-"), "{row}");
        }
        let mut list = mint_cli();
        let text = success(list.arg("datasets").arg("--data").arg(&data));
        let found = text.lines().filter(|line| line.contains(&*data.to_string_lossy()));
        let found = found.filter(|line| !line.contains("not in")).count();
        assert_eq!(found, usize::from(!fake.set.starts_with('C')), "{text}");
    }
}
