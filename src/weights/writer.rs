//! Writes GGUF files, version 3: everything before the tensors' data.

use std::io::{self, Write};

use super::DType;

/// Every tensor starts at a multiple of this.
pub(crate) const ALIGNMENT: u64 = 32;

/// A metadata value to write.
pub(crate) enum Entry<'a> {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'a str),
    Ints(Vec<i32>),
    Texts(Vec<&'a str>),
}

/// A tensor to write: outermost dimension first.
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    pub(crate) bytes: u64,
}

/// Bytes of padding after `length` bytes.
pub(crate) fn padding(length: u64) -> usize {
    (length.next_multiple_of(ALIGNMENT).wrapping_sub(length)) as usize
}

/// The header: magic, metadata, tensor list, padding.
pub(crate) fn header(out: &mut impl Write, metadata: &[(String, Entry)], tensors: &[Planned]) -> io::Result<()> {
    let mut head = Vec::new();
    head.extend_from_slice(b"GGUF");
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut head, key);
        entry(&mut head, value);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        text(&mut head, &tensor.name);
        head.extend((tensor.shape.len() as u32).to_le_bytes());
        for &n in tensor.shape.iter().rev() {
            head.extend((n as u64).to_le_bytes());
        }
        head.extend(tensor.dtype.gguf().to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset = offset.saturating_add(tensor.bytes).next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().saturating_add(padding(head.len() as u64)), 0);
    out.write_all(&head)
}

fn text(head: &mut Vec<u8>, text: &str) {
    head.extend((text.len() as u64).to_le_bytes());
    head.extend_from_slice(text.as_bytes());
}

fn entry(head: &mut Vec<u8>, value: &Entry) {
    let kind = |head: &mut Vec<u8>, kind: u32| head.extend(kind.to_le_bytes());
    match value {
        Entry::U32(n) => {
            kind(head, 4);
            head.extend(n.to_le_bytes());
        }
        Entry::F32(x) => {
            kind(head, 6);
            head.extend(x.to_le_bytes());
        }
        Entry::Bool(b) => {
            kind(head, 7);
            head.push(u8::from(*b));
        }
        Entry::Text(t) => {
            kind(head, 8);
            text(head, t);
        }
        Entry::Ints(list) => {
            kind(head, 9);
            kind(head, 5);
            head.extend((list.len() as u64).to_le_bytes());
            head.extend(list.iter().flat_map(|n| n.to_le_bytes()));
        }
        Entry::Texts(list) => {
            kind(head, 9);
            kind(head, 8);
            head.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|t| text(head, t));
        }
    }
}
