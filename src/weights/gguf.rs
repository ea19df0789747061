//! The index of a GGUF file, parsed by hand from a growing prefix of the file.
//!
//! Layout (the GGUF specification, versions 2 and 3, little endian): magic, version, number of tensors, number of key/value pairs; the
//! pairs; for every tensor its name, dimensions (innermost first), type and offset; padding to `general.alignment`; the data.
//! The parser is synchronous and takes whatever prefix has been read; when it runs out it says so and the caller reads more. Counts and lengths
//! are compared with the bytes that could hold them before anything is allocated.

use std::collections::HashMap;

use super::{DType, TensorInfo, source::SourceFile};
use crate::error::{Error, Place, Result};

/// The first read; doubled until the header fits.
const FIRST_READ: u64 = 64 << 10;
/// No header of a model we can run is longer: 151,936 tokens with merges take about 8 MB.
const LONGEST_HEADER: u64 = 64 << 20;
/// Lists within lists.
const MAX_NESTING: usize = 4;
const MAX_NAME: usize = 64;
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Integers of every width are one kind, so are floats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    /// The list of [`INTS`].
    Ints(Vec<i32>),
    /// A list of [`TEXTS`].
    Texts(Vec<String>),
    /// A list that nobody needs: how many elements it has.
    Skipped(usize),
}

/// Lists that are kept; all others are walked over.
const TEXTS: [&str; 3] = ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "qwen3.classifier.output_labels"];
const INTS: [&str; 1] = ["tokenizer.ggml.token_type"];

impl Value {
    /// For people to read: lists as their length and first elements.
    pub(crate) fn summary(&self) -> String {
        fn list<T: std::fmt::Display>(items: &[T]) -> String {
            let first: Vec<String> = items.iter().take(4).map(T::to_string).collect();
            let more = if items.len() > first.len() { ", ..." } else { "" };
            format!("{} elements [{}{more}]", items.len(), first.join(", "))
        }
        match self {
            Self::Int(n) => n.to_string(),
            // Most are stored as f32: its shortest spelling.
            Self::Float(x) => (*x as f32).to_string(),
            Self::Bool(b) => b.to_string(),
            Self::Text(text) => text.clone(),
            Self::Ints(items) => list(items),
            Self::Texts(items) => list(items),
            Self::Skipped(n) => format!("{n} elements"),
        }
    }
}

/// A GGUF header: metadata, and tensors with absolute ranges.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: HashMap<String, Value>,
    pub(crate) tensors: HashMap<String, TensorInfo>,
}

/// Reads the header of `file`, `number` in the model's list of files.
pub(crate) async fn read_header(file: &SourceFile, number: usize) -> Result<Header> {
    let length = file.source.len();
    let mut want = FIRST_READ;
    loop {
        let prefix = file.read(0..want.min(length)).await?;
        match parse(&prefix, length, number) {
            Ok(header) => return Ok(header),
            Err(Stop::Bad(e)) => return Err(e.at(&file.name)),
            Err(Stop::More) if want >= length => {
                return Err(Error::bad_model(format!("the header goes on past the end of the file ({length} bytes)"))
                    .at(&file.name)
                    .hint("the file is truncated; download it again"));
            }
            Err(Stop::More) if want >= LONGEST_HEADER => {
                return Err(
                    Error::bad_model(format!("the header is longer than {LONGEST_HEADER} bytes")).at(&file.name)
                );
            }
            Err(Stop::More) => want = want.saturating_mul(2),
        }
    }
}

/// Why parsing stopped.
enum Stop {
    /// The prefix is too short.
    More,
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Bad(e)
    }
}

type Parsed<T> = Result<T, Stop>;

fn bad<T>(what: String) -> Parsed<T> {
    Err(Stop::Bad(Error::bad_model(what)))
}

