//! The lines of a file of queries, and of a corpus. What is wrong is named with its file and line.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde::{
    Deserialize,
    de::{self, DeserializeOwned, Deserializer, Visitor},
};

use super::{
    super::documents::{self, Id},
    compressed,
};
use crate::error::{Error, Result};

/// More text than a set should hold in memory.
const MOST_BYTES: u64 = 8 << 30;
const EXPECTED: &str = r#"expected {"query_id": ..., "query": "...", "lang"?: "en", "candidates": [{"doc_id": ..., "text": "...", "label": 0}, ...]}"#;
const EXPECTED_OF_CORPUS: &str = r#"expected {"doc_id": ..., "title"?: "...", "text": "...", "lang"?: "en"}"#;

/// Fields that data sets have for other programs, and that nobody takes for ours.
const KNOWN_EXTRAS: [&str; 5] = ["n_relevant", "gold_in_top", "injected", "metadata", "url"];

/// What a file holds, and which of its fields nothing reads: a name may be misspelt.
pub(super) struct Read<T> {
    pub(super) values: Vec<T>,
    /// As `"candidates.title" (line 1)`.
    pub(super) unread: Vec<String>,
}

/// A query with what is known of its documents.
#[derive(Deserialize)]
#[serde(expecting = "an object with \"query_id\" and \"query\"")]
pub(super) struct Row {
    #[serde(deserialize_with = "id")]
    pub(super) query_id: String,
    pub(super) query: String,
    #[serde(default, deserialize_with = "language")]
    lang: Option<String>,
    #[serde(default, deserialize_with = "language")]
    doc_lang: Option<String>,
    #[serde(default, deserialize_with = "maybe_id")]
    group: Option<String>,
    pub(super) instruction: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) candidates: Vec<Candidate>,
    /// Labels by document: of those that are no candidates, or have no label there.
    #[serde(default, deserialize_with = "each_once")]
    relevant: BTreeMap<String, Label>,
    #[serde(skip)]
    pub(super) line: usize,
}

/// A document of a query.
#[derive(Deserialize)]
#[serde(expecting = "a candidate, an object with \"doc_id\", \"text\" and \"label\"")]
pub(super) struct Candidate {
    #[serde(deserialize_with = "id")]
    pub(super) doc_id: String,
    pub(super) text: Option<String>,
    label: Option<Label>,
    pub(super) bm25_rank: Option<f64>,
}

/// A document of a corpus.
pub(super) struct Document {
    pub(super) doc_id: String,
    /// Its title, if it has one, and its text.
    pub(super) text: String,
    pub(super) lang: Option<String>,
}

/// A line of a corpus: other tools call the id otherwise, and keep titles apart.
#[derive(Deserialize)]
#[serde(expecting = "an object with \"doc_id\" and \"text\"")]
struct Passage {
    #[serde(default, deserialize_with = "maybe_id")]
    doc_id: Option<String>,
    #[serde(default, deserialize_with = "maybe_id")]
    id: Option<String>,
    #[serde(default, deserialize_with = "maybe_id")]
    _id: Option<String>,
    title: Option<String>,
    text: String,
    #[serde(default, deserialize_with = "language")]
    lang: Option<String>,
}

impl Passage {
    fn document(self) -> Result<Document> {
        let ids = [("doc_id", self.doc_id), ("id", self.id), ("_id", self._id)];
        let mut given = ids.into_iter().filter_map(|(name, id)| Some((name, id?)));
        let (name, doc_id) = given.next().ok_or_else(|| Error::bad_input("no \"doc_id\"").hint(EXPECTED_OF_CORPUS))?;
        if let Some((other, _)) = given.next() {
            return Err(Error::bad_input(format!("both {name:?} and {other:?}"))
                .hint("either names the document: leave the other out"));
        }
        let text = match self.title.filter(|title| !title.trim().is_empty()) {
            Some(title) => format!("{title}\n{}", self.text),
            None => self.text,
        };
        Ok(Document { doc_id, text, lang: self.lang })
    }
}

/// The largest whole number that every program reads as itself.
const LARGEST_ID: u64 = 1 << 53;

