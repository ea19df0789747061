//! An adapter, its device, and what went wrong with them.

use std::sync::{Arc, Mutex};

use futures::channel::oneshot;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Only adapters that are real GPUs.
    pub hardware_only: bool,
    /// Prefer the one that saves power, or the fast one; the system's choice by default.
    pub power: wgpu::PowerPreference,
    /// Natively the adapter whose name contains this, where several are there; in a browser, which hides names, what to call it.
    pub name: Option<String>,
    /// In a browser: whoever hands out the device enables subgroups, which wgpu does not ask for there.
    pub with_subgroups: bool,
    /// Ask for WebGPU's default limits only, whatever the adapter has.
    pub default_limits: bool,
    /// The device belongs to somebody else: it is not destroyed with the backend.
    pub borrowed: bool,
    /// Time every kernel: slower in all, since nothing overlaps.
    pub profile: bool,
    /// What [`super::Gpu::tuning`] said on this adapter before.
    pub tuning: Option<String>,
}

/// What a GPU is and can do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adapter {
    /// Its name, as far as the system tells.
    pub name: String,
    /// Its driver, as far as the system tells.
    pub driver: String,
    /// True for an adapter that computes on the CPU.
    pub software: bool,
    /// 16-bit floats.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Dot products of packed bytes.
    pub packed_int8: bool,
}

pub(super) struct Device {
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) adapter: Adapter,
    pub(super) limits: wgpu::Limits,
    faults: Arc<Faults>,
    borrowed: bool,
}

/// What the device reported on its own.
#[derive(Default)]
struct Faults {
    /// How many errors there were, and the last one.
    errors: Mutex<(u64, Option<Error>)>,
    lost: Mutex<Option<String>>,
    waiting: Mutex<Vec<oneshot::Sender<String>>>,
}

impl Faults {
    /// The device is gone; the first reason counts.
    fn lose(&self, message: &str) {
        lock(&self.lost).get_or_insert_with(|| message.to_owned());
        for waiting in lock(&self.waiting).drain(..) {
            let _ = waiting.send(message.to_owned());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn no_device(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::NoDevice, what)
        .hint("compute on the CPU instead (`--device cpu`, in JavaScript `device: 'wasm'`)")
}

fn describe(e: &wgpu::Error) -> Error {
    match e {
        wgpu::Error::OutOfMemory { .. } => out_of_memory("the GPU has no memory left"),
        e => Error::new(ErrorKind::Unsupported, format!("the GPU refused a command: {e}"))
            .hint("this is a defect of the program or of the driver; compute on the CPU and report it"),
    }
}

pub(super) fn out_of_memory(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::OutOfMemory, what)
        .hint("use fewer or shorter documents a request or a smaller model, or close other programs that use the GPU")
}

/// The GPU adapters of this machine, real ones first.
#[cfg(not(target_arch = "wasm32"))]
pub async fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let found = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let mut adapters: Vec<Adapter> = found.iter().map(|a| Adapter::of(&instance, a, a.features())).collect();
    adapters.sort_by_key(|a| a.software);
    adapters
}

impl Adapter {
    fn of(instance: &wgpu::Instance, adapter: &wgpu::Adapter, features: wgpu::Features) -> Self {
        let info = adapter.get_info();
        Self {
            name: if info.name.is_empty() { "WebGPU".into() } else { info.name },
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 4,
            packed_int8: instance
                .wgsl_language_features()
                .contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct),
        }
    }
}

/// The adapter that `options` ask for.
async fn find(options: &GpuOptions) -> Result<(wgpu::Instance, wgpu::Adapter)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    #[cfg(not(target_arch = "wasm32"))]
    let adapter = {
        let mut adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
        let wanted = |a: &wgpu::Adapter| {
            let info = a.get_info();
            let named = options.name.as_ref().is_none_or(|n| info.name.to_lowercase().contains(&n.to_lowercase()));
            named && !(options.hardware_only && info.device_type == wgpu::DeviceType::Cpu)
        };
        adapters.retain(wanted);
        let low = options.power == wgpu::PowerPreference::LowPower;
        let rank = |a: &wgpu::Adapter| match a.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => usize::from(low),
            wgpu::DeviceType::IntegratedGpu => usize::from(!low),
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        adapters.sort_by_key(rank);
        adapters.into_iter().next()
    };
    #[cfg(target_arch = "wasm32")]
    let adapter = {
        let ask = wgpu::RequestAdapterOptions { power_preference: options.power, ..Default::default() };
        let software = |a: &wgpu::Adapter| a.get_info().device_type == wgpu::DeviceType::Cpu;
        instance.request_adapter(&ask).await.ok().filter(|a| !(options.hardware_only && software(a)))
    };
    let missing = || match &options.name {
        Some(name) => no_device(format!("no GPU adapter whose name contains `{name}`")),
        None => no_device("no GPU adapter was found"),
    };
    Ok((instance, adapter.ok_or_else(missing)?))
}

