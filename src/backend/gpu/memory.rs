//! Buffers, and the bind groups that name them.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::device::Device;

/// A buffer on the GPU with a number that tells it from every other.
pub(super) struct Buffer {
    pub(super) raw: wgpu::Buffer,
    id: u64,
}

impl Buffer {
    /// A storage buffer of at least `bytes`, zeroed.
    pub(super) fn storage(device: &Device, label: &str, bytes: u64) -> Self {
        let copy = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        Self::new(device, label, bytes.max(16), wgpu::BufferUsages::STORAGE | copy)
    }

    pub(super) fn new(device: &Device, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
            usage,
            mapped_at_creation: false,
        };
        Self { raw: device.raw.create_buffer(&descriptor), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.raw.size()
    }
}

/// Frees the memory at once: a browser would wait for its garbage collector.
impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
    }
}

/// Bind groups made so far, by their buffers.
#[derive(Default)]
pub(super) struct BindGroups(Mutex<HashMap<Vec<u64>, wgpu::BindGroup>>);

impl BindGroups {
    /// The most that are kept.
    const MOST: usize = 8192;

    pub(super) fn get(&self, device: &Device, layout: &wgpu::BindGroupLayout, buffers: &[&Buffer]) -> wgpu::BindGroup {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Vec<u64> = buffers.iter().map(|b| b.id).collect();
        if made.len() >= Self::MOST {
            made.clear();
        }
        let make = || {
            let entries: Vec<wgpu::BindGroupEntry> = buffers
                .iter()
                .enumerate()
                .map(|(i, b)| wgpu::BindGroupEntry { binding: i as u32, resource: b.raw.as_entire_binding() })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
            device.raw.create_bind_group(&descriptor)
        };
        made.entry(key).or_insert_with(make).clone()
    }

    /// Forgets them all: some of their buffers are gone.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
