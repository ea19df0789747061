//! A hub for tests: one server thread on this machine with files, ranges, and faults on order.
#![allow(unreachable_pub)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Clone, Default)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By path in the repository: content and tag.
    files: HashMap<String, (Vec<u8>, String)>,
    /// Bytes after which the next replies break off.
    breaks: Vec<usize>,
    /// Refuse everything from now on.
    down: bool,
    /// Every request: method, path and range.
    log: Vec<String>,
}

impl Hub {
    /// Starts the server and gives its address.
    pub fn start() -> (Self, String) {
        let hub = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = hub.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = server.answer(stream);
            }
        });
        (hub, address)
    }

    pub fn put(&self, path: &str, content: &[u8], tag: &str) {
        self.state.lock().unwrap().files.insert(path.into(), (content.to_vec(), tag.into()));
    }

    pub fn break_after(&self, bytes: &[usize]) {
        self.state.lock().unwrap().breaks = bytes.iter().rev().copied().collect();
    }

    pub fn down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// The requests since the last call.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut range = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(from) = header.strip_prefix("range: bytes=") {
                range = from.trim_end_matches('-').parse::<usize>().ok();
            }
        }
        let mut state = self.state.lock().unwrap();
        state.log.push(format!("{method} {path} {}", range.map_or("-".into(), |r| r.to_string())));
        if state.down {
            return write!(stream, "HTTP/1.1 503 Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        if path.starts_with("/api/models/o/r/revision/") {
            let names: Vec<_> = state.files.keys().map(|n| serde_json::json!({ "rfilename": n })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": names }).to_string();
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        // Large files are redirected to another address, as the hub does: first /o/r/resolve/main/x, then /cdn/x.
        let (name, redirect) = match (path.strip_prefix("/o/r/resolve/main/"), path.strip_prefix("/cdn/")) {
            (Some(name), _) => (name.to_owned(), name.ends_with(".gguf")),
            (_, Some(name)) => (name.to_owned(), false),
            _ => (String::new(), false),
        };
        let Some((content, tag)) = state.files.get(&name).cloned() else {
            return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        if redirect {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: /cdn/{name}\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                content.len()
            );
        }
        let start = range.unwrap_or(0).min(content.len());
        let body = &content[start..];
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let mut head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n",
            body.len()
        );
        if range.is_some() {
            head += &format!("Content-Range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
        }
        let stop = if method == "GET" && path.starts_with("/cdn/") { state.breaks.pop() } else { None };
        drop(state);
        write!(stream, "{head}\r\n")?;
        if method == "GET" {
            stream.write_all(&body[..stop.unwrap_or(body.len()).min(body.len())])?;
        }
        Ok(())
    }
}