impl Device {
    pub(super) async fn open(options: &GpuOptions) -> Result<Self> {
        let (instance, found) = find(options).await?;
        let features = found.features() & (wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP);
        let mut limits = wgpu::Limits::default();
        if !options.default_limits {
            let has = found.limits();
            limits.max_buffer_size = has.max_buffer_size.max(limits.max_buffer_size);
            limits.max_storage_buffer_binding_size =
                has.max_storage_buffer_binding_size.max(limits.max_storage_buffer_binding_size);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("edge-reranker"),
            required_features: features,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (raw, queue) = found
            .request_device(&descriptor)
            .await
            .map_err(|e| no_device(format!("the GPU `{}` gives no device: {e}", found.get_info().name)))?;
        #[cfg_attr(not(target_arch = "wasm32"), expect(unused_mut))]
        let mut adapter = Adapter::of(&instance, &found, features);
        #[cfg(target_arch = "wasm32")]
        {
            adapter.subgroups = options.with_subgroups && found.get_info().subgroup_min_size >= 4;
            if let Some(name) = &options.name {
                adapter.name.clone_from(name);
            }
        }
        let faults = Arc::new(Faults::default());
        let on_error = faults.clone();
        raw.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            let mut errors = lock(&on_error.errors);
            *errors = (errors.0 + 1, Some(describe(&e)));
        }));
        let on_loss = faults.clone();
        raw.set_device_lost_callback(move |_, message| on_loss.lose(&message));
        Ok(Self { raw, queue, adapter, limits, faults, borrowed: options.borrowed })
    }

    /// An error if the device is lost.
    pub(super) fn check(&self) -> Result<()> {
        lock(&self.faults.lost).as_ref().map_or(Ok(()), |message| Err(lost(message)))
    }

    /// How many errors the device has reported so far.
    pub(super) fn errors(&self) -> u64 {
        lock(&self.faults.errors).0
    }

    /// An error if the device is lost, or has reported more errors than `before`: whose they are cannot be known.
    pub(super) fn check_since(&self, before: u64) -> Result<()> {
        self.check()?;
        match &*lock(&self.faults.errors) {
            (now, Some(e)) if *now > before => Err(e.clone()),
            _ => Ok(()),
        }
    }

    /// Resolves with a message once the device is lost.
    pub(super) fn lost(&self) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        match &*lock(&self.faults.lost) {
            Some(message) => drop(sender.send(message.clone())),
            None => lock(&self.faults.waiting).push(sender),
        }
        receiver
    }

    /// Runs `make` and reports what the device refuses of it.
    pub(super) async fn guarded<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        let scopes = || {
            let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let internal = self.raw.push_error_scope(wgpu::ErrorFilter::Internal);
            let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
            let made = make();
            (made, validation.pop(), internal.pop(), memory.pop())
        };
        let (made, validation, internal, memory) = scopes();
        if let Some(e) = memory.await {
            return Err(describe(&e));
        }
        if let Some(e) = validation.await {
            return Err(describe(&e));
        }
        if let Some(e) = internal.await {
            return Err(describe(&e));
        }
        self.check()?;
        Ok(made)
    }

    /// Submits commands; the future is ready when they are done.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> impl Future<Output = ()> + use<> {
        let index = self.queue.submit(commands);
        let raw = self.raw.clone();
        async move {
            // A failure is a lost device, which tells so itself.
            let _ = raw.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None });
        }
    }

    /// Submits commands; the future is ready when they are done.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> impl Future<Output = ()> + use<> {
        self.queue.submit(commands);
        let (sender, receiver) = oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        async move {
            let _ = receiver.await;
        }
    }
}

impl Device {
    pub(super) fn destroy(&self) {
        if !self.borrowed {
            self.raw.destroy();
            // The callback comes when the device is next looked after, which may be never.
            self.faults.lose("it was destroyed");
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.destroy();
    }
}

fn lost(message: &str) -> Error {
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    Error::new(ErrorKind::DeviceLost, format!("the GPU device was lost{why}")).hint("load the model again")
}