/// A cursor over the prefix that has been read.
struct Cursor<'a> {
    prefix: &'a [u8],
    at: usize,
    /// Length of the whole file: no count may promise more than it can hold.
    length: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Parsed<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or(Stop::More)?;
        let bytes = self.prefix.get(self.at..end).ok_or(Stop::More)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take at least `each` bytes of the rest of the file.
    fn count(&mut self, what: &str, each: u64) -> Parsed<usize> {
        let n = self.u64()?;
        let room = self.length.saturating_sub(self.at as u64).checked_div(each).unwrap_or(0);
        match usize::try_from(n) {
            Ok(count) if n <= room => Ok(count),
            _ => bad(format!("{n} {what} at byte {}, room for at most {room}", self.at)),
        }
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        let n = self.count(&format!("bytes of {what}"), 1)?;
        let at = self.at;
        match std::str::from_utf8(self.take(n)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => bad(format!("{what} at byte {at} is not UTF-8")),
        }
    }

    fn int(&mut self, kind: u32) -> Parsed<i128> {
        Ok(match kind {
            0 => self.array::<1>()?[0].into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            10 => self.u64()?.into(),
            _ => i64::from_le_bytes(self.array()?).into(),
        })
    }

    fn float(&mut self, kind: u32) -> Parsed<f64> {
        Ok(match kind {
            6 => f32::from_le_bytes(self.array()?).into(),
            _ => f64::from_le_bytes(self.array()?),
        })
    }

    fn boolean(&mut self) -> Parsed<bool> {
        Ok(self.array::<1>()?[0] != 0)
    }

    fn value(&mut self, key: &str) -> Parsed<Value> {
        let kind = self.u32()?;
        Ok(match kind {
            0..=5 | 10 | 11 => Value::Int(self.int(kind)?),
            6 | 12 => Value::Float(self.float(kind)?),
            7 => Value::Bool(self.boolean()?),
            8 => Value::Text(self.text(key)?),
            9 => self.list(key, 0)?,
            _ => return bad(format!("{key} has unknown type {kind}")),
        })
    }

    /// A list: kept where it is needed, else walked over.
    fn list(&mut self, key: &str, depth: usize) -> Parsed<Value> {
        let kind = self.u32()?;
        // Bytes of one element, or the fewest that it can have.
        let each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 if depth < MAX_NESTING => 12,
            _ => return bad(format!("{key} is an array of unknown type {kind}")),
        };
        let n = self.count(&format!("elements of {key}"), each)?;
        match kind {
            8 if TEXTS.contains(&key) => return Ok(Value::Texts(self.many(n, |c| c.text(key))?)),
            0..=5 | 10 | 11 if INTS.contains(&key) => {
                return Ok(Value::Ints(self.many(n, |c| c.int(kind).map(|i| i32::try_from(i).unwrap_or(-1)))?));
            }
            8 => (0..n).try_for_each(|_| {
                let bytes = self.count(&format!("bytes of {key}"), 1)?;
                self.take(bytes).map(|_| ())
            })?,
            9 => (0..n).try_for_each(|_| self.list(key, depth.saturating_add(1)).map(|_| ()))?,
            _ => {
                self.take(usize::try_from(each).unwrap_or(8).saturating_mul(n))?;
            }
        }
        Ok(Value::Skipped(n))
    }

    /// `n` elements; grows with what is really there, not with what is promised.
    fn many<T>(&mut self, n: usize, one: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut out = Vec::new();
        for _ in 0..n {
            out.push(one(self)?);
        }
        Ok(out)
    }
}

