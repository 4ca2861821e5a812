//! Downloads from servers that break off, stall, ignore what they are asked, or lie.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::datasets::{self, DatasetsArgs};
use super::download::{Downloader, State, Wanted};
use super::local_server::{LocalServer, respond, respond_in_part, respond_well};
use super::{Options, WeightsFormat, What, archive, drive, fetch, sources};

fn patient() -> Downloader {
    Downloader {
        stall: Duration::from_millis(400),
        pause: Duration::from_millis(1),
        attempts: 3,
        progress: false,
    }
}

/// 300 kB that do not repeat.
fn file() -> Vec<u8> {
    (0..75_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wanted(urls: &[&str]) -> Wanted {
    let file = file();
    Wanted {
        name: "model.pt".to_owned(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        size: Some(file.len() as u64),
        sha256: Some(hex(&file)),
    }
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("model.pt")
    }

    fn partial(&self) -> PathBuf {
        self.folder.path().join("model.pt.partial")
    }

    #[track_caller]
    fn check_whole(&self) {
        assert!(fs::read(self.target()).expect("the file is there") == file(), "other bytes");
        assert!(!self.partial().exists(), "the temporary file is gone");
    }
}

/// Fetches and expects an error, which must leave nothing in place.
#[track_caller]
fn failure(place: &Place, wanted: &Wanted) -> String {
    let error = patient().fetch(wanted, &place.target()).expect_err("it cannot be fetched");
    assert!(!place.target().exists(), "nothing is put in place");
    error.to_string()
}

#[test]
fn a_file_is_fetched_once() {
    let server = LocalServer::start(|request, _, stream| respond_well(stream, request, &file()));
    let (place, wanted) = (Place::new(), wanted(&[&format!("{}/model.pt", server.url)]));
    for _ in 0..2 {
        let state = patient().fetch(&wanted, &place.target()).expect("it is there");
        assert_eq!(state, State::Verified);
        place.check_whole();
    }
    assert_eq!(server.requests().len(), 1, "what is in place is not fetched again");
}

#[test]
fn a_connection_that_drops_is_resumed_where_it_was() {
    let server = LocalServer::start(|request, _, stream| {
        respond_in_part(stream, request, &file(), 50_000);
    });
    let (place, wanted) = (Place::new(), wanted(&[&server.url]));
    // Six pieces, more than the attempts that may fail: progress does not count as failure.
    patient().fetch(&wanted, &place.target()).expect("it comes in pieces");
    place.check_whole();
    let starts: Vec<u64> =
        server.requests().iter().map(|request| request.from.unwrap_or(0)).collect();
    assert_eq!(starts, [0, 50_000, 100_000, 150_000, 200_000, 250_000]);
}

#[test]
fn what_was_fetched_before_the_program_ended_is_kept() {
    let server = LocalServer::start(|request, _, stream| respond_well(stream, request, &file()));
    let (place, wanted) = (Place::new(), wanted(&[&server.url]));
    fs::write(place.partial(), &file()[..123_456]).expect("a part");
    patient().fetch(&wanted, &place.target()).expect("the rest");
    place.check_whole();
    assert_eq!(server.requests()[0].from, Some(123_456));
}

#[test]
fn a_server_that_ignores_ranges_starts_again() {
    let server = LocalServer::start(|request, _, stream| {
        let all = super::local_server::Request { from: None, ..request.clone() };
        respond_well(stream, &all, &file());
    });
    let (place, wanted) = (Place::new(), wanted(&[&server.url]));
    fs::write(place.partial(), b"something else that was begun").expect("a part");
    patient().fetch(&wanted, &place.target()).expect("the whole file");
    place.check_whole();
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    let server = LocalServer::start(|request, _, stream| match request.from {
        Some(_) => respond(stream, "416 Range Not Satisfiable", &["Content-Range: bytes */7"], b""),
        None => respond_well(stream, request, &file()),
    });
    let (place, wanted) = (Place::new(), wanted(&[&server.url]));
    fs::write(place.partial(), b"something else").expect("a part");
    patient().fetch(&wanted, &place.target()).expect("the whole file");
    place.check_whole();
}

#[test]
fn wrong_bytes_are_refused_and_the_next_place_is_asked() {
    let wrong = LocalServer::start(|request, _, stream| {
        respond_well(stream, request, &vec![7; file().len()]);
    });
    let right = LocalServer::start(|request, _, stream| respond_well(stream, request, &file()));
    let place = Place::new();
    let message = failure(&place, &wanted(&[&wrong.url]));
    assert!(message.contains("other bytes") && message.contains(&wrong.url), "{message}");
    assert!(!place.partial().exists(), "wrong bytes are not kept");
    let urls = [wrong.url.as_str(), &right.url];
    patient().fetch(&wanted(&urls), &place.target()).expect("the second place has it");
    place.check_whole();
}

#[test]
fn another_size_is_refused_before_anything_is_fetched() {
    let server = LocalServer::start(|request, _, stream| respond_well(stream, request, b"short"));
    let message = failure(&Place::new(), &wanted(&[&server.url]));
    assert!(message.contains("5 bytes instead of 300000"), "{message}");
    let endless = LocalServer::start(|_, _, stream| respond(stream, "200 OK", &[], &[1; 400_000]));
    let message = failure(&Place::new(), &wanted(&[&endless.url]));
    assert!(message.contains("more bytes"), "{message}");
}

#[test]
fn redirects_are_followed_with_the_range() {
    let server = LocalServer::start(|request, _, stream| match request.path.as_str() {
        "/there" => respond_in_part(stream, request, &file(), 200_000),
        _ => respond(stream, "302 Found", &["Location: /there", "Content-Length: 0"], b""),
    });
    let (place, wanted) = (Place::new(), wanted(&[&format!("{}/here", server.url)]));
    patient().fetch(&wanted, &place.target()).expect("it is there");
    place.check_whole();
    let last = server.requests().pop().expect("requests");
    assert_eq!((last.path.as_str(), last.from), ("/there", Some(200_000)));
}

#[test]
fn endless_redirects_end() {
    let server = LocalServer::start(|_, _, stream| {
        respond(stream, "302 Found", &["Location: /again", "Content-Length: 0"], b"");
    });
    let message = failure(&Place::new(), &wanted(&[&server.url]));
    assert!(message.contains("redirect"), "{message}");
}

#[test]
fn a_connection_that_stalls_is_given_up_and_resumed() {
    let server = LocalServer::start(|request, before, stream| {
        if before == 0 {
            respond_in_part(stream, request, &file(), 90_000);
            let _ = stream.flush();
            thread::sleep(Duration::from_secs(5));
        } else {
            respond_well(stream, request, &file());
        }
    });
    let (place, wanted) = (Place::new(), wanted(&[&server.url]));
    patient().fetch(&wanted, &place.target()).expect("the second connection continues");
    place.check_whole();
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].from.is_some_and(|from| from > 0), "it continues where it was");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = LocalServer::start(|_, _, _| thread::sleep(Duration::from_secs(20)));
    let message = failure(&Place::new(), &wanted(&[&server.url]));
    assert!(message.contains("no answer") && message.contains("3 attempts"), "{message}");
}

