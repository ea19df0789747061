//! Matrix products as jobs: cut into dispatches that a submission can hold.

use super::{device::Device, kernel::Kernel, memory::Buffer, params, queue::Job, shader::Variant, weights::Weights};

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Store,
    Add,
    /// silu(gate) * up of interleaved rows.
    Gated,
}

/// One product's operands.
pub(super) struct Product<'a> {
    /// `[.., inputs]` f32, or bytes.
    pub(super) x: &'a Buffer,
    /// Scales of bytes.
    pub(super) x_scales: &'a Buffer,
    pub(super) weights: &'a Weights,
    /// Bound where weights have no scales.
    pub(super) nothing: &'a Buffer,
    pub(super) y: &'a Buffer,
    pub(super) rows: usize,
    /// First row of y.
    pub(super) y_row: usize,
    pub(super) mode: Mode,
}

impl Product<'_> {
    /// The dispatches, none of more than about `budget` multiply-adds.
    pub(super) fn jobs(&self, device: &Device, kernel: &Kernel, variant: Variant, budget: u64) -> Vec<Job> {
        let w = self.weights;
        let [tile_rows, tile_outputs] = variant.tile();
        let tile_cost = u64::from(tile_rows) * u64::from(tile_outputs) * w.inputs as u64;
        let shrink = if self.mode == Mode::Gated { 2 } else { 1 };
        let mut jobs = Vec::new();
        for slice in &w.slices {
            let buffers = [self.x, self.x_scales, &slice.quants, slice.scales.as_ref().unwrap_or(self.nothing), self.y];
            let grid =
                [slice.rows.div_ceil(tile_outputs as usize) as u32, self.rows.div_ceil(tile_rows as usize) as u32];
            let tiles = (budget / tile_cost).clamp(1, 1 << 31) as u32;
            let wide = tiles.min(grid[0]);
            let high = (tiles / grid[0]).clamp(1, 65_535);
            for y in (0..grid[1]).step_by(high as usize) {
                for x in (0..grid[0]).step_by(wide as usize) {
                    let size = [wide.min(grid[0] - x), high.min(grid[1] - y)];
                    let params = params::MatMul {
                        rows: self.rows as u32,
                        inputs4: w.inputs as u32 / 4,
                        outputs: slice.rows as u32,
                        stride4: (w.outputs / shrink / 4) as u32,
                        y_row: self.y_row as u32,
                        column4: (slice.first / shrink / 4) as u32,
                        tile_x: x,
                        tile_y: y,
                        mode: self.mode as u32,
                    };
                    let cost = u64::from(size[0]) * u64::from(size[1]) * tile_cost;
                    jobs.push(Job::new(device, kernel, &buffers, params.words(), size, cost));
                }
            }
        }
        jobs
    }
}
