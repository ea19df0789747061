//! The API over time: company, queues, clients that leave, engines that fail. No test waits for a clock to be right: doors decide what happens when.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use edge_reranker::{
    Error, ErrorKind,
    server::{Api, Engine, Options},
};
use futures::{StreamExt, stream};
use hyper::Request;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fake::{Fake, Reply, api, get, id, post, send, until, value};

const P: &str = "/v1/rerank";

fn quiet() -> Options {
    Options { load_wait: Duration::from_secs(60), ..Options::default() }
}

fn ask(query: &str, documents: &[String]) -> Request<Body> {
    post(P, &json!({ "query": query, "documents": documents }))
}

fn simple(query: &str) -> Request<Body> {
    ask(query, &["green apple".into(), "red apple".into()])
}

fn spawn(api: &Arc<Api>, request: Request<Body>, peer: Option<SocketAddr>) -> JoinHandle<Reply> {
    let api = api.clone();
    tokio::spawn(async move { send(&api, request, peer).await })
}

fn peer(n: u8) -> Option<SocketAddr> {
    Some(([10, 0, 0, n], 1).into())
}

/// Holds the engine with a request of its own, until the door opens.
async fn hold(api: &Arc<Api>, fake: &Fake) -> JoinHandle<Reply> {
    fake.door.shut();
    let held = spawn(api, simple("blocker"), None);
    until(api, "busy 1").await;
    held
}

/// Request n has documents with so many of its own query's words that every score is its own.
fn known(n: usize) -> (String, Vec<String>, Vec<f64>) {
    let query = format!("client-{n:04}");
    let documents: Vec<String> = (0..=n % 5).map(|i| format!("{query} ").repeat(i + 1) + &"x ".repeat(n % 7)).collect();
    let scores = (0..=n % 5).map(|i| (i + 2) as f64 / (i + 1 + n % 7 + 2) as f64).collect();
    (query, documents, scores)
}

