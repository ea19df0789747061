//! `eval`: its measures against pytrec_eval, ranx and scipy, and the verb by the real binary.
#![cfg(feature = "cli")]
#![allow(missing_docs)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use common::golden_path;
use edge_reranker::rerank::metrics::{Bootstrap, Gain, Judging, Metric};
use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Reference {
    /// Of each query's expected values.
    names: Vec<String>,
    queries: Vec<Ranked>,
    intervals: BTreeMap<String, Interval>,
    files: Files,
}

/// What the tools make of the files that `--trec` writes.
#[derive(Deserialize)]
struct Files {
    corpus: Vec<Value>,
    queries: Vec<Value>,
    order: Vec<(String, String)>,
    expected: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Ranked {
    query: String,
    run: String,
    ranked: Vec<u32>,
    judged: Vec<u32>,
    expected: Vec<f64>,
}

#[derive(Deserialize)]
struct Interval {
    values: Vec<f64>,
    mean: f64,
    low: f64,
    high: f64,
}

fn reference() -> Reference {
    serde_json::from_str(&fs::read_to_string(golden_path("eval.json")).unwrap()).unwrap()
}

#[test]
fn metrics_are_those_of_trec_eval_and_ranx() {
    let mut compared = 0;
    let Reference { names, queries, .. } = reference();
    for Ranked { query, run, ranked, judged, expected } in queries {
        assert_eq!(names.len(), expected.len());
        for (name, wanted) in names.iter().zip(expected) {
            // "ndcg@10 linear from 2"
            let words: Vec<&str> = name.split(' ').collect();
            let gain = if words.contains(&"linear") { Gain::Linear } else { Gain::Exponential };
            let judging = Judging { gain, relevant_from: words.last().unwrap().parse().unwrap() };
            let got = words[0].parse::<Metric>().unwrap().of(&ranked, &judged, judging);
            assert!((got - wanted).abs() < 1e-6, "{run} {query} {name}: {got}, expected {wanted}");
            compared += 1;
        }
    }
    assert!(compared > 2500, "{compared} values");
}

#[test]
fn intervals_are_those_of_scipy() {
    let mut intervals = reference().intervals;
    let all = intervals.remove("mean of sets").unwrap();
    let bootstrap = Bootstrap { resamples: 100_000, seed: 7 };
    let sets: Vec<Vec<f64>> = intervals.values().map(|i| i.values.clone()).collect();
    let of_sets = intervals.iter().map(|(name, i)| (name.as_str(), vec![i.values.clone()], i));
    for (name, values, wanted) in of_sets.chain([("mean of sets", sets, &all)]) {
        let got = bootstrap.estimate(&values).unwrap();
        assert!((got.mean - wanted.mean).abs() < 1e-9, "{name}: {got:?}");
        // Both ends were drawn 100,000 times: they stand within a hundredth or two of the interval.
        let near = 0.02 * (wanted.high - wanted.low);
        let words = format!("{name}: {got:?}, expected {} to {}", wanted.low, wanted.high);
        let (low, high) = got.interval().unwrap();
        assert!((low - wanted.low).abs() < near && (high - wanted.high).abs() < near, "{words}");
    }
}

/// A folder of one test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("edge-reranker-eval-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn model(name: &str) -> String {
    golden_path(name).display().to_string()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-reranker"));
    command.arg("eval").arg("--device=cpu").args(arguments).env("EDGE_RERANKER_MODEL", model("tiny-f32.gguf"));
    command.env_remove("EDGE_RERANKER_DEVICE").env_remove("EDGE_RERANKER_THREADS");
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", "/nonexistent");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--format=json", "--quiet"]].concat());
    let text = stdout(&output);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {report:#}"))
}

const NOUNS: [&str; 8] = ["river", "castle", "bicycle", "market", "violin", "harbour", "lantern", "orchard"];

/// A query on each noun; the candidates speak of one noun each, labelled 2 for the query's own and 1 for the next.
fn lines(prefix: &str, count: usize) -> Vec<Value> {
    let noun = |i: usize| NOUNS[i % NOUNS.len()];
    let line = |q: usize| {
        let candidates = (0..6).map(|c| {
            let about = noun(q + 5 * c);
            let label = [2, 0, 0, 0, 0, 1][c];
            json!({ "doc_id": format!("{prefix}-{about}"), "text": format!("Some {about}s, told of by others."), "label": label, "bm25_rank": 6 - c })
        });
        let candidates: Vec<Value> = candidates.collect();
        let language = if q.is_multiple_of(2) { "en" } else { "xx" };
        let query = format!("the old {}", noun(q));
        json!({ "query_id": format!("{prefix}:{q}"), "query": query, "lang": language, "doc_lang": "en", "candidates": candidates })
    };
    (0..count).map(line).collect()
}