#[test]
fn a_busy_server_is_asked_again_and_a_missing_file_is_not() {
    let busy = LocalServer::start(|request, before, stream| match before {
        0 | 1 => respond(stream, "503 Service Unavailable", &["Content-Length: 0"], b""),
        _ => respond_well(stream, request, &file()),
    });
    let place = Place::new();
    patient().fetch(&wanted(&[&busy.url]), &place.target()).expect("the third time");
    place.check_whole();
    let empty = LocalServer::start(|_, _, stream| {
        respond(stream, "404 Not Found", &["Content-Length: 0"], b"");
    });
    let message = failure(&Place::new(), &wanted(&[&empty.url]));
    assert!(message.contains("404"), "{message}");
    assert_eq!(empty.requests().len(), 1);
    let closed = LocalServer::start(|_, _, stream| {
        respond(stream, "401 Unauthorized", &["Content-Length: 0"], b"");
    });
    let message = failure(&Place::new(), &wanted(&[&closed.url]));
    assert!(message.contains("account"), "{message}");
}

#[test]
fn without_a_network_the_message_says_what_to_do() {
    // A port that was free a moment ago: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let url = format!("http://{}/model.pt", port.expect("a port"));
    let place = Place::new();
    let message = failure(&place, &wanted(&[&url]));
    for part in [url.as_str(), "hint:", "--mirror", "--verify-only", "model.pt"] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
}

