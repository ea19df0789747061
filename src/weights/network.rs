//! What an executor takes: the parts of a network, and the way to them from a file.

use super::{Matrix, ModelFile};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Config, Head, Role},
};

/// One layer's weights: matrices as they are in the file, or as a backend takes them.
#[allow(missing_docs)]
pub struct Layer<M = Matrix> {
    pub attn_norm: Vec<f32>,
    pub q: M,
    pub k: M,
    pub v: M,
    pub q_norm: Vec<f32>,
    pub k_norm: Vec<f32>,
    pub o: M,
    pub ffn_norm: Vec<f32>,
    pub gate: M,
    pub up: M,
    pub down: M,
}

/// The matrix that turns tokens into rows, in the file's own type.
pub struct Embedding {
    matrix: Matrix,
}

impl Embedding {
    /// All rows.
    #[cfg(feature = "candle")]
    pub(crate) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// `[tokens, H]` rows of `tokens`, into `out`.
    ///
    /// # Errors
    /// `bad-input` for a token that the model does not have.
    pub fn embed(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(self.matrix.columns())) {
            let token = token as usize;
            if token >= self.matrix.rows() {
                let what = format!("token id {token} of a vocabulary of {}", self.matrix.rows());
                return Err(Error::new(ErrorKind::BadInput, what));
            }
            self.matrix.unpack_rows(token..token.saturating_add(1), row);
        }
        Ok(())
    }
}

/// A model file on its way into a backend: its parts, each read once, and the progress made.
pub struct Loading<'a> {
    file: &'a ModelFile,
    /// The ids of the tokens "no" and "yes".
    answers: (u32, u32),
    progress: Box<dyn FnMut(u64, u64) -> Result<()> + 'a>,
    loaded: u64,
}

impl<'a> Loading<'a> {
    /// Starts; `progress(loaded, total)` in bytes is called after each part and may stop the load with an error.
    pub fn new(file: &'a ModelFile, answers: (u32, u32), progress: impl FnMut(u64, u64) -> Result<()> + 'a) -> Self {
        Self { file, answers, progress: Box::new(progress), loaded: 0 }
    }

    /// The shape.
    pub fn config(&self) -> &'a Config {
        &self.file.config
    }

    /// The element type that most of the layers' weights have.
    #[cfg(feature = "candle")]
    pub(crate) fn main_dtype(&self) -> super::DType {
        self.file.main_dtype()
    }

    /// The judging rows.
    ///
    /// # Errors
    /// `bad-model` or `download` as met; so of every part.
    pub async fn head(&mut self) -> Result<Head> {
        self.file.head(self.answers.0, self.answers.1).await
    }

    /// `[H]` the last norm.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub async fn output_norm(&mut self) -> Result<Vec<f32>> {
        self.file.vector(Role::OutputNorm).await
    }

    /// The embedding matrix.
    ///
    /// # Errors
    /// As [`Self::head`], and what `progress` gives.
    pub async fn embedding(&mut self) -> Result<Embedding> {
        let matrix = self.file.matrix(Role::Embedding).await?;
        self.advance(matrix.bytes())?;
        Ok(Embedding { matrix })
    }

    /// The weights of layer `i`, its matrices as `form` gives them.
    ///
    /// # Errors
    /// As [`Self::embedding`], and what `form` gives.
    pub async fn layer<M>(&mut self, i: usize, mut form: impl FnMut(Matrix) -> Result<M>) -> Result<Layer<M>> {
        let mut bytes = 0usize;
        let count = |matrix: Matrix| {
            bytes = bytes.saturating_add(matrix.bytes());
            form(matrix)
        };
        let layer = self.file.layer(i, count).await?;
        self.advance(bytes)?;
        Ok(layer)
    }

    fn advance(&mut self, bytes: usize) -> Result<()> {
        let total = self.file.index.tensor_bytes();
        self.loaded = self.loaded.saturating_add(bytes as u64).min(total);
        (self.progress)(self.loaded, total)
    }

    /// Says that the load goes on, and learns whether it should.
    ///
    /// # Errors
    /// What `progress` gives.
    pub fn alive(&mut self) -> Result<()> {
        self.advance(0)
    }

    /// Everything was read.
    ///
    /// # Errors
    /// What `progress` gives.
    pub fn finish(mut self) -> Result<()> {
        let total = self.file.index.tensor_bytes();
        (self.progress)(total, total)
    }
}