fn jsonl(lines: &[Value]) -> String {
    lines.iter().map(|l| format!("{l}\n")).collect()
}

#[test]
fn figures_follow_from_the_scores_that_were_written() {
    let folder = Folder::new("figures");
    let rows = lines("a", 9);
    let data = folder.write("a.jsonl", jsonl(&rows));
    let scores = folder.path("scores.tsv");
    let r = report(&["--data", &data, "--metrics=ndcg@3,mrr", "--run", &scores, "--baseline=given", "--gain=linear"]);
    let mut by_query: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    for line in fs::read_to_string(&scores).unwrap().lines() {
        let [query, document, score] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        by_query.entry(query.into()).or_default().push((score.parse().unwrap(), document.into()));
    }
    assert_eq!(by_query.len(), 9);
    let judging = Judging { gain: Gain::Linear, relevant_from: 1 };
    for metric in ["ndcg@3", "mrr"] {
        let (mut of_model, mut of_ranks) = (0.0, 0.0);
        for row in &rows {
            let label = |id: &str| {
                let candidates = row["candidates"].as_array().unwrap();
                candidates.iter().find(|c| c["doc_id"] == *id).unwrap()["label"].as_u64().unwrap() as u32
            };
            let mut ranking = by_query[row["query_id"].as_str().unwrap()].clone();
            assert_eq!(ranking.len(), 6);
            ranking.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let labels: Vec<u32> = ranking.iter().map(|(_, id)| label(id)).collect();
            let parsed: Metric = metric.parse().unwrap();
            of_model += parsed.of(&labels, &labels, judging) / 9.0;
            // bm25_rank turns the candidates' order around.
            of_ranks += parsed.of(&[1, 0, 0, 0, 0, 2], &labels, judging) / 9.0;
        }
        let figure = |name: &str| number(&r, &format!("/sets/0/metrics/{metric}/{name}"));
        assert!((figure("model/mean") - of_model).abs() < 1e-9, "{metric}: {of_model}, {r:#}");
        assert!((figure("baseline/mean") - of_ranks).abs() < 1e-9, "{metric}: {of_ranks}, {r:#}");
        assert!((figure("model_minus_baseline/mean") - (of_model - of_ranks)).abs() < 1e-9);
        assert!(figure("model/low") <= figure("model/mean") && figure("model/mean") <= figure("model/high"));
        // One set: the mean of sets is the set's.
        assert_eq!(r["overall"]["metrics"][metric], r["sets"][0]["metrics"][metric]);
    }
    assert_eq!(
        (&r["baseline"], &r["second_model"], &r["sets"][0]["name"]),
        (&json!("given"), &Value::Null, &json!("a"))
    );
    assert_eq!(r["options"]["metrics"], json!(["ndcg@3", "mrr"]));
    assert_eq!(r["model"]["documents"], 54);
}

#[test]
fn bm25_finds_words_and_languages_are_apart() {
    let folder = Folder::new("bm25");
    let data = folder.write("a.jsonl", jsonl(&lines("a", 9)));
    // The query's noun is in one candidate only, in the plural: stemming finds it, and it is the label 2.
    let r = report(&["--data", &data, "--metrics=mrr,precision@1"]);
    assert_eq!(number(&r, "/overall/metrics/mrr/baseline/mean"), 1.0, "{r:#}");
    let names: Vec<_> =
        r["languages"].as_array().unwrap().iter().map(|l| (l["name"].clone(), l["queries"].clone())).collect();
    assert_eq!(names, [(json!("en"), json!(5)), (json!("xx"), json!(4))]);
    assert_eq!(r["sets"][0]["languages"], r["languages"]);
    let weighed = 5.0 * number(&r, "/languages/0/metrics/mrr/model/mean")
        + 4.0 * number(&r, "/languages/1/metrics/mrr/model/mean");
    assert!((weighed / 9.0 - number(&r, "/overall/metrics/mrr/model/mean")).abs() < 1e-9);
    let none = report(&["--data", &data, "--baseline=none", "--limit=2"]);
    assert!(none["sets"][0]["metrics"]["ndcg@10"].get("baseline").is_none() && none["baseline"].is_null());
    assert_eq!(none["sets"][0]["queries"], 2);
}

