//! Connections with clients that are silent, slow or gone. The limits are short; no test says how short.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use edge_reranker::server::{self, Api, Limits, Options};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::fake::{Fake, api, until};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(600);

struct Served {
    api: Arc<Api>,
    address: SocketAddr,
    signal: mpsc::Sender<()>,
    end: JoinHandle<bool>,
}

/// None of the limits counts.
fn patient() -> Limits {
    Limits { connections: 100, drain: LONG, silent: LONG, head: LONG, unread: LONG, half_closed: LONG }
}

async fn served(fake: &Fake, limits: Limits) -> Served {
    served_with(fake, limits, Options::default()).await
}

async fn served_with(fake: &Fake, limits: Limits, options: Options) -> Served {
    let api = api(Options { load_wait: LONG, ..options }, fake);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (signal, signals) = mpsc::channel(2);
    let serving = api.clone();
    let end = tokio::spawn(async move { server::serve(listener, &serving, signals, &limits).await });
    Served { api, address, signal, end }
}

impl Served {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    fn say(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text); // a reset is an end, too
    String::from_utf8(text).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

fn post() -> String {
    let body = r#"{"query":"red","documents":["red"]}"#;
    format!("POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_or_half_of_it_are_closed() {
    let silent = served(&Fake::default(), Limits { silent: SHORT, ..patient() }).await;
    assert_eq!(rest(silent.connect()), "");
    let slow = served(&Fake::default(), Limits { head: SHORT, ..patient() }).await;
    assert_eq!(rest(slow.say("GET /ping HTTP/1.1\r\nhost:")), "");
    assert!(
        rest(slow.say("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")).starts_with("HTTP/1.1 200"),
        "kept, and then closed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let served = served(&Fake::default(), Limits { unread: SHORT, ..patient() }).await;
    let many = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000); // 90 MB of answers: more than systems take
    let mut unread = served.connect();
    let mut other = unread.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let _ = unread.write_all(many.as_bytes());
    });
    let mut first = [0];
    other.read_exact(&mut first).unwrap();
    served.signal.send(()).await.unwrap();
    assert!(!served.end.await.unwrap(), "nothing was cut off that somebody waited for");
    let answers = rest(other).matches("HTTP/1.1 200").count();
    assert!(answers < 1000, "{answers}");
    writer.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait_for_others_to_end() {
    let served = served(&Fake::default(), Limits { connections: 1, ..patient() }).await;
    let first = served.connect();
    let second = served.say(&get("/ping"));
    second.set_read_timeout(Some(SHORT)).unwrap();
    assert!((&second).read(&mut [0]).is_err(), "an answer while the first one is there");
    second.set_read_timeout(None).unwrap();
    drop(first);
    assert!(rest(second).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_is_a_limit_of_connections() {
    let served = served(&Fake::default(), Limits { connections: usize::MAX, ..patient() }).await;
    let mut answer = [0; 12];
    served.say(&get("/ping")).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_said_all_gets_its_answer_and_one_that_is_gone_is_given_up() {
    let fake = Fake::default();
    let waits = served(&fake, patient()).await;
    fake.door.shut();
    let half = waits.say(&post());
    half.shutdown(Shutdown::Write).unwrap();
    until(&waits.api, "busy 1").await;
    fake.door.open();
    assert!(rest(half).starts_with("HTTP/1.1 200"));

    let fake = Fake::default();
    let quick = served(&fake, Limits { half_closed: SHORT, ..patient() }).await;
    fake.door.shut();
    let gone = quick.say(&post());
    until(&quick.api, "busy 1").await;
    drop(gone);
    until(&quick.api, "requests_total{dialect=\"canonical\",status=\"499\"} 1").await;
    until(&quick.api, "busy 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_ends_a_server_says_so_and_sends_new_work_away() {
    let fake = Fake::default();
    let served = served(&fake, patient()).await;
    fake.door.shut();
    let held = served.say(&post());
    until(&served.api, "busy 1").await;
    let idle = served.connect();
    let half = served.say("GET /ping HTTP/1.1\r\nhost:");
    served.signal.send(()).await.unwrap();
    loop {
        let health = rest(served.say(&get("/health")));
        if health.starts_with("HTTP/1.1 503") && health.contains("draining") {
            break;
        }
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }
    let refused = rest(served.say(&post().replace("host: x", "host: x\r\nconnection: close")));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"), "{refused}");
    fake.door.open();
    assert!(rest(held).starts_with("HTTP/1.1 200"));
    assert!(!served.end.await.unwrap());
    assert_eq!((rest(idle), rest(half)), (String::new(), String::new()));
    assert!(TcpStream::connect(served.address).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_longer_than_the_end_may_take_is_cut_off() {
    let fake = Fake::default();
    let served = served(&fake, Limits { drain: SHORT, ..patient() }).await;
    fake.door.shut();
    let held = served.say(&post());
    until(&served.api, "busy 1").await;
    served.signal.send(()).await.unwrap();
    assert!(served.end.await.unwrap());
    drop(held);
    fake.door.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_too_much_can_read_that_it_was_too_much() {
    let keys = Options { api_keys: vec!["k".into()], ..Options::default() };
    for (options, status) in [(Options::default(), "413"), (keys, "401")] {
        let served = served_with(&Fake::default(), patient(), options).await;
        let mut stream = served.connect();
        let size = 24 << 20;
        write!(stream, "POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n").unwrap();
        for _ in 0..size >> 20 {
            stream.write_all(&[b' '; 1 << 20]).unwrap();
        }
        // The connection is as good as before.
        stream.write_all(get("/ping").as_bytes()).unwrap();
        let text = rest(stream);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains("HTTP/1.1 200"), "{text}");
        // One that asks first is told before it sends anything.
        let head =
            format!("POST /v1/rerank HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n");
        assert!(rest(served.say(&head)).starts_with(&format!("HTTP/1.1 {status}")));
    }
}