fn parse(prefix: &[u8], length: u64, file: usize) -> Parsed<Header> {
    let mut c = Cursor { prefix, at: 0, length };
    check_magic(prefix, length)?;
    c.take(4)?;
    match c.u32()? {
        2 | 3 => {}
        v if v.swap_bytes() == 2 || v.swap_bytes() == 3 => {
            return Err(Stop::Bad(
                Error::bad_model("a big-endian GGUF file").hint("convert it for little-endian machines"),
            ));
        }
        v => return Err(Stop::Bad(Error::bad_model(format!("GGUF version {v}, versions 2 and 3 are known")))),
    }
    // A tensor takes at least its name's length, a dimension, a type and an offset; a pair a length, a type and a byte.
    let tensor_count = c.count("tensors", 24)?;
    let pair_count = c.count("metadata pairs", 13)?;
    let mut metadata = HashMap::new();
    for _ in 0..pair_count {
        let key = c.text("a metadata key")?;
        let value = c.value(&key)?;
        if metadata.insert(key.clone(), value).is_some() {
            return bad(format!("metadata key {key} occurs twice"));
        }
    }
    let alignment = alignment(&metadata)?;
    let mut entries = Vec::new();
    for _ in 0..tensor_count {
        entries.push(tensor(&mut c)?);
    }
    let data = (c.at as u64).checked_next_multiple_of(alignment).ok_or(Stop::More)?;
    let mut tensors = HashMap::new();
    for Entry { name, dtype, shape, offset } in entries {
        let info = place(dtype, shape, offset, data, alignment, file).at(|| format!("tensor {name}"))?;
        if tensors.insert(name.clone(), info).is_some() {
            return bad(format!("tensor {name} occurs twice"));
        }
    }
    Ok(Header { metadata, tensors })
}

fn check_magic(prefix: &[u8], length: u64) -> Result<()> {
    const HINT: &str = "give a .gguf file or a folder with config.json, tokenizer.json and safetensors";
    if prefix.starts_with(b"GGUF") {
        return Ok(());
    }
    let found = if length == 0 {
        "an empty file".to_owned()
    } else if prefix.starts_with(b"version https://git-lfs") {
        return Err(Error::bad_model("a Git LFS pointer, not the model itself")
            .hint("run git lfs pull, or download the file from its page"));
    } else if prefix.starts_with(b"<") {
        "an HTML page".to_owned()
    } else if prefix.starts_with(b"PK\x03\x04") {
        "a zip or PyTorch file".to_owned()
    } else {
        format!("a file that starts with {:?}", String::from_utf8_lossy(&prefix[..prefix.len().min(4)]))
    };
    Err(Error::bad_model(format!("{found}, not a GGUF model")).hint(HINT))
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Int(n)) if (8..=1 << 20).contains(n) && n.count_ones() == 1 => Ok(*n as u64),
        Some(v) => Err(Error::bad_model(format!("general.alignment is {v:?}, expected a power of two from 8"))),
    }
}

struct Entry {
    name: String,
    dtype: DType,
    /// Outermost first.
    shape: Vec<usize>,
    offset: u64,
}

fn tensor(c: &mut Cursor) -> Parsed<Entry> {
    let name = c.text("a tensor's name")?;
    if name.is_empty() || name.len() > MAX_NAME {
        return bad(format!("a tensor's name has {} bytes, expected 1 to {MAX_NAME}", name.len()));
    }
    let dimensions = c.u32()?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return bad(format!("tensor {name} has {dimensions} dimensions, expected 1 to {MAX_DIMENSIONS}"));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let n = c.u64()?;
        match usize::try_from(n) {
            Ok(n) if n > 0 => shape.insert(0, n),
            _ => return bad(format!("tensor {name} has a dimension of {n}")),
        }
    }
    let number = c.u32()?;
    let Some(dtype) = DType::from_gguf(number) else {
        return Err(Stop::Bad(
            Error::bad_model(format!("tensor {name} has type {number}, which is not supported"))
                .hint("use a file of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K"),
        ));
    };
    Ok(Entry { name, dtype, shape, offset: c.u64()? })
}

fn place(dtype: DType, shape: Vec<usize>, offset: u64, data: u64, alignment: u64, file: usize) -> Result<TensorInfo> {
    if !offset.is_multiple_of(alignment) {
        return Err(Error::bad_model(format!("offset {offset} is not a multiple of {alignment}")));
    }
    let range = || {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let start = data.checked_add(offset)?;
        Some(start..start.checked_add(dtype.row_bytes(elements)? as u64)?)
    };
    let range = range()
        .ok_or_else(|| Error::bad_model(format!("shape {shape:?} does not make whole {} blocks", dtype.name())))?;
    Ok(TensorInfo { dtype, shape, file, range })
}