fn check_known(n: usize, reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let scores = known(n).2;
    let json = reply.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), scores.len(), "request {n}");
    for one in results {
        let wanted = scores[one["index"].as_u64().unwrap() as usize];
        assert!(
            (one["relevance_score"].as_f64().unwrap() - wanted).abs() < 1e-6,
            "request {n}: {one}, wanted {wanted}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_share_a_batch_and_get_their_own_scores() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let held = hold(&api, &fake).await;
    let all: Vec<_> = (0..20).map(|n| (n, spawn(&api, ask(&known(n).0, &known(n).1), peer(n as u8)))).collect();
    let rows = |n: usize| 2 + (0..=n % 5).map(|i| i + 1 + n % 7 + 1).sum::<usize>(); // a start, the query, and documents with an end each
    let blocker = 8;
    until(&api, &format!("queue_tokens {}", blocker + (0..20).map(rows).sum::<usize>())).await;
    fake.door.open();
    for (n, one) in all {
        check_known(n, &one.await.unwrap());
    }
    assert_eq!(held.await.unwrap().status, 200);
    let calls = fake.calls.lock().unwrap();
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [1, 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_mixed_up_when_many_ask_and_some_leave() {
    let fake = Fake::default();
    let api = api(Options { max_queue: 8, cache: 50, retry_after: 0, ..quiet() }, &fake);
    let (query, documents, _) = known(0);
    check_known(0, &send(&api, ask(&query, &documents), peer(0)).await); // the engine is there: while it is loaded no more than eight may wait
    let mut tasks = Vec::new();
    for client in 0..16_usize {
        let api = api.clone();
        tasks.push(tokio::spawn(async move {
            let (mut answered, mut refused) = (0, 0);
            for turn in 0..50 {
                let n = (client * 50 + turn) % 211;
                let (query, documents, _) = known(n);
                let one = send(&api, ask(&query, &documents), peer(client as u8));
                if (client + turn) % 5 == 0 {
                    // Leaves at whatever moment this is.
                    let _ = tokio::time::timeout(Duration::from_micros((turn * 20) as u64), one).await;
                    continue;
                }
                let reply = one.await;
                if reply.status == 429 {
                    assert!(reply.header("retry-after").is_some());
                    refused += 1;
                } else {
                    check_known(n, &reply);
                    answered += 1;
                }
            }
            (answered, refused)
        }));
    }
    let mut sums = (0, 0);
    for task in tasks {
        let (answered, refused) = task.await.unwrap();
        sums = (sums.0 + answered, sums.1 + refused);
    }
    assert_eq!(sums.0 + sums.1, 16 * 40);
    assert!(sums.0 > 0);
    until(&api, "queue_length 0").await;
    until(&api, "busy 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_documents_do_not_wait_for_a_thousand() {
    let rows = |documents: usize| 2 + 11 * documents; // a start, the query, and documents of ten words with an end each
    let blocker = 8;
    for (large, small) in [(peer(1), peer(2)), (peer(1), peer(1))] {
        let fake = Fake::default();
        let api = api(quiet(), &fake);
        let held = hold(&api, &fake).await;
        let many: Vec<String> = (0..1000).map(|n| format!("doc {n} with some ten words in it for sure")).collect();
        let large = spawn(&api, ask("large", &many), large);
        until(&api, &format!("queue_tokens {}", blocker + rows(1000))).await;
        let small = spawn(&api, ask("small", &many[..5]), small);
        until(&api, &format!("queue_tokens {}", blocker + rows(1000) + rows(5))).await;
        fake.door.open();
        assert_eq!(small.await.unwrap().json()["results"].as_array().unwrap().len(), 5);
        assert_eq!(large.await.unwrap().json()["results"].as_array().unwrap().len(), 1000);
        assert_eq!(held.await.unwrap().status, 200);
        let calls = fake.calls.lock().unwrap();
        let with_small: Vec<usize> =
            (0..calls.len()).filter(|&i| calls[i].iter().any(|(query, _)| *query == [id("small")])).collect();
        assert_eq!(with_small, [1], "the first batch after the one that was under way");
        assert!(calls.len() > 5, "{} batches", calls.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_stops_its_work_running_or_waiting() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let running = hold(&api, &fake).await;
    let waiting = spawn(&api, simple("waits"), None);
    until(&api, "queue_length 1").await;
    waiting.abort();
    until(&api, "queue_length 0").await;
    running.abort();
    until(&api, "busy 0").await;
    assert_eq!(fake.cancelled.load(Ordering::Relaxed), 1);
    until(&api, "requests_total{dialect=\"canonical\",status=\"499\"} 2").await;
    fake.door.open();
    assert_eq!(send(&api, simple("next"), None).await.status, 200);
    let calls = fake.calls.lock().unwrap();
    assert!(!calls.iter().flatten().any(|(query, _)| *query == [id("waits")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_goes_on_for_those_who_stay() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let held = hold(&api, &fake).await;
    let (leaves, stays) = (spawn(&api, simple("leaves"), peer(1)), spawn(&api, ask(&known(3).0, &known(3).1), peer(2)));
    until(&api, "queue_length 2").await;
    fake.door.open();
    held.await.unwrap();
    leaves.abort();
    check_known(3, &stays.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_told_so_and_given_up() {
    let fake = Fake::default();
    let api = api(Options { timeout: Some(Duration::from_secs(600)), ..quiet() }, &fake);
    fake.door.shut();
    let mut request = simple("red");
    request.headers_mut().insert("x-request-timeout-ms", "5".parse().unwrap());
    let reply = send(&api, request, None).await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.json()["error"]["code"], "timeout");
    until(&api, "busy 0").await;
    for wrong in ["0", "-1", "soon", "1.5", ""] {
        let mut request = simple("red");
        request.headers_mut().insert("x-request-timeout-ms", wrong.parse().unwrap());
        assert_eq!(send(&api, request, None).await.status, 400, "{wrong:?}");
    }
    fake.door.open();
    assert_eq!(send(&api, simple("red"), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_that_fails_harms_no_other() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    for (bad, status) in [("!panic", 500), ("!oom", 500), ("!nan", 500), ("!few", 500)] {
        let held = hold(&api, &fake).await;
        let bad = spawn(&api, simple(bad), peer(1));
        let good: Vec<_> = (1..4).map(|n| (n, spawn(&api, ask(&known(n).0, &known(n).1), peer(n as u8 + 1)))).collect();
        until(&api, "queue_length 4").await;
        fake.door.open();
        let bad = bad.await.unwrap();
        assert_eq!(bad.status, status);
        assert!(!String::from_utf8_lossy(&bad.body).contains("0x1234"), "the operator's to know");
        for (n, one) in good {
            check_known(n, &one.await.unwrap());
        }
        assert_eq!(held.await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_queue_there_is_429_and_later_room() {
    let fake = Fake::default();
    let api = api(Options { max_queue: 2, retry_after: 7, ..quiet() }, &fake);
    let held = hold(&api, &fake).await;
    assert_eq!(get(&api, "/health").await.json()["status"], "ok");
    let waiting: Vec<_> = (1..3).map(|n| spawn(&api, simple("waits"), peer(n))).collect();
    until(&api, "queue_length 2").await;
    let health = get(&api, "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("busy")));
    until(&api, "running 1").await;
    let refused = send(&api, simple("late"), None).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
    fake.door.open();
    for one in waiting.into_iter().chain([held]) {
        assert_eq!(one.await.unwrap().status, 200);
    }
    assert_eq!(send(&api, simple("later"), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_time_is_up_while_it_waits_leaves_the_queue() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let held = hold(&api, &fake).await;
    let tokens = value(&api, "queue_tokens").await;
    let mut request = simple("waits");
    request.headers_mut().insert("x-request-timeout-ms", "20".parse().unwrap());
    assert_eq!(send(&api, request, None).await.status, 504);
    assert_eq!((value(&api, "queue_length").await, value(&api, "queue_tokens").await), (0.0, tokens));
    assert_eq!(value(&api, "request_duration_seconds_count{status=\"504\"}").await, 1.0);
    assert_eq!(value(&api, "wasted_tokens_total").await, 0.0, "nothing was computed for it");
    fake.door.open();
    assert_eq!(held.await.unwrap().status, 200);
    assert!(!fake.calls.lock().unwrap().iter().flatten().any(|(query, _)| *query == [id("waits")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_in_time_is_refused_at_once() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let documents = |n: usize| (0..n).map(|i| format!("{i} {}", "word ".repeat(98))).collect::<Vec<_>>();
    let timed = |query: &str, documents: &[String], ms: &str| {
        let mut request = ask(query, documents);
        request.headers_mut().insert("x-request-timeout-ms", ms.parse().unwrap());
        request
    };
    // A full batch that takes half a second at least: no more than 2,048 rows a second.
    fake.door.shut();
    let held = spawn(&api, ask("first", &documents(10)), None);
    until(&api, "busy 1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    fake.door.open();
    assert_eq!(held.await.unwrap().status, 200);
    let large = documents(1000);
    let held = hold(&api, &fake).await;
    let before = fake.spelled.load(Ordering::Relaxed);
    // 100,000 rows in 20 seconds, by whoever asks.
    for client in [None, peer(1)] {
        let refused = send(&api, timed("large", &large, "20000"), client).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("busy")));
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert!(fake.spelled.load(Ordering::Relaxed) - before < 150, "a part of them tells");
    let slow = spawn(&api, ask("large", &large), None); // it has all the time there is
    until(&api, "queue_length 1").await;
    let small = spawn(&api, timed("small", &large[..1], "600000"), None);
    until(&api, "queue_length 2").await;
    fake.door.open();
    for one in [held, small, slow] {
        assert_eq!(one.await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_answered_though_nobody_more_may_wait() {
    let fake = Fake::default();
    let api = api(Options { max_queue: 0, cache: 100, ..quiet() }, &fake);
    assert_eq!(send(&api, simple("known"), None).await.status, 200);
    let held = hold(&api, &fake).await;
    assert_eq!(send(&api, simple("new"), None).await.status, 429);
    assert_eq!(send(&api, simple("known"), None).await.header("x-cache"), Some("2/2"));
    fake.door.open();
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_told_in_requests_and_in_tokens() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    until(&api, "queue_tokens 0").await;
    let held = hold(&api, &fake).await;
    until(&api, "queue_tokens 8").await; // a start and "blocker", two documents of two words and an end
    let waiting = spawn(&api, ask("two words", &["one".into()]), None);
    until(&api, "queue_tokens 13").await;
    until(&api, "queue_length 1").await;
    until(&api, "running 1").await;
    fake.door.open();
    for one in [held, waiting] {
        assert_eq!(one.await.unwrap().status, 200);
    }
    for line in ["queue_tokens 0", "queue_seconds 0", "queue_length 0", "running 0"] {
        until(&api, line).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_lost_is_loaded_again() {
    let (fake, loads) = (Fake::default(), Arc::new(AtomicUsize::new(0)));
    let counted = loads.clone();
    let load = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(fake.clone()) as Arc<dyn Engine>)
    };
    let api = Api::start(quiet(), Box::new(load), || {});
    let lost = send(&api, simple("!lost"), None).await;
    assert_eq!((lost.status, lost.header("retry-after")), (503, Some("5")));
    assert_eq!(send(&api, simple("red"), None).await.status, 200);
    assert_eq!(loads.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_tokens_while_the_engine_is_lost_is_sent_away() {
    for lasts in [true, false] {
        let fake = Fake::default();
        let (mut engine, (ends, end)) = (Some(fake.clone()), std::sync::mpsc::channel::<()>());
        // The second load fails for good, or does not come to an end.
        let load = move || match engine.take() {
            Some(engine) => Ok(Arc::new(engine) as Arc<dyn Engine>),
            None if lasts => Err(Error::new(ErrorKind::BadModel, "no model at all")),
            None => Err(Error::new(ErrorKind::BadModel, format!("{:?}", end.recv()))),
        };
        let (failed, heard) = std::sync::mpsc::channel();
        let api = Api::start(quiet(), Box::new(load), move || {
            let _ = failed.send(());
        });
        fake.spelling.shut();
        // Large texts have a line of their own for that.
        let spelled = spawn(&api, ask("!spell", &["red ".repeat(20_000)]), None);
        until(&api, "queue_length 1").await;
        assert_eq!(send(&api, simple("!lost"), None).await.status, 503);
        if lasts {
            heard.recv().unwrap();
        }
        fake.spelling.open();
        let reply = spelled.await.unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{reply:?}");
        until(&api, "queue_length 0").await;
        drop(ends);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_lost_again_and_again_is_loaded_after_a_pause() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = loads.clone();
    let load = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Fake::default()) as Arc<dyn Engine>)
    };
    let options = Options { retry_after: 3600, load_wait: Duration::from_millis(200), ..Options::default() };
    let api = Api::start(options, Box::new(load), || {});
    until(&api, "ready 1").await;
    assert_eq!(send(&api, simple("!lost"), None).await.status, 503);
    until(&api, "ready 1").await;
    assert_eq!(send(&api, simple("!lost"), None).await.status, 503);
    let reply = send(&api, simple("red"), None).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("loading")), "{reply:?}");
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    api.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_failed_is_tried_again_unless_it_cannot_succeed() {
    let mut loads = 0;
    let load = move || {
        loads += 1;
        match loads {
            1 | 2 => Err(Error::new(ErrorKind::Download, "cannot download secret.gguf")),
            _ => Ok(Arc::new(Fake::default()) as Arc<dyn Engine>),
        }
    };
    let api = Api::start(Options { retry_after: 0, ..quiet() }, Box::new(load), || {});
    loop {
        let reply = send(&api, simple("red"), None).await;
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.status, 503);
        assert!(!String::from_utf8_lossy(&reply.body).contains("secret"));
    }
    let (told, heard) = std::sync::mpsc::channel();
    let load = || Err(Error::new(ErrorKind::Download, "no such repository").lasting());
    let ends = told.clone();
    let _api = Api::start(quiet(), Box::new(load), move || ends.send(()).unwrap());
    heard.recv().unwrap();
    let load = || Err(Error::new(ErrorKind::BadModel, "no model at all"));
    let ends = told.clone();
    let api = Api::start(quiet(), Box::new(load), move || ends.send(()).unwrap());
    heard.recv().unwrap();
    assert_eq!(get(&api, "/health").await.json()["status"], "failed");
    assert_eq!(api.close().unwrap_err().kind(), ErrorKind::BadModel);
    let panics = || panic!("a bug");
    let api = Api::start(quiet(), Box::new(panics), move || told.send(()).unwrap());
    heard.recv().unwrap();
    assert!(api.close().unwrap_err().to_string().contains("a bug"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_says_so_and_answers_what_is_under_way() {
    let fake = Fake::default();
    let api = api(quiet(), &fake);
    let held = hold(&api, &fake).await;
    api.drain();
    let health = get(&api, "/healthz").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("draining")));
    assert_eq!(get(&api, "/ping").await.status, 200);
    let refused = send(&api, simple("late"), None).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("draining")));
    fake.door.open();
    assert_eq!(held.await.unwrap().status, 200);
    api.close().unwrap();
    assert_eq!(send(&api, simple("late"), None).await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_texts_are_not_computed_again() {
    let fake = Fake::default();
    let api = api(Options { cache: 2, ..quiet() }, &fake);
    let hits = async |documents: &[&str]| {
        let documents: Vec<String> = documents.iter().map(|d| (*d).to_owned()).collect();
        send(&api, ask("a", &documents), None).await.header("x-cache").unwrap().to_owned()
    };
    assert_eq!(hits(&["a", "a", "b"]).await, "0/3");
    assert_eq!(fake.calls.lock().unwrap()[0][0].1, 0..2);
    assert_eq!(hits(&["a"]).await, "1/1"); // used last: b goes first
    assert_eq!(hits(&["c"]).await, "0/1");
    assert_eq!(hits(&["a", "c"]).await, "2/2");
    assert_eq!(hits(&["b"]).await, "0/1");
    assert_eq!(fake.calls.lock().unwrap().len(), 3);
    until(&api, "cache_hits_total 3").await;
    until(&api, "cache_misses_total 5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_computed_for_a_client_that_left_is_remembered() {
    let fake = Fake::default();
    let api = api(Options { cache: 2000, ..quiet() }, &fake);
    let many: Vec<String> = (0..600).map(|n| format!("doc {n} with words")).collect();
    fake.door.shut();
    let left = spawn(&api, ask("many", &many), None);
    fake.door.let_pass(1);
    while fake.calls.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    left.abort();
    until(&api, "requests_total{dialect=\"canonical\",status=\"499\"} 1").await;
    until(&api, "busy 0").await;
    fake.door.open();
    let wasted = value(&api, "wasted_tokens_total").await;
    assert_eq!((wasted > 0.0, value(&api, "computed_tokens_total").await), (true, wasted), "it was not answered");
    let again = send(&api, ask("many", &many), None).await;
    let known: usize = again.header("x-cache").unwrap().split('/').next().unwrap().parse().unwrap();
    assert_eq!(known as f64 * 5.0, wasted, "five tokens a document");
    assert_eq!(value(&api, "computed_tokens_total").await, 600.0 * 5.0);
    assert_eq!(value(&api, "wasted_tokens_total").await, wasted);
    for (status, count) in [(200, 1.0), (499, 1.0)] {
        let name = format!("request_duration_seconds_count{{status=\"{status}\"}}");
        assert_eq!(value(&api, &name).await, count, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_is_counted_and_the_rest_of_it_is_not_read() {
    let api = api(Options { max_body: 1000, ..quiet() }, &Fake::default());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let endless = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![b' '; 400])
    });
    let request = Request::post(P).body(Body::from_stream(endless)).unwrap();
    assert_eq!(send(&api, request, None).await.status, 413);
    assert!(sent.load(Ordering::Relaxed) < 10);
    for (kind, status) in [(std::io::ErrorKind::UnexpectedEof, 499), (std::io::ErrorKind::InvalidInput, 400)] {
        let broken = stream::iter([Ok(vec![b'{']), Err(std::io::Error::from(kind))]);
        let request = Request::post(P).body(Body::from_stream(broken)).unwrap();
        assert_eq!(send(&api, request, None).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_all_requests_together_are_bounded_and_room_is_made_again() {
    let fake = Fake::default();
    let api = api(Options { max_body: 1000, max_bodies: 2000, ..quiet() }, &fake);
    let (go, wait) = tokio::sync::watch::channel(false);
    let uploads: Vec<_> = (0..3)
        .map(|_| {
            let mut wait = wait.clone();
            let rest = stream::once(async move {
                let _ = wait.wait_for(|go| *go).await;
                Ok::<_, std::io::Error>(vec![b' '])
            });
            let body = Body::from_stream(stream::once(async { Ok(vec![b' '; 700]) }).chain(rest));
            spawn(&api, Request::post(P).body(body).unwrap(), None)
        })
        .collect();
    until(&api, "requests_total{dialect=\"canonical\",status=\"429\"} 1").await;
    go.send(true).unwrap();
    let mut statuses = Vec::new();
    for one in uploads {
        statuses.push(one.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [400, 400, 429]);
    // A body counts until its answer.
    fake.door.shut();
    let first = spawn(&api, ask("a", &["x".repeat(900)]), peer(1));
    until(&api, "busy 1").await;
    let second = spawn(&api, ask("a", &["x".repeat(900)]), peer(2));
    until(&api, "queue_length 1").await;
    let refused = send(&api, ask("a", &["x".repeat(300)]), None).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    fake.door.open();
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
    assert_eq!(send(&api, ask("a", &["x".repeat(900)]), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instruction_counts_once_for_each_query() {
    let fake = Fake::default();
    let api = api(Options { max_body: 10_000, max_bodies: 20_000, ..quiet() }, &fake);
    let ask = |queries: usize, different: usize| {
        let queries: Vec<String> = (0..queries).map(|n| format!("q{}", n % different)).collect();
        let items = vec!["a"; queries.len()];
        post("/v1/score", &json!({ "queries": queries, "items": items, "instruction": "x".repeat(2000) }))
    };
    let refused = send(&api, ask(5, 5), None).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (413, &json!("instruction")));
    assert_eq!(send(&api, ask(50, 3), None).await.status, 200);
    fake.door.shut();
    let first = spawn(&api, ask(4, 4), peer(1));
    until(&api, "busy 1").await;
    let second = spawn(&api, ask(4, 4), peer(2));
    until(&api, "queue_length 1").await;
    assert_eq!(send(&api, ask(4, 4), None).await.status, 429, "the bodies alone have room");
    fake.door.open();
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_takes_the_room_of_others() {
    let api = api(Options { max_body: 1000, max_bodies: 1000, ..quiet() }, &Fake::default());
    let tokenize = || post("/tokenize", &json!({ "query": "w ".repeat(100), "documents": vec!["a"; 5] }));
    let unread = api.answer(tokenize(), None).await;
    assert_eq!((unread.status().as_u16(), send(&api, simple("red"), None).await.status), (200, 429));
    drop(unread);
    assert_eq!(send(&api, simple("red"), None).await.status, 200);
    let unread = api.answer(simple("red"), None).await;
    assert_eq!((unread.status().as_u16(), send(&api, ask("red", &["a".repeat(500)]), None).await.status), (200, 429));
    assert!(axum::body::to_bytes(unread.into_body(), 10_000).await.is_ok());
    assert_eq!(send(&api, ask("red", &["a".repeat(500)]), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_query_is_not_told_again_and_again() {
    let api = api(quiet(), &Fake::default());
    let tokenize = |documents: usize| {
        post("/tokenize", &json!({ "query": "word ".repeat(7900), "documents": vec!["a"; documents] }))
    };
    let refused = send(&api, tokenize(1000), None).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (413, &json!("too-large")));
    let told = send(&api, tokenize(100), None).await;
    let told = told.json();
    let ids = told["ids"].as_array().unwrap();
    assert_eq!((ids.len(), told["shared_prefix"].as_u64()), (100, Some(7901)));
    assert!(ids.iter().all(|ids| ids.as_array().unwrap().len() == 7903));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_taken_over_or_made() {
    let api = api(quiet(), &Fake::default());
    let id = async |given: Option<&[u8]>| {
        let mut request = simple("red");
        if let Some(given) = given {
            request.headers_mut().insert("x-request-id", hyper::header::HeaderValue::from_bytes(given).unwrap());
        }
        send(&api, request, None).await.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id(Some(b"trace-7/a")).await, "trace-7/a");
    for hostile in [None, Some(&b"a b"[..]), Some(b""), Some(b"\xff"), Some(&[b'x'; 200])] {
        assert_eq!(id(hostile).await.len(), 36, "{hostile:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_client_sends_it_gets_an_answer_that_says_what_is_wrong() {
    let api = api(Options { max_documents: 3, cache: 10, ..quiet() }, &Fake::default());
    let values = json!([
        null, true, 0, -1, 1.5, 2, 1e300, -1e300, 18446744073709551615_u64, "", " ", "red", [], {}, ["red"], ["a", "b"], [["a"]], [null], [""],
        { "text": "red" }, { "text": null }, { "text": 5 }, [{ "text": "a" }, { "content": "b" }],
        { "query": "red", "documents": ["a"] }, ["a", "b", "c", "d"]
    ]);
    let values = values.as_array().unwrap();
    let fields: Vec<&str> =
        "query queries documents passages texts contexts input parameters text_1 text_2 items top_n top_k truncation \
        truncate return_documents return_text instruction instruct task raw_scores threshold max_tokens_per_doc model"
            .split_whitespace()
            .collect();
    let paths = [P, "/score", "/voyage/v1/rerank", "/v1/ranking", "/ai/run/m", "/tokenize"];
    let mut seed = 7_u64;
    let mut random = |n: usize| {
        seed = seed * 48_271 % 2_147_483_647;
        seed as usize % n
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5000 {
        let mut body = serde_json::Map::new();
        for _ in 0..=random(6) {
            body.insert(fields[random(fields.len())].into(), values[random(values.len())].clone());
        }
        let body = Value::Object(body);
        let reply = send(&api, post(paths[random(paths.len())], &body), None).await;
        seen.insert(reply.status);
        assert!([200, 400, 413, 422].contains(&reply.status), "{} for {body}", reply.status);
        if reply.status != 200 {
            let told = reply.json();
            assert!(told["message"].is_string() || told["error"].is_string(), "{body}");
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [200, 400, 413, 422]);
}
