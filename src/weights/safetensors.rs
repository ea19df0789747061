//! The headers of safetensors files; the `safetensors` crate parses and checks them.

use std::collections::HashMap;

use safetensors::{Dtype, tensor::Metadata};

use super::{DType, TensorInfo, source::SourceFile};
use crate::error::{Error, Result};

/// The format's own bound on a header.
const LONGEST_HEADER: u64 = 100_000_000;

/// Adds the tensors of `file`, number `number` in the model's list, to `tensors`.
pub(crate) async fn read_header(
    file: &SourceFile,
    number: usize,
    tensors: &mut HashMap<String, TensorInfo>,
) -> Result<()> {
    let refuse = |what: String| {
        Error::bad_model(what).at(&file.name).hint("the file is truncated or damaged; download it again")
    };
    if file.source.len() < 8 {
        return Err(refuse(format!("{} bytes are too few for a safetensors file", file.source.len())));
    }
    let mut size = [0; 8];
    size.copy_from_slice(&file.read(0..8).await?);
    let size = u64::from_le_bytes(size);
    let data = size
        .checked_add(8)
        .filter(|_| size <= LONGEST_HEADER)
        .ok_or_else(|| refuse(format!("the header claims {size} bytes, at most {LONGEST_HEADER} are allowed")))?;
    let header = file.read(8..data).await?;
    // The crate's own reader wants the whole file in memory; the header alone goes through its types, and `Index` checks the ranges.
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| refuse(format!("bad safetensors header: {e}")))?;
    for (name, info) in metadata.tensors() {
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(Error::bad_model(format!("tensor {name} has type {other:?}"))
                    .at(&file.name)
                    .hint("checkpoints of bf16, f16 or f32 are supported; for quantised weights use a GGUF file"));
            }
        };
        let offset =
            |n: usize| data.checked_add(n as u64).ok_or_else(|| refuse(format!("tensor {name} lies out of range")));
        let range = offset(info.data_offsets.0)?..offset(info.data_offsets.1)?;
        let tensor = TensorInfo { dtype, shape: info.shape.clone(), file: number, range };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(refuse(format!("tensor {name} is in two files")));
        }
    }
    Ok(())
}
