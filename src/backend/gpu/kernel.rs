//! Compiled kernels: a pipeline and how its buffers are bound.

use std::sync::Arc;

use super::{
    device::Device,
    memory::{BindGroups, Buffer},
};
use crate::error::Result;

/// A compute pipeline. Group 0 holds its parameters, group 1 its buffers.
pub(super) struct Kernel {
    pub(super) name: Arc<str>,
    pub(super) pipeline: wgpu::ComputePipeline,
    buffers: wgpu::BindGroupLayout,
    groups: BindGroups,
}

/// Whether a kernel's buffer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, dynamic: bool) -> wgpu::BindGroupLayoutEntry {
    let ty = wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None };
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}

/// The layout of group 0: one slot of the ring of parameters.
pub(super) fn params_layout(device: &Device) -> wgpu::BindGroupLayout {
    device.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("params"),
        entries: &[entry(0, wgpu::BufferBindingType::Uniform, true)],
    })
}

impl Kernel {
    /// Compiles `source`, whose group 1 has a buffer for every one of `access`.
    pub(super) async fn new(
        device: &Device,
        params: &wgpu::BindGroupLayout,
        name: &str,
        source: String,
        constants: &[(&'static str, f64)],
        access: &[Access],
    ) -> Result<Self> {
        let make = || {
            let storage = |a: &Access| wgpu::BufferBindingType::Storage { read_only: *a == Access::Read };
            let entries: Vec<_> = access.iter().enumerate().map(|(i, a)| entry(i as u32, storage(a), false)).collect();
            let buffers = device
                .raw
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(name), entries: &entries });
            let layout = device.raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(name),
                bind_group_layouts: &[Some(params), Some(&buffers)],
                immediate_size: 0,
            });
            let module = device.raw.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            let pipeline = device.raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&layout),
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
            Self { name: name.into(), pipeline, buffers, groups: BindGroups::default() }
        };
        device.guarded(make).await
    }

    /// The bind group of group 1.
    pub(super) fn bind(&self, device: &Device, buffers: &[&Buffer]) -> wgpu::BindGroup {
        self.groups.get(device, &self.buffers, buffers)
    }

    /// Forgets the bind groups: some of their buffers are gone.
    pub(super) fn forget(&self) {
        self.groups.clear();
    }
}
