//! The parameters of every kernel, named as in its shader: a test reads the shaders and compares.

/// Words of the largest set of parameters.
pub(super) const WORDS: usize = 12;

/// A number as the word that a shader reads.
pub(super) trait Word {
    fn word(self) -> u32;
}

impl Word for u32 {
    fn word(self) -> u32 {
        self
    }
}

impl Word for f32 {
    fn word(self) -> u32 {
        self.to_bits()
    }
}

macro_rules! params {
    ($($(#[$about:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug)]
            pub(super) struct $name {
                $(pub(super) $field: $kind),*
            }

            impl $name {
                #[cfg(test)]
                pub(super) const FIELDS: &'static [(&'static str, &'static str)] =
                    &[$((stringify!($field), stringify!($kind))),*];

                /// As the shader's `Params` lies in memory.
                pub(super) fn words(self) -> [u32; WORDS] {
                    let mut words = [0; WORDS];
                    for (slot, word) in words.iter_mut().zip([$(self.$field.word()),*]) {
                        *slot = word;
                    }
                    words
                }
            }
        )*
    };
}

params! {
    /// Of `shared/matmul.wgsl`.
    MatMul {
        rows: u32, inputs4: u32, outputs: u32, stride4: u32, y_row: u32, column4: u32, tile_x: u32, tile_y: u32,
        mode: u32,
    }
    /// Of `quantize.wgsl`.
    Quantize { blocks: u32 }
    /// Of `row_max.wgsl`.
    RowMax { width4: u32 }
    /// Of `rms_norm.wgsl`.
    RmsNorm { width4: u32, x_row: u32, width: f32, eps: f32 }
    /// Of `head_norm_rope.wgsl`.
    HeadNormRope {
        heads: u32, head_dim: u32, stride: u32, head_stride: u32, x_row: u32, position: u32, eps: f32,
    }
    /// Of `attend.wgsl`.
    Attend {
        first_tile: u32, heads: u32, kv_heads: u32, q_stride: u32, kv_stride: u32, scale: f32,
    }
}
