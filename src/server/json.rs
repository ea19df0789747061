//! A request's JSON object. The text is checked as a whole, but no more of it is unpacked than a dialect asks for: what nobody knows takes no memory,
//! however it is nested.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{fields::Read, problem::Problem};

/// A value as it was sent.
pub(super) type Raw<'a> = &'a RawValue;

/// The fields that a dialect knows, in the body or in an object in it.
const KNOWN: [&str; 28] = [
    "content",
    "contexts",
    "document",
    "documents",
    "id",
    "input",
    "inputs",
    "instruct",
    "instruction",
    "items",
    "max_tokens_per_doc",
    "parameters",
    "passages",
    "queries",
    "query",
    "raw_scores",
    "return_documents",
    "return_text",
    "task",
    "text",
    "text_1",
    "text_2",
    "texts",
    "threshold",
    "top_k",
    "top_n",
    "truncate",
    "truncation",
];

/// A JSON object: the known fields that it has.
pub(super) struct Body<'a> {
    fields: [Option<Raw<'a>>; KNOWN.len()],
    /// Texts of one list that are kept; more are counted.
    pub(super) most: usize,
}

impl<'a> Body<'a> {
    /// Reads a text that should be an object. Of a name that is there twice the last one counts.
    pub(super) fn read(text: &'a str, most: usize) -> Read<Self> {
        let wrong = |what: String| Problem::new(400, "bad-input", what);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text); // a byte order mark is no part of the text
        let value: Raw<'a> = serde_json::from_str(text).map_err(|e| wrong(format!("The body is not JSON: {e}.")))?;
        Self::of(value, most).ok_or_else(|| wrong(format!("The body must be a JSON object, got {}.", kind(value))))
    }

    pub(super) fn of(value: Raw<'a>, most: usize) -> Option<Self> {
        let mut fields = [None; KNOWN.len()];
        if !is_object(value) {
            return None;
        }
        unpack(value).deserialize_map(Fields(&mut fields)).expect("it was read before");
        Some(Self { fields, most })
    }

    /// A field's value.
    pub(super) fn get(&self, name: &str) -> Option<Raw<'a>> {
        let place = KNOWN.iter().position(|known| *known == name).expect("a field of the list");
        self.fields[place].filter(|value| value.get() != "null")
    }

    /// Whether one of these fields is there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// One of several names of a field: the first that is there.
    pub(super) fn alias<'n>(&self, names: &[&'n str]) -> (Option<Raw<'a>>, &'n str) {
        let name = names.iter().find(|name| self.has(&[name])).unwrap_or(&names[0]);
        (self.get(name), name)
    }

    /// The object that is a field's value; none where that is something else.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::of(self.get(name)?, self.most)
    }

    /// These fields, and those of another object before them.
    pub(super) fn under(mut self, over: &Self) -> Self {
        self.fields.iter_mut().zip(over.fields).for_each(|(field, over)| *field = over.or(*field));
        self
    }
}

fn unpack(value: Raw<'_>) -> serde_json::Deserializer<serde_json::de::StrRead<'_>> {
    serde_json::Deserializer::from_str(value.get())
}

struct Fields<'f, 'a>(&'f mut [Option<Raw<'a>>; KNOWN.len()]);

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(known) = map.next_key_seed(Name)? {
            match known {
                Some(place) => self.0[place] = Some(map.next_value()?),
                None => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A field's place among the known ones.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(KNOWN.iter().position(|known| known.as_bytes() == name))
    }
}

/// Calls a function with each element of an array and its place, until it fails. Gives their number.
pub(super) fn each<'a>(list: Raw<'a>, take: impl FnMut(usize, Raw<'a>) -> Read<()>) -> Read<usize> {
    struct Elements<'f, F>(F, &'f mut Option<Problem>);

    impl<'a, F: FnMut(usize, Raw<'a>) -> Read<()>> Visitor<'a> for Elements<'_, F> {
        type Value = usize;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while let Some(one) = list.next_element()? {
                if let Err(problem) = (self.0)(count, one) {
                    *self.1 = Some(problem);
                    return Err(de::Error::custom("the function failed"));
                }
                count += 1;
            }
            Ok(count)
        }
    }

    let mut failed = None;
    let count = unpack(list).deserialize_seq(Elements(take, &mut failed));
    failed.map_or_else(|| Ok(count.expect("it was read before")), Err)
}

pub(super) fn is_text(value: Raw<'_>) -> bool {
    value.get().starts_with('"')
}

pub(super) fn is_list(value: Raw<'_>) -> bool {
    value.get().starts_with('[')
}

pub(super) fn is_object(value: Raw<'_>) -> bool {
    value.get().starts_with('{')
}

/// What a value is, in words.
pub(super) fn kind(value: Raw<'_>) -> &str {
    match value.get().as_bytes()[0] {
        b'n' => "null",
        b't' | b'f' => "a boolean",
        b'"' => "a string",
        b'[' => "an array",
        b'{' => "an object",
        _ if value.get().len() > 40 => "a long number",
        _ => value.get(),
    }
}

/// The text that a string stands for. Half of a surrogate pair, as it is left where programs cut a text, becomes U+FFFD.
pub(super) fn decode(value: Raw<'_>) -> String {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    let bytes = unpack(value).deserialize_bytes(Bytes).expect("it was read before");
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let mut bytes = e.into_bytes();
        for at in 1..bytes.len() {
            // The three bytes of a surrogate begin like this, and nothing else does.
            if bytes[at - 1] == 0xed && bytes[at] >= 0xa0 {
                bytes[at - 1..at + 2].copy_from_slice("\u{fffd}".as_bytes());
            }
        }
        String::from_utf8(bytes).expect("surrogates were all that was wrong")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body<'_> {
        Body::read(text, 2).unwrap()
    }

    #[test]
    fn known_fields_are_found_however_they_are_written() {
        let body = body(r#"{"x": [1e999, "\ud800", {}], "qu\u0065ry": "a", "documents": 1, "documents": null}"#);
        assert_eq!(body.get("query").map(decode).as_deref(), Some("a"));
        assert!(!body.has(&["documents"]));
    }

    #[test]
    fn halves_of_pairs_are_replaced_and_pairs_are_not() {
        let told = body(r#"{"text": "a\ud83d b\ude00\ud83d\ude00 \ud83d\ud83d\ude00 é\uffff\ud7ff"}"#);
        let wanted = "a\u{fffd} b\u{fffd}😀 \u{fffd}😀 é\u{ffff}\u{d7ff}";
        assert_eq!(told.get("text").map(decode).as_deref(), Some(wanted));
    }

    #[test]
    fn nesting_has_no_end() {
        let deep = format!("{{\"x\": {0}1{1}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Body::read(&deep, 2).is_ok());
        assert!(Body::read(&deep[..deep.len() - 2], 2).is_err());
        assert!(Body::read("\u{feff}{}", 2).is_ok());
    }
}
