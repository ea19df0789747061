//! `bench` by the real binary: its figures, its scores, and what it refuses.
#![cfg(feature = "cli")]
#![allow(missing_docs)]

mod common;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use common::{golden, golden_path};
use serde_json::{Value, json};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-reranker"));
    command.arg("bench").arg(format!("--model={}", golden_path("tiny-f32.gguf").display())).args(arguments);
    command.env_remove("EDGE_RERANKER_MODEL").env_remove("EDGE_RERANKER_DEVICE").env_remove("EDGE_RERANKER_THREADS");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn feed(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A run that refuses its options does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[test]
fn the_figures_fit_together() {
    let run = |documents: &str, tokens: &str| {
        let sizes = ["--documents", documents, "--tokens", tokens, "--repeat=3", "--format=json", "--threads=2"];
        let output = run(&[&sizes[..], &["--device=cpu"]].concat());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        report(&output)
    };
    let r = run("4", "50");
    let number = |pointer: &str| r.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {r}"));
    assert_eq!((&r["model"], &r["device"], &r["adapter"]), (&json!("tiny-f32.gguf"), &json!("cpu"), &Value::Null));
    let counts = ["documents", "tokens_per_document", "requests", "repeat", "threads"].map(|name| r[name].as_u64());
    let threads = if cfg!(feature = "threads") { 2 } else { 1 };
    assert_eq!(counts, [4, 50, 1, 3, threads].map(Some));
    assert!(r["instructions"].is_string());
    let (median, least, most) = (number("/ms_per_pair/median"), number("/ms_per_pair/min"), number("/ms_per_pair/max"));
    assert!(0.0 < least && least <= median && median <= most);
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a}, {b}: {r}");
    near(number("/documents_per_second"), 1e3 / median);
    near(number("/tokens_per_second"), number("/prompt_tokens") / 4.0 * 1e3 / median);
    near(number("/request_ms/p50"), 4.0 * median);
    assert!(number("/request_ms/p50") <= number("/request_ms/p95"));
    assert!(0.0 < number("/first_score_ms/p50") && number("/first_score_ms/p50") <= number("/request_ms/p50"));
    assert!(number("/load_ms") > 0.0 && number("/gops") > 0.0 && number("/model_bytes") > 0.0);
    assert_eq!(r["peak_memory_bytes"].is_u64(), cfg!(target_os = "linux"));
    assert!(r.get("scores").is_none() && r.get("share_of_ceiling").is_some());
    // A document is as long as it should be: one more token in each of four.
    let longer = run("4", "51");
    assert_eq!(longer["prompt_tokens"].as_u64().unwrap(), r["prompt_tokens"].as_u64().unwrap() + 4);
    let alone = run("1", "50");
    assert_eq!(4 * alone["prompt_tokens"].as_u64().unwrap(), r["prompt_tokens"].as_u64().unwrap());
    assert_eq!(alone["prefix_reused_tokens"], 0);
    assert_eq!(r["prefix_reused_tokens"].as_u64().unwrap() % 3, 0);
}

#[test]
fn a_table_is_for_people() {
    let table = stdout(&run(&["--documents=2", "--tokens=9", "--repeat=1"]));
    for line in
        ["model         tiny-f32.gguf, ", "2 documents of 9 tokens; prompts of ", "median of 1 repeat; ", " tokens/s ("]
    {
        assert!(table.contains(line), "{line:?} is not in {table}");
    }
}

