//! Documents and other texts from files and standard input. Every error names the file and the line.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, Read},
    path::Path,
};

use clap::ValueEnum;
use serde::{
    Deserialize, Serialize,
    de::{self, Deserializer, IgnoredAny, MapAccess, Visitor},
};

use crate::error::{Error, Result};

/// More than any list of documents that one request should hold.
const LONGEST_INPUT: u64 = 1 << 30;
/// Longer lines are a mistake, or an attack on the memory.
const LONGEST_LINE: u64 = 256 << 20;

/// How documents are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One document a line; blank lines are skipped
    Text,
    /// One JSON value a line: {"text": ..., "id"?: ...} or a string
    Jsonl,
    /// One JSON array of such values
    Json,
    /// Comma-separated values with a column "text", and "id" if there is one
    Csv,
}

/// A document's name of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "id must be a string or a number")]
pub(crate) enum Id {
    Number(serde_json::Number),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A document to score.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) id: Option<Id>,
}

/// The documents of `path`, `-` being standard input, and how many blank lines were skipped.
pub(crate) fn read(path: &str, format: Option<InputFormat>) -> Result<(Vec<Document>, usize)> {
    let (place, text) = read_text(path)?;
    let format = format.or_else(|| by_extension(path)).unwrap_or_else(|| guess(&text));
    parse(&place, &text, format)
}

/// How errors call an input.
pub(crate) fn place_of(path: &str) -> String {
    if path == "-" { "standard input".into() } else { path.into() }
}

/// An input, `-` being standard input.
pub(crate) fn open(path: &str) -> Result<Box<dyn Read>> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let refuse =
        |what: String| Error::bad_input(what).at(path).hint("give a file of documents, or - for standard input");
    match File::open(path) {
        Ok(file) if file.metadata().is_ok_and(|m| m.is_dir()) => Err(refuse("is a folder".into())),
        Ok(file) => Ok(Box::new(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(refuse("no such file".into())),
        Err(e) => Err(refuse(format!("cannot be read: {e}"))),
    }
}

fn read_text(path: &str) -> Result<(String, String)> {
    let place = place_of(path);
    let mut bytes = Vec::new();
    let read = open(path)?.take(LONGEST_INPUT + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::bad_input(format!("cannot be read: {e}")).at(&place))?;
    if bytes.len() as u64 > LONGEST_INPUT {
        return Err(Error::bad_input(format!("more than {LONGEST_INPUT} bytes"))
            .at(&place)
            .hint("split it into several files"));
    }
    let text = utf8(&place, 1, bytes)?;
    Ok((place, text))
}

/// The next line of an input that is read line by line: blank ones too, and nothing at the end.
pub(crate) fn line(input: &mut dyn BufRead, place: &str, number: usize) -> Result<Option<String>> {
    let at = || format!("{place}:{number}");
    let mut bytes = Vec::new();
    let read = input.take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
    match read.map_err(|e| Error::bad_input(format!("cannot be read: {e}")).at(at()))? {
        0 => Ok(None),
        n if n as u64 > LONGEST_LINE => {
            Err(Error::bad_input(format!("a line of more than {LONGEST_LINE} bytes")).at(at()))
        }
        _ => utf8(place, number, bytes).map(Some),
    }
}

/// Text from bytes that begin at line `first` of `place`; a byte order mark is dropped.
pub(crate) fn utf8(place: &str, first: usize, bytes: Vec<u8>) -> Result<String> {
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) if first == 1 => rest.to_owned(),
            _ => text,
        }),
        Err(e) => {
            let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = first + valid.iter().filter(|&&b| b == b'\n').count();
            let what = if utf16 { "the text is UTF-16, expected UTF-8" } else { "the text is not UTF-8" };
            Err(Error::bad_input(what).at(format!("{place}:{line}")).hint("save it as UTF-8"))
        }
    }
}

fn by_extension(path: &str) -> Option<InputFormat> {
    match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "txt" => Some(InputFormat::Text),
        "jsonl" | "ndjson" => Some(InputFormat::Jsonl),
        "json" => Some(InputFormat::Json),
        "csv" => Some(InputFormat::Csv),
        _ => None,
    }
}

