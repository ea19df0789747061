//! The element types of model files: their block sizes, and the way from blocks to f32.
//!
//! The block layouts and their unpacking are candle-core's; bf16, f16 and f32 go through `half`.

use std::borrow::Cow;

use candle_core::{
    Device,
    quantized::{GgmlDType, QStorage, QTensor},
};
use half::{bf16, f16};

use crate::error::{Error, ErrorKind, Result};

/// How a tensor's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// GGUF's numbers for tensor types (ggml.h, `enum ggml_type`), with the name users know.
const TYPES: [(u32, DType, &str); 13] = [
    (0, DType::F32, "F32"),
    (1, DType::F16, "F16"),
    (2, DType::Q4_0, "Q4_0"),
    (3, DType::Q4_1, "Q4_1"),
    (6, DType::Q5_0, "Q5_0"),
    (7, DType::Q5_1, "Q5_1"),
    (8, DType::Q8_0, "Q8_0"),
    (10, DType::Q2K, "Q2_K"),
    (11, DType::Q3K, "Q3_K"),
    (12, DType::Q4K, "Q4_K"),
    (13, DType::Q5K, "Q5_K"),
    (14, DType::Q6K, "Q6_K"),
    (30, DType::BF16, "BF16"),
];

impl DType {
    /// The type of a GGUF tensor.
    pub(crate) fn from_gguf(number: u32) -> Option<Self> {
        TYPES.iter().find(|t| t.0 == number).map(|t| t.1)
    }

    /// The number of this type in a GGUF file.
    pub(crate) fn gguf(self) -> u32 {
        self.row().0
    }

    /// The name users know: `Q8_0`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (u32, Self, &'static str) {
        TYPES.iter().find(|t| t.1 == self).expect("every type is listed")
    }

    pub(crate) fn candle(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4_1 => GgmlDType::Q4_1,
            Self::Q5_0 => GgmlDType::Q5_0,
            Self::Q5_1 => GgmlDType::Q5_1,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q2K => GgmlDType::Q2K,
            Self::Q3K => GgmlDType::Q3K,
            Self::Q4K => GgmlDType::Q4K,
            Self::Q5K => GgmlDType::Q5K,
            Self::Q6K => GgmlDType::Q6K,
        }
    }

    /// Elements in one block.
    pub fn block_len(self) -> usize {
        self.candle().block_size()
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.candle().type_size()
    }

    /// True for types that hold fewer than 16 bits an element.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Bytes of a row of `columns` elements, if whole blocks fill it.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        columns
            .is_multiple_of(self.block_len())
            .then(|| columns.checked_div(self.block_len())?.checked_mul(self.block_bytes()))
            .flatten()
    }

    /// Unpacks whole blocks into f32.
    ///
    /// # Errors
    /// `bad-model` when `bytes` and `out` do not hold the same number of blocks.
    pub fn unpack(self, bytes: &[u8], out: &mut [f32]) -> Result<()> {
        if self.row_bytes(out.len()) != Some(bytes.len()) {
            return Err(Error::bad_model(format!(
                "{} bytes of {} do not make {} elements",
                bytes.len(),
                self.name(),
                out.len()
            )));
        }
        match self {
            Self::F32 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(*b);
                }
            }
            Self::F16 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = f16::from_le_bytes(*b).to_f32();
                }
            }
            Self::BF16 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *o = bf16::from_le_bytes(*b).to_f32();
                }
            }
            _ => {
                // candle reads blocks in place and wants them aligned.
                let bytes = if bytes.as_ptr().addr().is_multiple_of(4) {
                    Cow::Borrowed(bytes)
                } else {
                    Cow::Owned(bytes.to_vec())
                };
                let unpacked = || -> candle_core::Result<Vec<f32>> {
                    let storage = QStorage::from_data(bytes, &Device::Cpu, self.candle())?;
                    QTensor::new(storage, out.len())?.dequantize(&Device::Cpu)?.to_vec1()
                };
                out.copy_from_slice(
                    &unpacked()
                        .map_err(|e| Error::new(ErrorKind::BadModel, format!("unpacking {}: {e}", self.name())))?,
                );
            }
        }
        Ok(())
    }
}