#[test]
fn pairs_of_a_file_give_their_scores_in_input_order() {
    let golden = golden();
    let scores = &golden.models.iter().find(|m| m.path == "tiny-f32.gguf").unwrap().scores;
    let (mut input, mut wanted, mut requests) = (String::new(), Vec::new(), 0);
    let alike = |r: &common::GoldenRequest| {
        r.template == "card" && r.max_length == 8192 && !r.parse_special && r.error.is_none() && r.name != "long"
    };
    for (request, scores) in golden.requests.iter().zip(scores).filter(|(r, _)| alike(r)) {
        for (document, score) in request.documents.iter().zip(scores) {
            let row = json!({ "query": request.query, "document": document, "instruction": request.instruction });
            input += &format!("{row}\n\n");
            wanted.push(f64::from(score.logit));
        }
        requests += usize::from(!request.documents.is_empty());
    }
    let r = report(&feed(&["--data=-", "--repeat=2", "--format=json", "--quiet"], &input));
    let got: Vec<f64> = r["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    assert_eq!((got.len(), &r["documents"]), (wanted.len(), &json!(wanted.len())));
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!((got - wanted).abs() < 1e-3, "{got}, expected {wanted}");
    }
    let several = r["requests"].as_u64().unwrap() as usize;
    assert!(1 < several && several <= requests, "{r}");
    assert_eq!((&r["tokens_per_document"], &r["repeat"]), (&Value::Null, &json!(2)));
    // The parts of the prompt reach the model.
    let row = json!({ "query": "capital", "document": "Beijing" }).to_string();
    let score = |more: &[&str]| {
        let r = report(&feed(&[&["--data=-", "--repeat=1", "--format=json", "--quiet"], more].concat(), &row));
        r["scores"][0].as_f64().unwrap()
    };
    assert_ne!(score(&[]), score(&["--instruction=x"]));
    assert_ne!(score(&[]), score(&["--template=eval"]));
    // What is cut is said.
    let long = json!({ "query": "q", "document": "the lazy dog ".repeat(100) }).to_string();
    let cut = feed(&["--data=-", "--repeat=1", "--max-length=256"], &long);
    assert!(String::from_utf8_lossy(&cut.stderr).contains("note: documents cut to 256 tokens: 1 of 1"), "{cut:?}");
}

#[test]
fn what_cannot_be_measured_is_refused_at_once() {
    let started = Instant::now();
    for option in ["--documents=0", "--tokens=0", "--repeat=0", "--documents=-1", "--tokens=many"] {
        refused(&run(&[option]), 2, &[option.split('=').next().unwrap()]);
    }
    let all = ["--documents=4000000000", "--tokens=4000000000", "--repeat=4000000000"];
    refused(&run(&all), 2, &["18,446,744,073,709,551,615 tokens in all, at most 10,000,000", "--repeat"]);
    refused(&run(&["--documents=1000000"]), 2, &["640,000,000 tokens in all", "fewer --documents"]);
    let long = run(&["--tokens=1000000", "--documents=1", "--repeat=1"]);
    refused(&long, 2, &["a document of 1,000,000 tokens does not fit into a prompt of ", "or fewer"]);
    let bounded = run(&["--tokens=200", "--documents=1", "--max-length=256"]);
    refused(&bounded, 2, &["200 tokens", "prompt of 256", "larger --max-length"]);
    // The advice is right, and one token more is not.
    let message = String::from_utf8_lossy(&bounded.stderr).into_owned();
    let most: usize = message.split("--tokens ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let fits = |tokens: usize| run(&[&format!("--tokens={tokens}"), "--documents=1", "--repeat=1", "--max-length=256"]);
    stdout(&fits(most));
    refused(&fits(most + 1), 2, &["does not fit"]);
    refused(&run(&["--max-length=4"]), 2, &["4"]);
    refused(&run(&["--template=raw"]), 2, &["raw template", "--data"]);
    refused(&run(&["--data=x", "--tokens=5"]), 2, &["--data", "--tokens"]);
    refused(&run(&["--data=/nonexistent"]), 2, &["/nonexistent: no such file"]);
    refused(&feed(&["--data=-"], "\n\n"), 2, &["standard input: no pairs", "\"query\""]);
    refused(&feed(&["--data=-"], "{\"query\":\"q\"}\n"), 2, &["standard input:1: missing field `document`"]);
    let row = format!("{}\n", json!({ "query": "q", "document": "d" }));
    refused(&feed(&["--data=-", "--repeat=4000000000"], &row), 2, &["standard input: ", "tokens in all", "--repeat"]);
    refused(&feed(&["--data=-", "--max-length=4"], &row), 2, &["standard input:1: "]);
    refused(&run(&["--device=cuda"]), 3, &["CUDA"]);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_run_with_its_own_code() {
    let row = json!({ "query": "q", "document": "the lazy dog and the quick fox ".repeat(400) });
    let input = format!("{row}\n").repeat(200);
    let mut child = command(&["--data=-", "--repeat=5"]).stdin(Stdio::piped()).spawn().unwrap();
    // It has started once it has read nearly all; soon after it scores.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    refused(&output, 130, &["interrupted"]);
    assert!(output.stdout.is_empty());
}
