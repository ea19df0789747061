//! A weight matrix as it lies in its file: rows of blocks, unpacked a few rows at a time.

use std::ops::Range;

use bytes::Bytes;

use super::DType;
use crate::error::{Error, Result};

/// `[rows, columns]` in the file's own element type; the product `x W^T` takes its rows.
#[derive(Clone)]
pub struct Matrix {
    dtype: DType,
    rows: usize,
    columns: usize,
    row_bytes: usize,
    data: Bytes,
}

impl Matrix {
    /// Takes the bytes of `rows` rows of `columns` elements.
    ///
    /// # Errors
    /// `bad-model` if blocks do not fill a row or the length is another one.
    pub fn new(dtype: DType, rows: usize, columns: usize, data: Bytes) -> Result<Self> {
        let row_bytes = dtype.row_bytes(columns).ok_or_else(|| {
            Error::bad_model(format!("rows of {columns} elements do not hold whole {} blocks", dtype.name()))
        })?;
        if rows.checked_mul(row_bytes) != Some(data.len()) {
            return Err(Error::bad_model(format!("{} bytes for {rows} rows of {row_bytes} bytes", data.len())));
        }
        Ok(Self { dtype, rows, columns, row_bytes, data })
    }

    /// A matrix of f32, row after row.
    pub fn from_f32(rows: usize, columns: usize, values: &[f32]) -> Result<Self> {
        Self::new(DType::F32, rows, columns, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of rows: outputs of the product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: inputs of the product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Unpacks `rows` into `out` `[rows, columns]`.
    ///
    /// # Panics
    /// If `rows` or `out` do not fit: both come from the plan, which was checked against this matrix.
    pub fn unpack_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        assert_eq!(out.len(), rows.len().wrapping_mul(self.columns), "room for the rows");
        // In range: `rows * row_bytes` is the length of `data`.
        let bytes = &self.data[rows.start.wrapping_mul(self.row_bytes)..rows.end.wrapping_mul(self.row_bytes)];
        // Row by row, so that what unpacking holds meanwhile stays in the first-level cache.
        for (row, out) in bytes.chunks_exact(self.row_bytes).zip(out.chunks_exact_mut(self.columns)) {
            self.dtype.unpack(row, out).expect("the shape was checked when the matrix was made");
        }
    }

    /// All rows as they lie in the file.
    #[cfg(feature = "candle")]
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// One row as it lies in the file.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let start = row.wrapping_mul(self.row_bytes);
        &self.data[start..start.wrapping_add(self.row_bytes)]
    }

    /// One row as f32.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.columns];
        self.unpack_rows(row..row.wrapping_add(1), &mut out);
        out
    }
}
