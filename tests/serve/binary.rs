//! The real binary with the built-in model, over real connections.
#![cfg(all(feature = "cli", unix))]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_edge-reranker");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("HF_HUB_OFFLINE", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EDGE_RERANKER_")) {
        command.env_remove(name);
    }
    command
}

/// A server of one test's own.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_at("0", arguments)
    }

    fn start_at(port: &str, arguments: &[&str]) -> Self {
        let all = [&["serve", "--port", port, "--threads", "1", "--quiet"], arguments].concat();
        let mut child = command(&all).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let server = Self { child, url: url.trim().into() };
        while server.get("/health").0 != 200 {
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn get(&self, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut reply = ureq::Agent::new_with_config(config).get(format!("{}{path}", self.url)).call().unwrap();
        (reply.status().as_u16(), reply.body_mut().read_to_string().unwrap())
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").into()
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    /// Sends a request on a connection of its own.
    fn send(&self, body: &Value) -> TcpStream {
        send(&self.address(), body).unwrap()
    }

    fn until(&self, line: &str) {
        while !self.get("/metrics").1.lines().any(|l| l == format!("edge_reranker_{line}")) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_draining(&self) {
        while self.get("/health").0 == 200 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(address: &str, body: &Value) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let body = body.to_string();
    let head =
        format!("POST /v1/rerank HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes())?;
    Ok(stream)
}

/// Status and body.
fn read(stream: TcpStream) -> (u16, Value) {
    try_read(stream).expect("a whole answer")
}

/// The same, of a server that may end at any moment.
fn try_read(mut stream: TcpStream) -> Option<(u16, Value)> {
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

fn small(n: usize) -> Value {
    let documents: Vec<String> = (0..3 + n % 4)
        .map(|i| format!("Document {i} of client {n} is about rivers{}", " and trains".repeat(n % 6)))
        .collect();
    json!({ "query": format!("What does client {} ask?", n % 9), "documents": documents })
}

/// Work for some seconds.
fn large() -> Value {
    long(400)
}

fn long(documents: usize) -> Value {
    let documents: Vec<String> =
        (0..documents).map(|n| format!("number {n} {}", "of many words ".repeat(60))).collect();
    json!({ "query": "What takes long?", "documents": documents })
}

fn results(reply: &(u16, Value)) -> Value {
    assert_eq!(reply.0, 200, "{}", reply.1);
    reply.1["results"].clone()
}

#[test]
fn scores_are_the_same_in_whatever_company() {
    let alone = Server::start(&["--cache", "0", "--prefix-cache", "0"]);
    let wanted: Vec<Value> = (0..24).map(|n| results(&read(alone.send(&small(n))))).collect();
    for arguments in [&["--cache", "0"][..], &["--cache", "0", "--batch-tokens", "60"], &["--prefix-cache", "40kB"]] {
        let server = Server::start(arguments);
        let large = server.send(&large());
        server.until("busy 1");
        // All of these wait for the first batch, and then go together.
        let all: Vec<TcpStream> = (0..24).map(|n| server.send(&small(n))).collect();
        for (n, stream) in all.into_iter().enumerate() {
            assert_eq!(results(&read(stream)), wanted[n], "client {n}, {arguments:?}");
        }
        drop(large);
        server.until("busy 0");
        for (n, wanted) in wanted.iter().enumerate() {
            assert_eq!(results(&read(server.send(&small(n)))), *wanted, "client {n} again, {arguments:?}");
        }
    }
}

#[test]
fn the_answer_is_that_of_the_verb_rank() {
    let server = Server::start(&[]);
    let texts = ["Bananas are yellow.", "Beijing is the capital of China.", ""];
    let arguments = ["rank", "--format", "json", "--quiet", "--query", "What is the capital of China?"];
    let output = command(&[&arguments[..], &texts].concat()).output().unwrap();
    let ranked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let body = json!({ "query": "What is the capital of China?", "documents": texts });
    let served = read(server.send(&body)).1;
    assert!(served["results"][0]["tokens"].as_u64() > Some(0));
    for field in ["object", "model", "results", "data", "usage", "meta"] {
        assert_eq!(served[field], ranked[field], "{field}");
    }
}

#[test]
fn sigterm_lets_requests_end_and_takes_no_more() {
    let server = Server::start(&[]);
    let mut idle = server.connect();
    let large = server.send(&large());
    server.until("busy 1");
    server.signal("-TERM");
    server.until_draining();
    assert_eq!(read(server.send(&small(1))).1["error"]["code"], "draining");
    assert_eq!(results(&read(large)).as_array().unwrap().len(), 400);
    assert_eq!(server.end().code(), Some(0));
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_is_not_done_when_the_time_to_end_is_over_is_cut_off() {
    let server = Server::start(&["--drain-timeout", "0.2"]);
    let large = server.send(&long(1000));
    server.until("busy 1");
    server.signal("-TERM");
    assert_eq!(server.end().code(), Some(130));
    assert_eq!(try_read(large), None);
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Server::start(&[]);
    let mut large = server.send(&large());
    server.until("busy 1");
    // The second is sent when the first was heard: signals that come together are one.
    server.signal("-INT");
    server.until_draining();
    server.signal("-INT");
    assert_eq!(server.end().code(), Some(130));
    let mut rest = Vec::new();
    let _ = large.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn a_connection_that_breaks_stops_its_work() {
    let server = Server::start(&[]);
    let large = server.send(&long(1000)); // it counts as gone after a second
    server.until("busy 1");
    drop(large);
    server.until("busy 0");
    server.until("requests_total{dialect=\"canonical\",status=\"499\"} 1");
    assert_eq!(read(server.send(&small(1))).0, 200);
}

#[test]
fn clients_that_try_again_get_their_scores_though_the_server_is_killed() {
    let mut server = Server::start(&["--max-queue", "2", "--cache", "0"]);
    let address = server.address();
    let wanted: Vec<Value> = (0..24).map(|n| results(&read(server.send(&small(n))))).collect();
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..8 {
            let (wanted, address, answered) = (&wanted, &address, &answered);
            scope.spawn(move || {
                for turn in 0..24 {
                    let n = (client * 5 + turn) % 24;
                    loop {
                        match send(address, &small(n)).ok().and_then(try_read) {
                            Some((200, reply)) => {
                                assert_eq!(reply["results"], wanted[n], "client {client}, request {n}");
                                answered.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            Some((status, reply)) => assert!([429, 503].contains(&status), "{status}: {reply}"),
                            None => {}
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        for kill in 1..4 {
            while answered.load(Ordering::Relaxed) < kill * 40 {
                thread::sleep(Duration::from_millis(1));
            }
            server.signal("-KILL");
            server.child.wait().unwrap();
            server = Server::start_at(address.rsplit(':').next().unwrap(), &["--max-queue", "2", "--cache", "0"]);
        }
    });
    assert_eq!(answered.into_inner(), 8 * 24);
}

#[test]
fn connections_that_send_garbage_harm_nobody() {
    let server = Server::start(&[]);
    for garbage in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\r\n\r\n",
        b"POST /v1/rerank HTTP/1.1\r\ncontent-length: 9999\r\n\r\n{\"q",
        &[b'A'; 100_000],
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(garbage); // it may be closed half way
        drop(stream);
    }
    let mut stream = server.connect();
    stream
        .write_all(b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n")
        .unwrap();
    assert_eq!(read(stream).0, 413);
    assert_eq!(read(server.send(&small(1))).0, 200);
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, code, words) in [
        (&["--port", &port][..], 2, "cannot listen"),
        (&["--model", "nowhere.gguf"], 2, "nowhere.gguf"),
        (&["--model", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], 4, "Cargo.toml"),
        (&["--device", "cuda"], 3, "CUDA"),
        (&["--api-key", ""], 2, "--api-key"),
        (&["--base-path", "api"], 2, "a path like /api"),
        (&["--max-body", "8XB"], 2, "--max-body"),
        (&["--max-documents", "0"], 2, "--max-documents"),
        (&["--max-body", "0"], 2, "from 1kB"),
        (&["--max-body", "2GB"], 2, "to 1GB"),
        (&["--max-bodies", "1MB"], 2, "--max-body"),
        (&["--max-connections", "0"], 2, "--max-connections"),
        (&["--max-connections", "2305843009213693952"], 2, "--max-connections"),
        (&["--max-length", "10"], 2, "--max-length"),
        (&["--prefix-cache", "99999GB"], 2, "--prefix-cache"),
        (&["--cors-origin", "https://shop.example/cart"], 2, "https://example.org"),
        (&["--host", "every where"], 2, "--host"),
        (&["--port", "65536"], 2, "--port"),
        (&["--timeout=-1"], 2, "--timeout"),
    ] {
        let output = command(&[&["serve"], arguments].concat())
            .env("EDGE_RERANKER_PORT", "0")
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
        // Nobody is told an address at which there is nothing to come. What a file holds is known later.
        assert!(code == 4 || output.stdout.is_empty(), "{arguments:?}: {:?}", output.stdout);
    }
}

#[test]
fn the_log_has_a_line_of_json_a_request_and_no_text_of_it() {
    let all = ["serve", "--port", "0", "--threads", "1", "--log-format", "json", "--quiet", "--max-tokens", "200"];
    let mut child = command(&all).stderr(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let server = Server { child, url: url.trim().into() };
    server.until("ready 1");
    let body = json!({ "query": "secret question", "documents": ["secret text", "another secret"] });
    assert_eq!(read(server.send(&body)).0, 200);
    assert_eq!(read(server.send(&json!({ "query": "secret question", "documents": "secret" }))).0, 400);
    assert_eq!(read(server.send(&json!({ "query": "secret question", "documents": ["secret ".repeat(150)] }))).0, 413);
    let mut stream = server.connect();
    let (head, body) = ("POST /tokenize HTTP/1.1\r\nhost: x\r\nconnection: close", body.to_string());
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let ids = read(stream).1["ids"].as_array().unwrap().iter().map(|ids| ids.as_array().unwrap().len()).sum::<usize>();
    server.signal("-TERM");
    let mut server = server;
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains("secret"), "{log}");
    let mut lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let tokenized = lines.pop().unwrap();
    assert_eq!((&tokenized["documents"], &tokenized["tokens"]), (&json!(2), &json!(ids)));
    let told: Vec<(Value, Value, Value, Value)> =
        lines.iter().map(|l| ["status", "path", "documents", "dialect"].map(|name| l[name].clone()).into()).collect();
    let path = json!("/v1/rerank");
    assert_eq!(
        told,
        [(200, 2), (400, 0), (413, 1)].map(|(status, n)| (json!(status), path.clone(), json!(n), json!("canonical")))
    );
    let figure = |line: usize, name: &str| lines[line][name].as_u64().unwrap();
    assert!((4..60).contains(&figure(0, "computed_tokens")), "{log}");
    assert_eq!((figure(2, "tokens") > 200, figure(2, "computed_tokens")), (true, 0), "{log}");
    for name in ["time", "level", "request_id", "method", "tokens", "queue_ms", "compute_ms", "total_ms"] {
        assert!(!lines[0][name].is_null(), "{name}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let all = ["serve", "--port", "0", "--threads", "1", "--log-format", "json", "--quiet"];
    let mut child = command(&all).stderr(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let mut server = Server { child, url: url.trim().into() };
    let path = format!("/{}", "x".repeat(4000));
    for _ in 0..500 {
        assert_eq!(server.get(&path).0, 404);
    }
    server.signal("-TERM");
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!((200..500).contains(&lines.len()), "a pipe and a megabyte of them: {}", lines.len());
    let (lost, kept) = lines.split_last().unwrap();
    let lost: usize = lost["message"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(kept.len() + lost, 500);
}

#[test]
fn a_name_is_as_good_as_an_address() {
    let server = Server::start(&["--host", "localhost", "--cors-origin", "HTTPS://Shop.example:443/"]);
    let mut reply =
        ureq::get(format!("{}/v1/models", server.url)).header("origin", "https://shop.example").call().unwrap();
    assert!(reply.body_mut().read_to_string().unwrap().contains("mini"));
    assert_eq!(reply.headers()["access-control-allow-origin"], "https://shop.example");
}

#[test]
#[cfg(target_os = "linux")]
fn a_body_takes_little_more_memory_than_its_bytes() {
    let server = Server::start(&[]);
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
    };
    assert_eq!(read(server.send(&small(1))).0, 200);
    let before = peak();
    for (head, one, tail, status) in [
        (r#"{"query":"a","documents":["b"],"x":["#, r#"{"a":1},"#, "0]}", 200),
        (r#"{"query":"a","documents":["#, r#"{"text":""},"#, r#""b"]}"#, 413),
        (r#"{"query":"a","documents":["#, "[],", r#""b"]}"#, 400),
    ] {
        let body = head.to_owned() + &one.repeat((8 << 20) / one.len() - 20) + tail;
        let mut stream = server.connect();
        let head = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(("POST /v1/rerank HTTP/1.1\r\nhost: x\r\n".to_owned() + &head + &body).as_bytes()).unwrap();
        let reply = read(stream);
        assert_eq!(reply.0, status, "{}", reply.1);
    }
    let more = peak() - before;
    assert!(more < 64, "{more} MB more");
}