/// JSON is known by its first characters, so that a damaged file is reported and not taken for text.
fn guess(text: &str) -> InputFormat {
    let text = text.trim_start();
    let after = |open: char| text.strip_prefix(open).map(|rest| rest.trim_start().chars().next());
    let first_line = || text.lines().next().unwrap_or_default();
    match (after('['), after('{')) {
        (Some(Some('"' | '{' | ']')), _) => InputFormat::Json,
        (_, Some(Some('"' | '}'))) => InputFormat::Jsonl,
        _ if text.starts_with('"') && serde_json::from_str::<String>(first_line()).is_ok() => InputFormat::Jsonl,
        _ => InputFormat::Text,
    }
}

fn parse(place: &str, text: &str, format: InputFormat) -> Result<(Vec<Document>, usize)> {
    match format {
        InputFormat::Text | InputFormat::Jsonl => {
            let mut blank = 0;
            let mut documents = Vec::new();
            for (i, line) in text.lines().enumerate() {
                if line.trim().is_empty() {
                    blank += 1;
                } else if format == InputFormat::Text {
                    documents.push(Document { text: line.to_owned(), id: None });
                } else {
                    documents.push(json(line, |_| format!("{place}:{}", i + 1))?);
                }
            }
            Ok((documents, blank))
        }
        InputFormat::Json => Ok((json(text, |line| format!("{place}:{line}"))?, 0)),
        InputFormat::Csv => csv(place, text),
    }
}

/// A JSON value; an error is put at the place that the line number gives.
pub(crate) fn json<'a, T: Deserialize<'a>>(text: &'a str, place: impl Fn(usize) -> String) -> Result<T> {
    serde_json::from_str(text).map_err(|e| no_json(&e, place))
}

/// What is wrong with a JSON value, at the place that the line number gives.
pub(crate) fn no_json(e: &serde_json::Error, place: impl Fn(usize) -> String) -> Error {
    // serde_json ends its messages with the place, which is said here in our way.
    let what = e.to_string();
    let what = what.rsplit_once(" at line ").map_or(&what[..], |(what, _)| what);
    Error::bad_input(format!("{what} (column {})", e.column())).at(place(e.line()))
}

fn csv(place: &str, text: &str) -> Result<(Vec<Document>, usize)> {
    let at = |line: u64| format!("{place}:{line}");
    let refuse = |e: csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        let what = match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} columns, the first line has {expected_len}")
            }
            other => format!("not CSV: {other:?}"),
        };
        Error::bad_input(what).at(at(line)).hint("quote texts that hold commas or line breaks")
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(refuse)?.clone();
    let column = |name: &str| headers.iter().position(|h| h.trim().eq_ignore_ascii_case(name));
    let text_column = column("text").ok_or_else(|| {
        let found: Vec<&str> = headers.iter().collect();
        let hint = match headers.iter().any(|h| h.contains([';', '\t'])) {
            true => "separate the columns by commas, and name the documents' column text",
            false => "name the documents' column text",
        };
        Error::bad_input(format!("no column \"text\" among \"{}\"", found.join("\", \""))).at(at(1)).hint(hint)
    })?;
    let id_column = column("id");
    let field = |record: &csv::StringRecord, column: usize| record.get(column).unwrap_or_default().to_owned();
    let height = |record: &csv::StringRecord| 1 + record.iter().map(|f| f.matches('\n').count()).sum::<usize>();
    let mut documents = Vec::new();
    let mut lines = height(&headers);
    for record in reader.records() {
        let record = record.map_err(refuse)?;
        lines += height(&record);
        let id = id_column.map(|c| Id::Text(field(&record, c)));
        documents.push(Document { text: field(&record, text_column), id });
    }
    // The reader passes over blank lines: they are those that no record takes.
    Ok((documents, text.lines().count().saturating_sub(lines)))
}