const PAGE: &str = r#"<!DOCTYPE html><html><body><form id="download-form" action="/download" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="abc">
<input type="hidden" name="confirm" value="t&amp;x"></form></body></html>"#;

#[test]
fn a_page_that_asks_to_confirm_is_confirmed() {
    let server = LocalServer::start(|request, _, stream| {
        if request.path.starts_with("/download?") {
            respond_in_part(stream, request, &file(), 180_000);
        } else {
            respond(stream, "200 OK", &["Content-Type: text/html; charset=utf-8"], PAGE.as_bytes());
        }
    });
    let (place, wanted) = (Place::new(), wanted(&[&format!("{}/uc?id=abc", server.url)]));
    patient().fetch(&wanted, &place.target()).expect("it is confirmed");
    place.check_whole();
    assert_eq!(server.requests()[1].path, "/download?id=abc&confirm=t%26x");
}

#[test]
fn any_other_page_is_no_file() {
    let server = LocalServer::start(|_, _, stream| {
        respond(stream, "200 OK", &["Content-Type: text/html"], b"<html>Quota exceeded</html>");
    });
    let message = failure(&Place::new(), &wanted(&[&server.url]));
    assert!(message.contains("web page"), "{message}");
    let again = LocalServer::start(|_, _, stream| {
        respond(stream, "200 OK", &["Content-Type: text/html"], PAGE.as_bytes());
    });
    let message = failure(&Place::new(), &wanted(&[&again.url]));
    assert!(message.contains("led to the next"), "{message}");
}

#[test]
fn the_confirmation_keeps_the_forms_address() {
    let page = PAGE.replace("/download\"", "https://drive.usercontent.google.com/download\"");
    let url = drive::confirmed_url(&page, &drive::url("abc"));
    let expected = "https://drive.usercontent.google.com/download?id=abc&confirm=t%26x";
    assert_eq!(url.as_deref(), Some(expected));
}

#[test]
fn verifying_fetches_nothing_and_names_what_is_wrong() {
    let (place, wanted) = (Place::new(), wanted(&["http://127.0.0.1:9/never"]));
    let check = || patient().verify(&wanted, &place.target()).map_err(|error| error.to_string());
    let message = check().expect_err("it is not there");
    assert!(message.contains("model.pt"), "{message}");
    fs::write(place.target(), file()).expect("a file");
    assert_eq!(check(), Ok(State::Verified));
    let mut changed = file();
    changed[1000] ^= 1;
    fs::write(place.target(), &changed).expect("a file");
    let message = check().expect_err("a bit is wrong");
    assert!(message.contains("SHA-256") && message.contains("model.pt"), "{message}");
    fs::write(place.target(), &changed[1..]).expect("a file");
    let message = check().expect_err("a byte is missing");
    assert!(message.contains("299999 bytes instead of 300000"), "{message}");
}

fn options(into: &Path, hub: &str) -> Options {
    Options {
        into: Some(into.to_owned()),
        verify_only: false,
        mirror: Vec::new(),
        hub: hub.to_owned(),
    }
}

