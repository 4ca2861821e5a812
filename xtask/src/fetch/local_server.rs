//! A web server on 127.0.0.1 that misbehaves as told, for the tests of downloads.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// First byte of the range that was asked for.
    pub from: Option<u64>,
}

/// A server that runs until the test program ends.
pub struct LocalServer {
    /// Such as `http://127.0.0.1:1234`.
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl LocalServer {
    /// Answers each request by `answer`, which is told how many came before.
    pub fn start(answer: impl Fn(&Request, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    let Some(request) = read_request(&stream) else { return };
                    let before = {
                        let mut seen = seen.lock().expect("no test panics while it holds this");
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    answer(&request, before, &mut stream);
                });
            }
        });
        Self { url, requests }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics while it holds this").clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut from = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().and_then(|start| start.parse().ok());
        }
    }
    Some(Request { path, from })
}

/// An answer with headers; the connection is closed after it.
pub fn respond(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    head.push_str("\r\n");
    // A client that has gone away is what some tests are about.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// A good answer, of which only the first `sent` bytes are sent.
pub fn respond_in_part(stream: &mut TcpStream, request: &Request, file: &[u8], sent: usize) {
    let from = request.from.unwrap_or(0) as usize;
    let rest = &file[from.min(file.len())..];
    let sent = &rest[..sent.min(rest.len())];
    let length = format!("Content-Length: {}", rest.len());
    if request.from.is_some() {
        let range = format!("Content-Range: bytes {from}-{}/{}", file.len() - 1, file.len());
        respond(stream, "206 Partial Content", &[&length, &range], sent);
    } else {
        respond(stream, "200 OK", &[&length], sent);
    }
}

/// A good answer.
pub fn respond_well(stream: &mut TcpStream, request: &Request, file: &[u8]) {
    respond_in_part(stream, request, file, usize::MAX);
}