impl<'de> Deserialize<'de> for Document {
    /// By hand, so that an error keeps its line and column.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string, or an object with \"text\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Document, E> {
                Ok(Document { text: text.to_owned(), id: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let (mut text, mut id) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "text" => text = map.next_value::<Option<String>>()?,
                        "id" => id = map.next_value::<Option<Id>>()?,
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(Document { text: text.ok_or_else(|| de::Error::missing_field("text"))?, id })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, format: InputFormat) -> Vec<String> {
        parse("f", text, format).unwrap().0.into_iter().map(|d| d.text).collect()
    }

    fn error(text: &str, format: InputFormat) -> String {
        parse("f", text, format).unwrap_err().to_string()
    }

    #[test]
    fn every_format_gives_the_same_documents() {
        let wanted = ["one, and", "two \"quoted\""];
        assert_eq!(texts("one, and\r\n\r\n  \ntwo \"quoted\"\r\n", InputFormat::Text), wanted);
        assert_eq!(texts("{\"text\":\"one, and\",\"x\":[1]}\n\n\"two \\\"quoted\\\"\"", InputFormat::Jsonl), wanted);
        assert_eq!(texts("[\"one, and\",\n{\"id\":null,\"text\":\"two \\\"quoted\\\"\"}]", InputFormat::Json), wanted);
        assert_eq!(texts("n,Text\n1,\"one, and\"\n2,\"two \"\"quoted\"\"\"\n", InputFormat::Csv), wanted);
        assert_eq!(parse("f", "a\n\n \nb", InputFormat::Text).unwrap().1, 2);
        for (blank, csv) in [
            (0, "text\na\nb"),
            (0, "text\r\na\r\n"),
            (3, "\ntext\n\na\n\nb"),
            (2, "id,text\r\n1,a\r\n\r\n\r\n"),
            (1, "text\n\"a\n\nb\"\n\nc\n"),
        ] {
            assert_eq!(parse("f", csv, InputFormat::Csv).unwrap().1, blank, "{csv:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let jsonl = error("\"a\"\n\n{\"txt\":1}\n", InputFormat::Jsonl);
        assert!(jsonl.starts_with("f:3: missing field `text`"), "{jsonl}");
        assert!(error("[\"a\",\n\"b\",\n7]", InputFormat::Json).starts_with("f:3: invalid type: integer `7`"));
        assert!(error("text,id\na,1\nb\n", InputFormat::Csv).starts_with("f:3: 1 columns, the first line has 2"));
        assert!(error("body\na\n", InputFormat::Csv).starts_with("f:1: no column \"text\" among \"body\""));
        assert!(error("id;text\n1;a\n", InputFormat::Csv).contains("separate the columns by commas"));
        let id = "id must be a string or a number";
        let jsonl = error("\"a\"\n{\"text\":\"b\",\"id\":true}\n", InputFormat::Jsonl);
        assert!(jsonl.starts_with(&format!("f:2: {id} (column ")), "{jsonl}");
        let json = error("[\"a\",\n{\"id\":[1],\"text\":\"b\"}]", InputFormat::Json);
        assert!(json.starts_with(&format!("f:2: {id} (column ")), "{json}");
        assert!(
            utf8("f", 1, b"a\nb\n\xff".to_vec()).unwrap_err().to_string().starts_with("f:3: the text is not UTF-8")
        );
        assert_eq!(utf8("f", 1, b"\xef\xbb\xbfa".to_vec()).unwrap(), "a");
    }

    #[test]
    fn formats_are_guessed_by_their_first_characters() {
        for (text, format) in [
            ("[\"a\"]", InputFormat::Json),
            (" [\n {\"text\":", InputFormat::Json),
            ("{\"text\":\"a\"}\n", InputFormat::Jsonl),
            ("\"a\"\n\"b\"", InputFormat::Jsonl),
            ("\"Quoted\" he said", InputFormat::Text),
            ("[1] a reference", InputFormat::Text),
            ("{curly} text", InputFormat::Text),
            ("", InputFormat::Text),
        ] {
            assert_eq!(guess(text), format, "{text}");
        }
    }
}
