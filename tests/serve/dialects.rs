//! Every fixture of tests/dialects, through the native API.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use edge_reranker::{
    Error, ErrorKind,
    server::{Api, Engine, Options},
};
use hyper::Request;
use serde_json::{Map, Value};

use crate::fake::{Fake, Reply, api, get, send, until};

type Fixtures = Vec<(String, Vec<Value>)>;

fn fixtures() -> Fixtures {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialects");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let read = |p: &std::path::PathBuf| {
        let name = p.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap())
    };
    paths.iter().map(read).collect()
}

/// `{"$repeat": [x, n]}` stands for an array of n times x.
fn repeated(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(repeated).collect(),
        Value::Object(object) => match object.get("$repeat") {
            Some(repeat) => vec![repeat[0].clone(); repeat[1].as_u64().unwrap() as usize].into(),
            None => object.iter().map(|(name, one)| (name.clone(), repeated(one))).collect::<Map<_, _>>().into(),
        },
        other => other.clone(),
    }
}

fn request(fixture: &Value) -> Request<Body> {
    let method = fixture["method"].as_str().unwrap_or("POST");
    let mut request = Request::builder().method(method).uri(fixture["path"].as_str().unwrap());
    request = request.header("host", "server.example");
    let given = fixture["headers"].as_object().cloned().unwrap_or_default();
    if method == "POST" && !given.contains_key("content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in given.iter().filter_map(|(name, value)| Some((name, value.as_str()?))) {
        request = request.header(name, value);
    }
    let body = match (&fixture["body"], fixture["text"].as_str(), fixture["base64"].as_str()) {
        (_, _, Some(bytes)) => BASE64_STANDARD.decode(bytes).unwrap(),
        (_, Some(text), _) => text.into(),
        (Value::Null, ..) => Vec::new(),
        (body, ..) => repeated(body).to_string().into(),
    };
    request.body(body.into()).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one.clone()],
        list => serde_json::from_value(list.clone()).unwrap(),
    }
}

fn options(server: &Value) -> Options {
    let number = |name: &str| server[name].as_u64().map(|n| n as usize);
    let default = Options::default();
    Options {
        api_keys: texts(&server["api_key"]),
        cors: texts(&server["cors_origin"]),
        base_path: server["base_path"].as_str().unwrap_or_default().into(),
        max_documents: number("max_documents").unwrap_or(default.max_documents),
        max_body: number("max_body").unwrap_or(default.max_body),
        max_tokens: number("max_tokens"),
        max_queries: number("max_queries"),
        max_length: number("max_length"),
        max_queue: if server["state"] == "busy" { 0 } else { default.max_queue },
        load_wait: if server["state"] == "loading" { Duration::from_millis(1) } else { Duration::from_secs(60) },
        cache: if server["cache"] == true { 100 } else { 0 },
        ..default
    }
}

/// Sets a server up as a fixture says, sends its request, and gives the answer.
async fn answer(fixture: &Value) -> Reply {
    let server = &fixture["server"];
    let fake = Fake::default();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let api = match server["state"].as_str() {
        Some("loading") => {
            let load = move || {
                let _ = held.recv(); // until the test ends
                Err(Error::new(ErrorKind::Aborted, "no more wanted"))
            };
            Api::start(options(server), Box::new(load), || {})
        }
        Some("failed") => {
            let load = || Err::<Arc<dyn Engine>, _>(Error::new(ErrorKind::Download, "the operator may know"));
            Api::start(options(server), Box::new(load), || {})
        }
        _ => {
            let api = api(options(server), &fake);
            let path = format!("{}/health", server["base_path"].as_str().unwrap_or_default());
            while get(&api, &path).await.status != 200 {}
            api
        }
    };
    for one in server["before"].as_array().into_iter().flatten() {
        send(&api, request(one), None).await;
    }
    let busy = server["state"] == "busy";
    let first = busy.then(|| {
        fake.door.shut();
        let (api, request) = (api.clone(), request(&fixture["request"]));
        tokio::spawn(async move { send(&api, request, None).await })
    });
    if busy {
        until(&api, "busy 1").await;
    }
    let reply = send(&api, request(&fixture["request"]), None).await;
    fake.door.open();
    if let Some(first) = first {
        assert_eq!(first.await.unwrap().status, 200);
    }
    drop(release);
    let _ = api.close(); // a load that fails says so
    reply
}

fn check(got: &Value, wanted: &Value, place: &str) -> Result<(), String> {
    let differs = || Err(format!("{place}: {wanted}, got {got}"));
    match (wanted, got) {
        (Value::String(any), Value::String(text)) if any == "$any" => {
            if text.is_empty() {
                differs()
            } else {
                Ok(())
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            if (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() <= 1e-6 {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().try_for_each(|(i, (a, b))| check(b, a, &format!("{place}[{i}]")))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().try_for_each(|(name, one)| check(&b[name], one, &format!("{place}.{name}")))
        }
        _ if wanted == got => Ok(()),
        _ => differs(),
    }
}

fn compare(reply: &Reply, wanted: &Value) -> Result<(), String> {
    let text = String::from_utf8_lossy(&reply.body);
    if u64::from(reply.status) != wanted["status"] {
        return Err(format!("status {}, got {}: {text}", wanted["status"], reply.status));
    }
    for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
        let got = reply.header(name);
        let fits = match value.as_str() {
            Some("$any") => got.is_some_and(|v| !v.is_empty()),
            value => got == value,
        };
        if !fits {
            return Err(format!("{name}: {value}, got {got:?}"));
        }
    }
    match &wanted["body"] {
        Value::Null => Ok(()),
        Value::String(empty) if empty.is_empty() => {
            if text.is_empty() {
                Ok(())
            } else {
                Err(format!("a body: {text}"))
            }
        }
        body => check(&reply.json(), body, "body"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_is_answered_as_it_says() {
    let (mut tried, mut failures) = (0, Vec::new());
    for (file, list) in fixtures() {
        for fixture in list {
            tried += 1;
            if let Err(what) = compare(&answer(&fixture).await, &fixture["reply"]) {
                failures.push(format!("{file}, {}: {what}", fixture["name"]));
            }
        }
    }
    assert!(tried >= 258, "{tried} fixtures");
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_not_equal_is_told() {
    let reply = |status, body: &str| Reply { status, headers: hyper::HeaderMap::new(), body: body.into() };
    let wanted = serde_json::json!({ "status": 200, "body": { "id": "$any", "list": [1.0] } });
    assert_eq!(compare(&reply(200, r#"{"id":"x","list":[1.0000001]}"#), &wanted), Ok(()));
    for body in [
        r#"{"id":"","list":[1]}"#,
        r#"{"id":"x","list":[1.1]}"#,
        r#"{"id":"x","list":[]}"#,
        r#"{"list":[1]}"#,
        r#"{"id":"x","list":[1],"y":0}"#,
    ] {
        assert!(compare(&reply(200, body), &wanted).is_err(), "{body}");
    }
    assert!(compare(&reply(400, r#"{"id":"x","list":[1]}"#), &wanted).is_err());
}