#[test]
fn without_a_published_checksum_the_first_one_counts() {
    let server = LocalServer::start(|request, _, stream| respond_well(stream, request, &file()));
    let place = Place::new();
    let hub = |verify_only| {
        let options = Options { verify_only, ..options(place.folder.path(), &server.url) };
        let what = What::Hub {
            repository: "laion/some-clip".to_owned(),
            files: vec!["sub/model.pt".to_owned()],
            revision: "refs/pr/1".to_owned(),
            options,
        };
        fetch(&what, &patient()).map_err(|error| error.to_string())
    };
    let lines = hub(false).expect("it is fetched");
    assert!(lines[0].contains("was recorded"), "{lines:?}");
    assert_eq!(server.requests()[0].path, "/laion/some-clip/resolve/refs%2Fpr%2F1/sub/model.pt");
    assert!(hub(true).expect("it is the same")[0].contains("is the same"));
    let target = place.folder.path().join("laion--some-clip/model.pt");
    fs::write(target, b"changed").expect("a file");
    assert!(hub(true).expect_err("it was changed").contains("SHA-256"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn published_weights_come_from_their_places_in_their_formats() {
    let hub = "https://hub.example";
    let urls = |model, format| -> Vec<String> {
        let files = sources::weights(model, format, hub).expect("it is known");
        assert!(files.iter().all(|file| file.sha256.as_ref().is_some_and(|sum| sum.len() == 64)));
        files.into_iter().flat_map(|file| file.urls).collect()
    };
    for model in ["ViT-B/16", "ViT-B/32", "ViT-L/14"] {
        let url = urls(model, WeightsFormat::Pt).remove(0);
        assert!(url.ends_with(&format!("/{}.pt", model.replace('/', "-"))), "{url}");
    }
    assert_eq!(
        urls("ViT-B/16", WeightsFormat::Onnx),
        ["text", "vision"].map(|tower| format!(
            "{hub}/Xenova/clip-vit-base-patch16/resolve/main/onnx/{tower}_model.onnx"
        ))
    );
    assert_eq!(
        urls("ViT-B/16", WeightsFormat::Safetensors),
        [format!("{hub}/openai/clip-vit-base-patch16/resolve/refs%2Fpr%2F10/model.safetensors")]
    );
    let error = sources::weights("RN50", WeightsFormat::Pt, hub).expect_err("it is not known");
    assert!(error.to_string().contains("ViT-L/14 --format pt"), "{error}");
}

#[test]
fn a_whole_fetch_refuses_what_is_not_the_published_file() {
    let server = LocalServer::start(|request, _, stream| respond_well(stream, request, &file()));
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(folder.path(), &server.url);
    options.mirror = vec![format!("{}/mirror/", server.url)];
    let what =
        What::Weights { model: "ViT-B/16".to_owned(), format: WeightsFormat::Safetensors, options };
    let message = fetch(&what, &patient()).expect_err("the bytes are not the published ones");
    assert!(message.to_string().contains("other bytes"), "{message}");
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[0], "/mirror/ViT-B-16-model.safetensors", "mirrors come first");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left");
}

#[test]
fn a_checkpoint_is_taken_out_of_its_archive() {
    let folder = tempfile::tempdir().expect("a folder");
    let (packed, target) = (folder.path().join("a.zip"), folder.path().join("coop.pth"));
    let (_, member) = sources::coop().expect("a place");
    let mut writer = zip::ZipWriter::new(fs::File::create(&packed).expect("a file"));
    let method = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    writer.start_file(&member, method).expect("a record");
    writer.write_all(&[42; 1000]).expect("a record");
    writer.finish().expect("an archive");
    archive::take_member(&packed, &member, &target).expect("it is in there");
    assert_eq!(fs::read(&target).expect("a file"), [42; 1000]);
    let error = archive::take_member(&packed, "seed9/model", &target).expect_err("it is not there");
    assert!(error.to_string().contains("seed9/model"), "{error}");
    fs::write(&packed, b"no archive").expect("a file");
    let error = archive::take_member(&packed, &member, &target).expect_err("it is damaged");
    assert!(error.to_string().contains("a.zip"), "{error}");
}

/// A tar file with the files `set/0.jpg` and so on.
fn set_archive(files: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for index in 0..files {
        let contents = file()[index * 100..][..50_000].to_vec();
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        let name = format!("set/{index}.jpg");
        builder.append_data(&mut header, name, &*contents).expect("memory");
    }
    builder.into_inner().expect("memory")
}

fn datasets_args(into: &Path, names: &[&str]) -> DatasetsArgs {
    DatasetsArgs {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        into: into.to_owned(),
        from: None,
        any_sum: false,
        verify_only: false,
        keep_archives: false,
        mirror: Vec::new(),
    }
}

#[test]
fn a_test_set_is_fetched_in_pieces_unpacked_and_found_in_place() {
    let archive = set_archive(8);
    let sent = archive.clone();
    // Three connections break; the second one is a redirect, the fourth ends the file.
    let server = LocalServer::start(move |request, before, stream| match before {
        0 | 2 | 3 => respond_in_part(stream, request, &sent, 100_000),
        1 => respond(stream, "302 Found", &["Location: /elsewhere", "Content-Length: 0"], b""),
        _ => respond_well(stream, request, &sent),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let set = datasets::Archive::of("set.tar", &format!("{}/set.tar", server.url), &hex(&archive));
    let args = datasets_args(folder.path(), &["set"]);
    let line = set.fetch(&args, &patient()).expect("it is fetched");
    assert!(line.contains("SHA-256 as published") && line.contains("8 files"), "{line}");
    assert!(fs::read(folder.path().join("x/set/7.jpg")).is_ok_and(|file| file.len() == 50_000));
    assert!(!folder.path().join("archives/set.tar").exists(), "it needs no place any more");

    let requests = server.requests().len();
    let line = set.fetch(&args, &patient()).expect("it is in place");
    assert!(line.contains("is in place (8 files)"), "{line}");
    assert_eq!(server.requests().len(), requests, "nothing is fetched again");
    // A repair may move files; it must not make them look lost.
    fs::create_dir(folder.path().join("x/set/class")).expect("a folder");
    fs::rename(folder.path().join("x/set/5.jpg"), folder.path().join("x/set/class/5.jpg"))
        .expect("a file");
    set.fetch(&args, &patient()).expect("it is in place");
    fs::write(folder.path().join("x/set/3.jpg"), "cut").expect("a file");
    let verify = DatasetsArgs { verify_only: true, ..args };
    let message = set.fetch(&verify, &patient()).expect_err("a file is gone").to_string();
    assert!(message.contains("1 of 8 files") && message.contains("`set/3.jpg`"), "{message}");
}

#[test]
fn a_test_set_with_other_bytes_is_not_unpacked() {
    let archive = set_archive(2);
    let server = LocalServer::start(move |request, _, stream| {
        respond_well(stream, request, &archive);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("{}/set.tar", server.url);
    let set = datasets::Archive::of("set.tar", &url, &hex(b"others"));
    let args = datasets_args(folder.path(), &["set"]);
    let message = format!("{:#}", set.fetch(&args, &patient()).expect_err("other bytes"));
    assert!(message.contains("SHA-256"), "{message}");
    assert!(!folder.path().join("x").exists(), "nothing is unpacked");

    // The same from a file.
    let file = folder.path().join("copy.tar");
    fs::write(&file, set_archive(2)).expect("a file");
    let from = DatasetsArgs { from: Some(file.clone()), ..args };
    let message = format!("{:#}", set.fetch(&from, &patient()).expect_err("other bytes"));
    assert!(message.contains("--any-sum"), "{message}");
    let any = DatasetsArgs { any_sum: true, ..from };
    let line = set.fetch(&any, &patient()).expect("it is taken");
    assert!(line.contains("checksum not compared") && file.exists(), "{line}");
}

#[test]
fn sets_without_a_host_say_what_to_get() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, word) in
        [("I", "image-net.org"), ("cars", "ai.stanford.edu"), ("sun397", "princeton")]
    {
        let args = datasets_args(folder.path(), &[name]);
        let message = datasets::fetch(&args, &patient()).expect_err("no host").to_string();
        for part in [word, "SHA-256", "bytes", "--from FILE"] {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
    for (names, problem) in [(&["nothing"][..], "known are"), (&["C/mist"], "not a part")] {
        let args = datasets_args(folder.path(), names);
        let message = datasets::fetch(&args, &patient()).expect_err("no such set").to_string();
        assert!(message.contains(problem), "{message}");
    }
    assert_eq!(datasets::archives("c").expect("five archives").len(), 5);
    assert_eq!(datasets::archives("C/noise").expect("one archive").len(), 1);
}