#[test]
fn however_the_data_is_kept_the_figures_are_the_same() {
    let folder = Folder::new("kept");
    let text = jsonl(&lines("a", 5));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    folder.write("sets/plain.jsonl", format!("\u{feff}{}\n\n", text.replace('\n', "\r\n")));
    folder.write("sets/gzip.jsonl.gz", gzip.finish().unwrap());
    let zstd = compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
    folder.write("sets/zstd.jsonl.zst", &zstd);
    folder.write("sets/misnamed.jsonl.gz", &zstd);
    folder.write("sets/notes.txt", "not a set");
    folder.write("sets/.hidden.jsonl", "not a set");
    let r = report(&["--data", &folder.path("sets")]);
    let sets = r["sets"].as_array().unwrap();
    let names: Vec<_> = sets.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gzip", "misnamed", "plain", "zstd"]);
    assert!(sets.iter().all(|s| s["metrics"] == sets[0]["metrics"]));
    let figure = |g: &Value| number(g, "/metrics/ndcg@10/model/mean");
    assert!((figure(&r["overall"]) - figure(&sets[0])).abs() < 1e-12);
    // Four sets alike, drawn apart: their mean is surer than each.
    let width = |g: &Value| number(g, "/metrics/ndcg@10/model/high") - number(g, "/metrics/ndcg@10/model/low");
    assert!(width(&r["overall"]) < 0.7 * width(&sets[0]), "{r:#}");
    let mut child = command(&["--data", "-", "--format=json", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&zstd).unwrap();
    let piped: Value = serde_json::from_str(&stdout(&child.wait_with_output().unwrap())).unwrap();
    assert_eq!((&piped["sets"][0]["name"], &piped["sets"][0]["metrics"]), (&json!("stdin"), &sets[0]["metrics"]));
}

#[test]
fn candidates_are_retrieved_from_a_corpus_or_from_the_file() {
    let folder = Folder::new("retrieve");
    let document = |noun: &str| json!({ "doc_id": noun, "text": format!("About {noun}s") });
    let corpus = folder.write("corpus.jsonl", jsonl(&NOUNS.map(document)));
    let query = |id: u32, text: &str, relevant: Value| json!({ "query_id": id, "query": text, "lang": "en", "relevant": relevant });
    let queries = [
        query(1, "river or castle", json!({ "river": 2 })),
        query(2, "a violin", json!({ "market": 1, "violin": 1 })),
        query(3, "nothing of that kind", json!({ "river": 1 })),
        query(4, "bicycles", json!({ "tricycle": 1 })),
    ];
    let data = folder.write("queries.jsonl", jsonl(&queries));
    let r = report(&["--data", &data, "--corpus", &corpus, "--metrics=recall,mrr"]);
    assert_eq!((&r["options"]["retrieve"], &r["missing_relevant"]), (&json!(100), &json!(1)));
    // One of one, one of two, none, and one that no corpus has.
    assert_eq!(number(&r, "/overall/retrieval_recall"), (1.0 + 0.5) / 4.0);
    for system in ["model", "baseline"] {
        assert_eq!(
            number(&r, &format!("/overall/metrics/recall/{system}/mean")),
            0.375,
            "what was not found cannot be ranked"
        );
    }
    assert_eq!(r["model"]["documents"], 4, "river, castle, violin, bicycle");
    let output = run(&["--data", &data, "--corpus", &corpus, "--retrieve", "1"]);
    let text = stdout(&output);
    assert!(text.contains("found@1"), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 relevant documents are nowhere to be found"));
    // A title is text, and names that nothing reads are said once a file.
    let titled =
        json!({ "_id": "harp", "title": "About a violin", "text": "It has strings.", "metadata": {}, "body": 1 });
    let titles = folder.write("titles.jsonl", jsonl(std::slice::from_ref(&titled)));
    let output = run(&["--data", &data, "--corpus", &titles, "--format=json"]);
    let r: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(r["model"]["documents"], 1, "the title is found");
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(notes.contains("titles.jsonl: fields that are not read: \"body\" (line 1)"), "{notes}");
    let mut rows = lines("n", 3);
    for row in &mut rows[1..] {
        row["candidates"][2]["titel"] = json!("x");
        row["n_relevant"] = json!(2);
    }
    let extra = folder.write("extra.jsonl", jsonl(&rows));
    let notes = String::from_utf8_lossy(&run(&["--data", &extra]).stderr).into_owned();
    assert!(notes.contains("extra.jsonl: fields that are not read: \"candidates.titel\" (line 2)\n"), "{notes}");
    let mut twice = titled;
    twice["id"] = json!("harp");
    let twice = folder.write("twice.jsonl", jsonl(&[twice]));
    refused(&run(&["--data", &data, "--corpus", &twice]), 2, &["twice.jsonl:1: both \"id\" and \"_id\""]);
    // Without a corpus: among all candidates of the file.
    let data = folder.write("a.jsonl", jsonl(&lines("a", 8)));
    let r = report(&["--data", &data, "--retrieve", "--metrics=mrr"]);
    assert_eq!(number(&r, "/overall/metrics/mrr/baseline/mean"), 1.0);
    assert_eq!(r["model"]["documents"], 8, "each noun is in one document");
    assert_eq!(number(&r, "/overall/retrieval_recall"), 0.5);
}

#[test]
fn a_second_model_is_compared_query_by_query() {
    let folder = Folder::new("second");
    let data = folder.write("a.jsonl", jsonl(&lines("a", 9)));
    let same = report(&["--data", &data, "--second-model", &model("tiny-f32.gguf")]);
    let zero = json!({ "mean": 0.0, "low": 0.0, "high": 0.0 });
    assert_eq!(same["overall"]["metrics"]["ndcg@10"]["second_minus_model"], zero);
    let other = report(&["--data", &data, "--second-model", &model("tiny-untied.gguf"), "--metrics=map"]);
    let figure = |name: &str| number(&other, &format!("/overall/metrics/map/{name}/mean"));
    assert_eq!(other["second_model"]["name"], "tiny-untied.gguf");
    assert!((figure("second_minus_model") - (figure("second_model") - figure("model"))).abs() < 1e-9);
    assert_ne!(figure("second_model"), figure("model"));
    let alone = report(&["--data", &data, "--model", &model("tiny-untied.gguf"), "--metrics=map"]);
    assert_eq!(alone["overall"]["metrics"]["map"]["model"], other["overall"]["metrics"]["map"]["second_model"]);
}

#[test]
fn tables_have_a_row_for_each_set_or_language() {
    let folder = Folder::new("tables");
    let (a, b) =
        (folder.write("x/one.jsonl", jsonl(&lines("a", 4))), folder.write("y/one.jsonl", jsonl(&lines("b", 3))));
    let table = |by: &str| stdout(&run(&["--data", &a, "--data", &b, "--by", by, "--metrics=ndcg@10,p@1"]));
    let names = |text: &str| -> Vec<String> {
        let first = text.split("\n\n").next().unwrap();
        first.lines().map(|l| l.split("  ").find(|s| !s.is_empty()).unwrap().trim().to_owned()).collect()
    };
    assert_eq!(names(&table("set")), ["nDCG@10", "x/one", "y/one", "mean of 2 sets"]);
    assert_eq!(names(&table("language")), ["nDCG@10", "en", "xx"]);
    assert_eq!(names(&table("both")), ["nDCG@10", "x/one", "en", "xx", "y/one", "en", "xx", "mean of 2 sets"]);
    let text = table("set");
    let header = text.lines().next().unwrap();
    assert!(["queries", "tiny-f32.gguf", "BM25", "model - baseline"].iter().all(|w| header.contains(w)), "{text}");
    assert!(text.contains("\nprecision@1 ") && text.contains("2^label - 1"), "{text}");
}

#[test]
fn one_query_has_no_interval() {
    let folder = Folder::new("one");
    let one = folder.write("one.jsonl", jsonl(&lines("a", 1)));
    let many = folder.write("many.jsonl", jsonl(&lines("b", 6)));
    let plot = folder.path("plot.svg");
    let r = report(&["--data", &one, &many, "--plot", &plot]);
    for (group, known) in [("/sets/0", false), ("/sets/1", true), ("/overall", false)] {
        for system in ["model", "baseline", "model_minus_baseline"] {
            let figure = r.pointer(&format!("{group}/metrics/ndcg@10/{system}")).unwrap();
            assert!(figure["mean"].is_f64(), "{figure}");
            assert_eq!((figure["low"].is_f64(), figure["high"].is_f64()), (known, known), "{group} {system}");
            assert!(known || figure["low"].is_null() && figure["high"].is_null());
        }
    }
    let svg = fs::read_to_string(&plot).unwrap();
    assert_eq!((svg.matches("<path class=\"range\"").count(), svg.matches("<g class=").count()), (2, 6));
    let table = stdout(&run(&["--data", &one, &many]));
    let row = |name: &str| table.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    assert!(row("many").contains(']') && !row("one").contains('[') && !row("mean").contains('['), "{table}");
}

#[test]
fn files_for_other_tools_hold_everything() {
    let folder = Folder::new("files");
    let mut rows = lines("a", 3);
    rows[0]["query_id"] = json!(7);
    let data = folder.write("a<b>&.jsonl", jsonl(&rows));
    let (trec, plot) = (folder.path("out/trec"), folder.path("plot.svg"));
    fs::write(&plot, "x".repeat(100_000)).unwrap();
    stdout(&run(&["--data", &data, "--trec", &trec, "--plot", &plot, "--second-model", &model("tiny-untied.gguf")]));
    let labels = fs::read_to_string(format!("{trec}/a<b>&.qrels")).unwrap();
    assert_eq!(labels.lines().count(), 18);
    assert!(labels.lines().any(|l| l == "7 0 a-river 2"), "{labels}");
    for system in ["model", "baseline", "second"] {
        let text = fs::read_to_string(format!("{trec}/a<b>&.{system}.run")).unwrap();
        let mut before = f64::INFINITY;
        for (i, line) in text.lines().enumerate() {
            let [_, q0, _, rank, score, tag] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!((q0, rank, tag), ("Q0", &*(i % 6 + 1).to_string(), system));
            let score: f64 = score.parse().unwrap();
            assert!(i % 6 == 0 || score < before, "{line}");
            before = score;
        }
        assert_eq!(text.lines().count(), 18);
    }
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a&lt;b&gt;&amp;"), "{svg}");
    assert_eq!(svg.matches("<circle class=\"s2\"").count() + svg.matches("<g class=\"s2\">").count(), 2);
    assert_eq!(svg.matches("class=\"range\"").count(), 3);
    assert!(svg.contains(">model - baseline</text>") && svg.contains(">second - first</text>"));
    assert!(svg.contains("prefers-color-scheme: dark") && svg.contains("nDCG@10 by set"));
    // What is read is never overwritten.
    let before = fs::read(&data).unwrap();
    refused(&run(&["--data", &data, "--run", &data]), 2, &["is a file to read"]);
    refused(&run(&["--data", &data, "--plot", &data]), 2, &["written as SVG"]);
    assert_eq!(fs::read(&data).unwrap(), before);
    refused(&run(&["--data", &data, "--run", &folder.path("none/x.tsv")]), 2, &["none/x.tsv: cannot be written"]);
    refused(&run(&["--data", &data, "--plot", &folder.path("out")]), 2, &["is a folder"]);
    rows[1]["query_id"] = json!("with space");
    let spaced = folder.write("spaced.jsonl", jsonl(&rows));
    refused(&run(&["--data", &spaced, "--trec", &trec]), 2, &["spaced.jsonl:2", "\"with space\"", "white space"]);
    refused(&run(&["--data", &data, &spaced, "--run", &folder.path("r.tsv")]), 2, &["--run", "\"7\"", "in two sets"]);
}

#[test]
fn nothing_that_is_there_is_lost() {
    let folder = Folder::new("kept-files");
    let data = folder.write("a.jsonl", jsonl(&lines("a", 3)));
    let of_model = fs::read(golden_path("tiny-f32.gguf")).unwrap();
    let (one, two) = (folder.write("one.gguf", &of_model), folder.write("two.gguf", &of_model));
    let tokenizer = folder.path("tokenizer.json");
    fs::copy(golden_path("tokenizer/tokenizer.json"), &tokenizer).unwrap();
    let kept = folder.write("kept.tsv", "of yesterday");
    let both = ["--data", &data, "--model", &one, "--second-model", &two, "--tokenizer", &tokenizer];
    for input in [&data, &one, &two, &tokenizer] {
        refused(&run(&[&both[..], &["--run", input]].concat()), 2, &["is a file to read"]);
        let linked = folder.path("linked.svg");
        #[cfg(unix)]
        std::os::unix::fs::symlink(input, &linked).unwrap();
        #[cfg(unix)]
        refused(&run(&[&both[..], &["--plot", &linked]].concat()), 2, &["is a file to read"]);
        let _ = fs::remove_file(&linked);
    }
    assert!(fs::read(&one).unwrap() == of_model && fs::read(&two).unwrap() == of_model);
    // A file of scores is emptied when there are new ones, and not by a run that fails before.
    let new = folder.path("new.svg");
    let written = ["--data", &data, "--run", &kept, "--plot", &new];
    for wrong in [&["--second-model=/nonexistent.gguf"][..], &["--model=/nonexistent.gguf"], &["--max-length=3"]] {
        refused(&run(&[&written[..], wrong].concat()), 2, &[]);
    }
    refused(&run(&[&written[..], &["--trec", &data]].concat()), 2, &["is a file, expected a folder"]);
    refused(&run(&["--data", &data, "--run", &new, "--plot", &new]), 2, &["new.svg: is to be written twice"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "of yesterday");
    assert!(!Path::new(&new).exists(), "no empty file is left behind");
    let (a, b) = (folder.path("x/s-t.jsonl"), folder.path("s/t.jsonl"));
    for (path, name) in [(&a, "a"), (&b, "b")] {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        fs::write(path, jsonl(&lines(name, 1))).unwrap();
    }
    let other = folder.write("u/t.jsonl", jsonl(&lines("c", 1)));
    let sets = ["--data", &a, &b, &other, "--trec", &folder.path("trec")];
    refused(&run(&sets), 2, &["s-t.qrels: is to be written twice"]);
    // The report is printed though a file cannot be written.
    #[cfg(target_os = "linux")]
    {
        let output = run(&["--data", &data, "--plot", "/dev/full"]);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stdout).contains("nDCG@10"), "{output:?}");
    }
}

#[test]
fn queries_that_are_too_long_are_found_before_any_is_scored() {
    let folder = Folder::new("long");
    let mut rows = lines("a", 4);
    rows[3]["query"] = json!("river ".repeat(400));
    let data = folder.write("a.jsonl", jsonl(&rows));
    let scores = folder.path("scores.tsv");
    refused(&run(&["--data", &data, "--run", &scores, "--max-length=300"]), 2, &["a.jsonl:4: "]);
    assert!(!Path::new(&scores).exists(), "not one query was scored");
}

#[test]
fn ids_do_not_decide_between_equal_scores() {
    let folder = Folder::new("ties");
    // The relevant document has the smallest id and stands first, and all texts are one.
    let line = |q: usize| {
        let candidates: Vec<Value> = (0..4)
            .map(|c| json!({ "doc_id": c, "text": "the same", "label": u8::from(c == 0), "bm25_rank": 1 }))
            .collect();
        json!({ "query_id": q, "query": "same", "lang": "EN", "candidates": candidates })
    };
    let rows: Vec<Value> = (0..200).map(line).collect();
    let data = folder.write("a.jsonl", jsonl(&rows));
    let r = report(&["--data", &data, "--metrics=precision@1", "--baseline=given"]);
    for system in ["model", "baseline"] {
        let first = number(&r, &format!("/overall/metrics/precision@1/{system}/mean"));
        assert!((0.15..0.35).contains(&first), "{system}: {first}, by chance 0.25");
    }
    assert_eq!(r["languages"][0]["name"], "en");
    let turned: Vec<Value> = rows
        .iter()
        .rev()
        .cloned()
        .map(|mut row| {
            row["candidates"].as_array_mut().unwrap().reverse();
            row
        })
        .collect();
    let turned = folder.write("a2.jsonl", jsonl(&turned));
    let again = report(&["--data", &turned, "--metrics=precision@1", "--baseline=given"]);
    let of = |r: &Value| number(r, "/overall/metrics/precision@1/baseline/mean");
    assert!((of(&again) - of(&r)).abs() < 1e-12, "whatever the order in the file");
}

#[test]
fn other_tools_read_the_same_figures_from_the_files() {
    let folder = Folder::new("tools");
    let Files { corpus, queries, order, expected } = reference().files;
    let (data, corpus) = (folder.write("q.jsonl", jsonl(&queries)), folder.write("corpus.jsonl", jsonl(&corpus)));
    let trec = folder.path("trec");
    for gain in ["linear", "exponential"] {
        let metrics = "--metrics=ndcg@10,map@10,mrr,recall@5";
        let with = ["--data", &data, "--corpus", &corpus, "--retrieve=12", metrics, "--gain", gain, "--trec", &trec];
        let r = report(&with);
        let metrics = r["overall"]["metrics"].as_object().unwrap();
        assert_eq!(metrics.len(), 4);
        for (metric, figures) in metrics {
            let wanted = expected.get(metric).unwrap_or_else(|| &expected[&format!("{metric} {gain}")]);
            let got = figures["baseline"]["mean"].as_f64().unwrap();
            assert!((got - wanted).abs() < 1e-6, "{metric}, {gain}: {got}, expected {wanted}");
        }
    }
    // They read this order: ties, a query without findings and one without labels are in it.
    let run = fs::read_to_string(format!("{trec}/q.baseline.run")).unwrap();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let written: Vec<_> = run.lines().map(words).map(|w| (w[0].clone(), w[2].clone())).collect();
    assert_eq!(written, order);
    assert!(run.contains("\nnothing-found Q0 - 1 0 baseline\n"), "{run}");
    assert!(fs::read_to_string(format!("{trec}/q.qrels")).unwrap().contains("\nnot-judged 0 - 0\n"));
}

#[test]
fn bad_input_is_named_with_its_file_and_line() {
    let folder = Folder::new("bad");
    let good = jsonl(&lines("a", 1));
    let one = |change: fn(&mut Value)| {
        let mut rows = lines("b", 1);
        change(&mut rows[0]);
        format!("{good}\n{}", jsonl(&rows))
    };
    let zstd = compress_to_vec(jsonl(&lines("a", 50)).as_bytes(), CompressionLevel::Fastest);
    let cases: Vec<(Vec<u8>, &[&str], &[&str])> = vec![
        (vec![], &[], &["bad.jsonl: no queries in this file", "expected {\"query_id\""]),
        (b"\n \n".to_vec(), &[], &["no queries in this file"]),
        (b"{\"query_id\": 1,\n".to_vec(), &[], &["bad.jsonl:1: EOF"]),
        (
            one(|r| _ = r.as_object_mut().unwrap().remove("query_id")).into(),
            &[],
            &["bad.jsonl:3: missing field `query_id`"],
        ),
        (one(|r| _ = r.as_object_mut().unwrap().remove("query")).into(), &[], &["bad.jsonl:3: missing field `query`"]),
        (one(|r| r["candidates"] = json!([])).into(), &[], &["bad.jsonl:3: no candidates", "--retrieve"]),
        (one(|r| r["candidates"][2]["text"] = json!(null)).into(), &[], &["bad.jsonl:3: candidates[2]: no \"text\""]),
        (
            one(|r| r["candidates"][2]["label"] = json!(-1)).into(),
            &[],
            &["bad.jsonl:3: the label -1 is below 0: write 0"],
        ),
        (one(|r| r["candidates"][2]["label"] = json!(0.5)).into(), &[], &["expected a label, a whole number from 0"]),
        (one(|r| r["candidates"][2]["label"] = json!(60)).into(), &[], &["bad.jsonl:3: the label 60", "--gain linear"]),
        (one(|r| r["candidates"][2]["label"] = json!(null)).into(), &[], &["candidates[2]: no \"label\""]),
        (
            one(|r| r["candidates"][2]["doc_id"] = json!("b-river")).into(),
            &[],
            &["candidates[2]: the doc_id \"b-river\" stands twice"],
        ),
        (
            one(|r| r["candidates"][2]["bm25_rank"] = json!(null)).into(),
            &["--baseline=given"],
            &["candidates[2]: no \"bm25_rank\""],
        ),
        (one(|r| r["query_id"] = json!("a:0")).into(), &[], &["bad.jsonl:3: the query_id \"a:0\" is that of line 1"]),
        (
            one(|r| r["candidates"][1]["doc_id"] = json!("a-river")).into(),
            &["--retrieve"],
            &["bad.jsonl:3: the doc_id \"a-river\" has another text"],
        ),
        (b"7\n".to_vec(), &[], &["bad.jsonl:1: invalid type: integer `7`, expected an object with \"query_id\""]),
        (one(|r| r["candidates"][2] = json!(null)).into(), &[], &["bad.jsonl:3: ", "null, expected a candidate"]),
        (one(|r| r["query_id"] = json!(0.5)).into(), &[], &["bad.jsonl:3: the id 0.5 is no whole number"]),
        (good.clone().into(), &["--run=-"], &["--run: standard output has the report"]),
        (good.clone().into(), &["--plot=p.png"], &["--plot: plots are written as SVG, not as png"]),
        (good.clone().into(), &["--trec", "/dev/null"], &["/dev/null: is a file, expected a folder"]),
        (good.clone().into(), &["--retrieve", "--baseline=given"], &["no given rank", "--baseline bm25"]),
        (good.clone().into(), &["--corpus", "/nonexistent"], &["/nonexistent: no such file"]),
        (good.clone().into(), &["--metrics=ndcg@10,dcg"], &["--metrics", "\"dcg\"", "ndcg@10"]),
        (good.clone().into(), &["--metrics=ndcg@0"], &["\"0\" is no number of documents"]),
        (good.clone().into(), &["--relevant-from=0"], &["--relevant-from"]),
        (good.clone().into(), &["--second-model=/nonexistent.gguf"], &["/nonexistent.gguf"]),
        (b"\xff\xfe{\0".to_vec(), &[], &["bad.jsonl:1: the text is UTF-16"]),
        (b"\xfd7zXZ\0\0\0\0".to_vec(), &[], &["compressed by xz"]),
        (zstd[..zstd.len() - 20].to_vec(), &[], &["bad.jsonl:", "cannot be read: the Zstandard data is damaged"]),
        (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2], &[], &["bad.jsonl:1: cannot be read"]),
    ];
    for (content, options, words) in cases {
        let data = folder.write("bad.jsonl", content);
        refused(&run(&[&["--data", &data], options].concat()), 2, words);
    }
    refused(&run(&["--data", "/nonexistent.jsonl"]), 2, &["/nonexistent.jsonl: no such file"]);
    refused(&run(&["--data", &folder.write("empty/readme.txt", "").replace("readme.txt", "")]), 2, &["no .jsonl"]);
    refused(&run(&[]), 2, &["--data"]);
    refused(&run(&["--data="]), 2, &["--data: an empty name"]);
    refused(&run(&["--data", "-", "-"]), 2, &["standard input can be read once only"]);
    refused(&run(&["--data", "-", "--corpus", "-"]), 2, &["cannot be both --data and --corpus"]);
    // Large labels are well with linear gain, and queries that nothing answers count 0, which is said.
    let mut rows = lines("a", 2);
    rows[0]["candidates"][0]["label"] = json!(900);
    for candidate in rows[1]["candidates"].as_array_mut().unwrap() {
        candidate["label"] = json!(0);
    }
    let data = folder.write("zeros.jsonl", jsonl(&rows));
    let output = run(&["--data", &data, "--gain=linear", "--format=json", "--baseline=none", "--metrics=recall"]);
    let r: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&r["overall"]["without_relevant"], number(&r, "/overall/metrics/recall/model/mean")), (&json!(1), 0.5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 of 2 queries have no relevant document and count 0"));
    let output = run(&["--data", &data, "--gain=linear", "--relevant-from=2", "--limit=2"]);
    let note = "1 of 2 queries have no relevant document and count 0 in map, mrr, recall and precision";
    assert!(String::from_utf8_lossy(&output.stderr).contains(note), "{output:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_scores_that_are_known() {
    let folder = Folder::new("interrupt");
    let data = folder.write("a.jsonl", jsonl(&lines("a", 3000)));
    let fifo = folder.path("scores");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let child = command(&["--data", &data, "--run", &fifo, "--threads=1"]).spawn().unwrap();
    let mut reader = BufReader::new(fs::File::open(&fifo).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = reader.lines().map(Result::unwrap).collect();
    refused(&child.wait_with_output().unwrap(), 130, &["interrupted"]);
    assert!((rest.len() + 1).is_multiple_of(6) && rest.len() < 17_000, "{} lines", rest.len());
    assert!(rest.iter().all(|l| l.split('\t').count() == 3));
}