/// Text, or a whole number: others are not written alike by all tools.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Id::deserialize(deserializer)? {
        Id::Text(text) => Ok(text),
        Id::Number(n) if n.as_i64().is_some_and(|n| n.unsigned_abs() <= LARGEST_ID) => Ok(n.to_string()),
        Id::Number(n) => Err(de::Error::custom(format!("the id {n} is no whole number up to 2^53: write it as text"))),
    }
}

fn maybe_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Given(#[serde(deserialize_with = "id")] String);

    Ok(Option::<Given>::deserialize(deserializer)?.map(|Given(id)| id))
}

/// A language's code in small letters; an empty one is none.
fn language<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let code = Option::<String>::deserialize(deserializer)?.map(|code| code.trim().to_lowercase());
    Ok(code.filter(|code| !code.is_empty()))
}

/// Labels by document, each document once; `null` means absent.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Label>, D::Error> {
    struct Labels;

    impl<'de> Visitor<'de> for Labels {
        type Value = BTreeMap<String, Label>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object of labels by doc_id")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut labels = BTreeMap::new();
            while let Some((id, label)) = map.next_entry::<String, Label>()? {
                if labels.insert(id.clone(), label).is_some() {
                    return Err(de::Error::custom(format!("{id:?} stands twice in \"relevant\"")));
                }
            }
            Ok(labels)
        }
    }

    deserializer.deserialize_any(Labels)
}

/// How relevant a document is: a whole number from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Label(u32);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Label;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a label, a whole number from 0")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Label, E> {
                u32::try_from(n).map(Label).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Label, E> {
                let below = || E::custom(format!("the label {n} is below 0: write 0 for what is not relevant"));
                u32::try_from(n).map(Label).map_err(|_| below())
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Label, E> {
                let whole = n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&n);
                if whole { Ok(Label(n as u32)) } else { Err(E::invalid_value(de::Unexpected::Float(n), &self)) }
            }
        }

        deserializer.deserialize_any(Whole)
    }
}

/// `null` means absent.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Row {
    /// What the row's figures are gathered under, besides its set: its group, or else its language.
    pub(super) fn language(&self) -> String {
        self.group.clone().or_else(|| self.lang.clone()).unwrap_or_else(|| "unknown".into())
    }

    /// The language that words of the query must be found in.
    pub(super) fn document_language(&self) -> Option<&str> {
        self.doc_lang.as_deref().or(self.lang.as_deref())
    }

    /// The label of every document that has one.
    ///
    /// # Errors
    /// A document twice, without a label, or with two labels; a label above `highest`.
    pub(super) fn labels(&self, highest: u32) -> Result<HashMap<String, u32>> {
        let mut labels: HashMap<String, u32> = self.relevant.iter().map(|(id, label)| (id.clone(), label.0)).collect();
        let mut seen = HashSet::new();
        for (i, candidate) in self.candidates.iter().enumerate() {
            let at = || format!("candidates[{i}]");
            let id = candidate.doc_id.clone();
            let known = labels.get(&id).copied();
            match (candidate.label, known) {
                (Some(Label(label)), Some(known)) if label != known && !seen.contains(&id) => {
                    let what = format!("label {label}, but \"relevant\" says {known} for {id:?}");
                    return Err(Error::bad_input(what).at(at()));
                }
                (Some(Label(label)), _) => _ = labels.insert(id.clone(), label),
                (None, None) if self.relevant.is_empty() => {
                    return Err(Error::bad_input(format!("no \"label\" for {id:?}")).at(at()).hint(
                        "label every candidate, or name the relevant ones in \"relevant\": {\"doc_id\": label}",
                    ));
                }
                (None, _) => {}
            }
            if !seen.insert(id) {
                let what = format!("the doc_id {:?} stands twice among the candidates", candidate.doc_id);
                return Err(Error::bad_input(what).at(at()));
            }
        }
        match labels.iter().filter(|(_, label)| **label > highest).min() {
            Some((id, label)) => {
                Err(Error::bad_input(format!("the label {label} of {id:?} is too large for exponential gain"))
                    .hint(format!("use labels up to {highest}, or --gain linear")))
            }
            None => Ok(labels),
        }
    }
}

