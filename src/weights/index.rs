//! What a file holds: names, types, shapes and byte ranges, each checked against the file.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::{DType, Matrix, source::SourceFile};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    model::Role,
};

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Outermost dimension first; the last one is contiguous.
    pub shape: Vec<usize>,
    /// Which of the model's files holds it.
    pub file: usize,
    /// Where in that file.
    pub range: Range<u64>,
}

/// The tensors of a model, over one or several files.
pub struct Index {
    files: Vec<SourceFile>,
    tensors: HashMap<String, TensorInfo>,
    vectors: Mutex<HashMap<String, Vec<f32>>>,
}

impl Index {
    /// Checks every tensor's length and place.
    pub(crate) fn new(files: Vec<SourceFile>, tensors: HashMap<String, TensorInfo>) -> Result<Self> {
        for (name, tensor) in &tensors {
            let file = files.get(tensor.file).ok_or_else(|| Error::bad_model(format!("tensor {name} has no file")))?;
            check_range(tensor, file.source.len()).at(|| format!("tensor {name}")).at(|| file.name.clone())?;
        }
        Ok(Self { files, tensors, vectors: Mutex::default() })
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &HashMap<String, TensorInfo> {
        &self.tensors
    }

    /// Looks a tensor up.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The bytes of all tensors together.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.values().map(|t| t.range.end.saturating_sub(t.range.start)).fold(0, u64::saturating_add)
    }

    async fn read(&self, tensor: &TensorInfo) -> Result<Bytes> {
        self.files[tensor.file].read(tensor.range.clone()).await
    }

    /// At most `most` bytes from the middle of a tensor.
    pub(crate) async fn sample(&self, name: &str, most: u64) -> Result<Bytes> {
        let tensor = self.get(name).ok_or_else(|| Error::bad_model(format!("tensor {name} is missing")))?;
        let Range { start, end } = tensor.range;
        let middle = start.midpoint(end);
        let from = middle.saturating_sub(most / 2).max(start);
        self.files[tensor.file].read(from..from.saturating_add(most).min(end)).await
    }

    /// Loads a tensor as a matrix of the given shape.
    pub(crate) async fn matrix(&self, name: &str, [rows, columns]: [usize; 2]) -> Result<Matrix> {
        let tensor = self.expect(name, [rows, columns])?;
        let data = self.read(tensor).await?;
        Matrix::new(tensor.dtype, rows, columns, data).at(|| format!("tensor {name}"))
    }

    /// Loads a vector as f32. It is kept: every pass over streamed weights asks again, and a read costs more than a vector's bytes.
    pub(crate) async fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let known = || self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = known().get(name).cloned();
        if let Some(vector) = kept {
            return Ok(vector);
        }
        let vector = self.matrix(name, [1, len]).await?.row(0);
        known().insert(name.to_owned(), vector.clone());
        Ok(vector)
    }

    /// The tensor, if it is there in the shape that the model needs. A vector is one row.
    pub(crate) fn expect(&self, name: &str, [rows, columns]: [usize; 2]) -> Result<&TensorInfo> {
        let tensor = self.get(name).ok_or_else(|| {
            Error::bad_model(format!("tensor {name} is missing"))
                .hint("the file is incomplete or not a Qwen3 model; convert it again from the full checkpoint")
        })?;
        let fits = match tensor.shape[..] {
            [n] => rows == 1 && n == columns,
            [r, c] => r == rows && c == columns,
            _ => false,
        };
        if fits {
            return Ok(tensor);
        }
        Err(Error::bad_model(format!("shape {:?}, expected [{rows}, {columns}]", tensor.shape))
            .at(format!("tensor {name}"))
            .hint("the file's settings and its tensors disagree; convert it again"))
    }

    /// Loads rows `rows` of a matrix only.
    pub(crate) async fn rows(&self, name: &str, shape: [usize; 2], rows: Range<usize>) -> Result<Matrix> {
        let tensor = self.expect(name, shape)?;
        let part = || {
            let row = tensor.dtype.row_bytes(shape[1])? as u64;
            let start = tensor.range.start.checked_add(row.checked_mul(rows.start as u64)?)?;
            let end = tensor.range.start.checked_add(row.checked_mul(rows.end as u64)?)?;
            (start <= end && end <= tensor.range.end).then_some(start..end)
        };
        let range = part().ok_or_else(|| Error::bad_model(format!("rows {rows:?} of tensor {name} are not in it")))?;
        let data = self.files[tensor.file].read(range).await?;
        Matrix::new(tensor.dtype, rows.end.saturating_sub(rows.start), shape[1], data)
    }

    /// The file's name for a role.
    pub(crate) fn role_name(&self, role: Role, naming: Naming) -> String {
        match naming {
            Naming::Gguf => role.gguf(),
            Naming::Checkpoint { bare: false } => role.checkpoint(),
            Naming::Checkpoint { bare: true } => role.checkpoint().trim_start_matches("model.").to_owned(),
        }
    }
}

/// Whose names a file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Gguf,
    /// `bare` when the names come without their leading `model.`
    Checkpoint {
        bare: bool,
    },
}

fn check_range(tensor: &TensorInfo, length: u64) -> Result<()> {
    let elements = tensor
        .shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or_else(|| Error::bad_model(format!("shape {:?} is too large", tensor.shape)))?;
    let columns = tensor.shape.last().copied().unwrap_or(1);
    if tensor.dtype.row_bytes(columns).is_none() {
        return Err(Error::bad_model(format!(
            "rows of {columns} elements do not hold whole {} blocks",
            tensor.dtype.name()
        )));
    }
    let expected = tensor.dtype.row_bytes(elements).map(|b| b as u64);
    let actual = tensor.range.end.checked_sub(tensor.range.start);
    if expected.is_none() || expected != actual {
        return Err(Error::bad_model(format!(
            "{actual:?} bytes for shape {:?} of {}",
            tensor.shape,
            tensor.dtype.name()
        )));
    }
    if tensor.range.end > length {
        return Err(Error::new(
            ErrorKind::BadModel,
            format!("ends at byte {} of a file of {length} bytes", tensor.range.end),
        )
        .hint("the file is truncated; download it again"));
    }
    Ok(())
}