/// The queries of a file.
pub(super) fn read(path: &str) -> Result<Read<Row>> {
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    let unread = each(path, EXPECTED, |line, mut row: Row| {
        row.line = line;
        if let Some(first) = lines.insert(row.query_id.clone(), line) {
            let what = format!("the query_id {:?} is that of line {first} too", row.query_id);
            return Err(Error::bad_input(what).hint("give every query an id of its own"));
        }
        rows.push(row);
        Ok(())
    })?;
    match rows.is_empty() {
        true => Err(Error::bad_input("no queries in this file").at(documents::place_of(path)).hint(EXPECTED)),
        false => Ok(Read { values: rows, unread }),
    }
}

/// The documents of a corpus.
pub(super) fn read_corpus(path: &str) -> Result<Read<Document>> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let unread = each(path, EXPECTED_OF_CORPUS, |_, passage: Passage| {
        let document = passage.document()?;
        if !seen.insert(document.doc_id.clone()) {
            return Err(Error::bad_input(format!("the doc_id {:?} is that of a line before too", document.doc_id))
                .hint("give every document an id of its own"));
        }
        found.push(document);
        Ok(())
    })?;
    match found.is_empty() {
        true => {
            Err(Error::bad_input("no documents in this file").at(documents::place_of(path)).hint(EXPECTED_OF_CORPUS))
        }
        false => Ok(Read { values: found, unread }),
    }
}

/// Hands over the value of each line that is not blank; returns the fields that were not read.
fn each<T: DeserializeOwned>(
    path: &str,
    expected: &str,
    mut with: impl FnMut(usize, T) -> Result<()>,
) -> Result<Vec<String>> {
    let mut unread: BTreeMap<String, usize> = BTreeMap::new();
    let place = documents::place_of(path);
    let file = documents::open(path)?;
    let input = compressed::reader(file);
    let mut input = input.map_err(|e| Error::bad_input(format!("cannot be read: {e}")).at(&place))?;
    let mut bytes = 0;
    for number in 1.. {
        let Some(text) = documents::line(&mut input, &place, number)? else { break };
        bytes += text.len() as u64;
        if bytes > MOST_BYTES {
            let what = format!("more than {} GB of text", MOST_BYTES >> 30);
            return Err(Error::bad_input(what).at(&place).hint("split it into several files"));
        }
        if !text.trim().is_empty() {
            let at = || format!("{place}:{number}");
            let mut json = serde_json::Deserializer::from_str(&text);
            let ignored = |path: serde_ignored::Path| {
                let field = field_name(&path.to_string());
                let known = KNOWN_EXTRAS.iter().any(|known| field.rsplit('.').next() == Some(known));
                if !known && unread.len() < MOST_NAMES {
                    unread.entry(field).or_insert(number);
                }
            };
            let value = serde_ignored::deserialize(&mut json, ignored).and_then(|value| json.end().map(|()| value));
            let value = value.map_err(|e| documents::no_json(&e, |_| at()).hint(expected))?;
            with(number, value).map_err(|e| e.at(at()))?;
        }
    }
    Ok(unread.into_iter().map(|(field, line)| format!("{field:?} (line {line})")).collect())
}

/// More names of fields than a note should have.
const MOST_NAMES: usize = 8;

/// A field's path without the places in lists: `candidates.title`.
fn field_name(path: &str) -> String {
    path.split('.').filter(|part| *part != "?" && part.parse::<usize>().is_err()).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> Result<Row, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    fn labels(json: &str) -> Result<Vec<(String, u32)>, String> {
        let labels = row(json)?.labels(50).map_err(|e| e.to_string())?;
        let mut sorted: Vec<_> = labels.into_iter().collect();
        sorted.sort();
        Ok(sorted)
    }

    #[test]
    fn labels_come_from_candidates_and_from_judgements() {
        let start = r#"{"query_id":1,"query":"q","#;
        let of = |rest: &str| labels(&format!("{start}{rest}}}"));
        let pairs = |wanted: &[(&str, u32)]| Ok(wanted.iter().map(|(id, label)| ((*id).to_owned(), *label)).collect());
        assert_eq!(
            of(r#""candidates":[{"doc_id":"a","label":2},{"doc_id":7,"label":1.0}]"#),
            pairs(&[("7", 1), ("a", 2)])
        );
        assert_eq!(of(r#""candidates":[{"doc_id":"a"}],"relevant":{"b":1}"#), pairs(&[("b", 1)]));
        assert_eq!(of(r#""candidates":[{"doc_id":"a","label":1}],"relevant":{"a":1}"#), pairs(&[("a", 1)]));
        assert_eq!(of(r#""candidates":null,"relevant":null"#), pairs(&[]));
        for (bad, words) in [
            (r#""candidates":[{"doc_id":"a","label":-1}]"#, "the label -1 is below 0: write 0"),
            (r#""candidates":[null]"#, "null, expected a candidate, an object with"),
            (r#""candidates":[{"doc_id":1.5,"label":1}]"#, "the id 1.5 is no whole number"),
            (r#""candidates":[{"doc_id":9007199254740993,"label":1}]"#, "the id 9007199254740993 is no whole number"),
            (r#""relevant":{"a":1,"a":1}"#, "\"a\" stands twice in \"relevant\""),
            (r#""candidates":[{"doc_id":"a","label":0.5}]"#, "`0.5`, expected a label"),
            (r#""candidates":[{"doc_id":"a","label":"1"}]"#, "\"1\", expected a label"),
            (r#""candidates":[{"doc_id":"a","label":99999999999}]"#, "expected a label"),
            (r#""candidates":[{"doc_id":"a","label":51}]"#, "the label 51 of \"a\" is too large"),
            (r#""candidates":[{"doc_id":"a"}]"#, "candidates[0]: no \"label\" for \"a\""),
            (r#""candidates":[{"label":1}]"#, "missing field `doc_id`"),
            (
                r#""candidates":[{"doc_id":"a","label":1},{"doc_id":"a","label":0}]"#,
                "candidates[1]: the doc_id \"a\" stands twice",
            ),
            (r#""candidates":[{"doc_id":"a","label":1}],"relevant":{"a":2}"#, "label 1, but \"relevant\" says 2"),
        ] {
            let e = of(bad).unwrap_err();
            assert!(e.contains(words), "{bad}: {e}");
        }
    }

    #[test]
    fn rows_know_their_languages() {
        let of = |rest: &str| row(&format!(r#"{{"query_id":"x","query":"q"{rest}}}"#)).unwrap();
        assert_eq!(of("").language(), "unknown");
        assert_eq!(of(r#","lang":"fr""#).language(), "fr");
        assert_eq!(of(r#","lang":"fr","group":"hard""#).language(), "hard");
        assert_eq!(of(r#","lang":"fr""#).document_language(), Some("fr"));
        assert_eq!(of(r#","lang":"fr","doc_lang":"en""#).document_language(), Some("en"));
        assert_eq!(of("").document_language(), None);
        assert_eq!(of(r#","lang":"","doc_lang":" ""#).document_language(), None);
        assert_eq!(of(r#","lang":" EN""#).language(), "en");
        assert_eq!(of(r#","group":7"#).language(), "7");
    }

    #[test]
    fn documents_have_one_id_and_their_title() {
        let of = |json: &str| {
            let passage: Passage = serde_json::from_str(json).map_err(|e| e.to_string())?;
            passage.document().map(|d| (d.doc_id, d.text)).map_err(|e| e.to_string())
        };
        let pair = |id: &str, text: &str| Ok((id.to_owned(), text.to_owned()));
        assert_eq!(of(r#"{"_id":"a","title":"T","text":"x","metadata":{}}"#), pair("a", "T\nx"));
        assert_eq!(of(r#"{"id":7,"title":"","text":"x"}"#), pair("7", "x"));
        assert!(of(r#"{"doc_id":"a","id":"a","text":"x"}"#).unwrap_err().contains("both \"doc_id\" and \"id\""));
        assert!(of(r#"{"text":"x"}"#).unwrap_err().contains("no \"doc_id\""));
    }
}
