//! One adapter, named by its API and its number there, started as `upscale` would start it.

use burn::tensor::wgpu::{WgpuBackend, WgpuSetup, wgpu};
use burn::tensor::{DType, Device, DeviceKind};
use clarifier_kernels::AttentionBudget;

use super::Level;
use crate::device::{AdapterInfo, Backend, DeviceError};

/// A device to be tested.
pub struct Opened {
    /// For the engine.
    pub backend: Backend,
    /// Whether kernels can compute in f16 here.
    pub f16: bool,
    pub(super) adapter: Option<wgpu::Adapter>,
}

impl Opened {
    /// The processor.
    pub fn cpu() -> Self {
        Self { backend: Backend::flex(), f16: false, adapter: None }
    }

    /// A device that runs already (in a page, where none can be started twice).
    pub async fn running(backend: Backend) -> Self {
        // As burn asks for one.
        let preferred = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = match &backend.adapter {
            Some(_) => instance(wgpu::Backends::all()).request_adapter(&preferred).await.ok(),
            None => None,
        };
        let f16 = backend.adapter.as_ref().is_some_and(|adapter| adapter.shader_f16)
            && backend.device.supports_dtype(DType::F16);
        Self { backend, f16, adapter }
    }

    /// Whether a processor pretends to be a GPU.
    pub(super) fn is_software(&self) -> bool {
        self.backend.adapter.as_ref().is_some_and(|adapter| adapter.software)
    }

    /// How many bytes the largest case makes: as much as a kernel can see here, within reason for a machine that
    /// holds it three times.
    pub(super) fn largest_binding(&self, level: Level) -> u64 {
        let sensible = match &self.backend.adapter {
            _ if level == Level::Quick => 64 << 20,
            // What a page once had of memory it keeps.
            _ if cfg!(target_family = "wasm") => 128 << 20,
            Some(adapter) if !adapter.software => 1 << 30,
            _ => 256 << 20,
        };
        let adapter = self.backend.adapter.as_ref();
        adapter.map_or(sensible, |a| sensible.min(a.max_binding).min(a.max_buffer))
    }
}

/// The graphics APIs of this program, on this system.
pub fn apis() -> Vec<String> {
    let enabled = wgpu::Instance::enabled_backend_features();
    BACKENDS.iter().filter(|b| enabled.contains((**b).into())).map(ToString::to_string).collect()
}

const BACKENDS: [wgpu::Backend; 4] =
    [wgpu::Backend::Vulkan, wgpu::Backend::Metal, wgpu::Backend::Dx12, wgpu::Backend::Gl];

fn backend(api: &str) -> Option<wgpu::Backend> {
    BACKENDS.into_iter().find(|backend| backend.to_string() == api)
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

async fn adapters(api: &str) -> Vec<wgpu::Adapter> {
    let Some(backend) = backend(api) else { return Vec::new() };
    let all = instance(backend.into()).enumerate_adapters(backend.into()).await;
    all.into_iter().filter(crate::device::computes).collect()
}

/// The adapters of one API that can compute.
pub async fn list_on(api: &str) -> Vec<AdapterInfo> {
    adapters(api).await.iter().map(AdapterInfo::new).collect()
}

/// Start the `number`th adapter of an API, from 0.
///
/// # Errors
/// If there is none, or its driver refuses.
pub async fn open(api: &str, number: usize) -> Result<Opened, DeviceError> {
    let failed = |reason: String| DeviceError::Start { name: format!("{number} of {api}"), reason };
    let mut all = adapters(api).await;
    if number >= all.len() {
        return Err(failed("it is not there".into()));
    }
    let kind = |adapter: &wgpu::Adapter| adapter.get_info().device_type;
    // burn counts the adapters of each kind apart, and knows only one that is a processor.
    let before = all[..number].iter().filter(|other| kind(other) == kind(&all[number])).count();
    let adapter = all.swap_remove(number);
    let selector = match kind(&adapter) {
        wgpu::DeviceType::DiscreteGpu => Some(DeviceKind::DiscreteGpu(before)),
        wgpu::DeviceType::IntegratedGpu => Some(DeviceKind::IntegratedGpu(before)),
        wgpu::DeviceType::VirtualGpu => Some(DeviceKind::VirtualGpu(before)),
        wgpu::DeviceType::Cpu if before == 0 => Some(DeviceKind::Cpu),
        _ => None,
    };
    let device = match selector {
        Some(selector) => {
            let options = Device::wgpu_options().device_kind(selector).graphics_api(pinned(api));
            options.init_async().await.map_err(|e| failed(e.to_string()))?
        }
        None => by_hand(api, &adapter).await.map_err(failed)?,
    };
    let info = AdapterInfo::new(&adapter);
    let f16 = info.shader_f16 && device.supports_dtype(DType::F16);
    let backend = Backend {
        device,
        dtype: DType::F32,
        attention: AttentionBudget::for_buffer(info.max_buffer.min(info.max_binding)),
        reason: format!("{} through {}", info.name, info.api),
        adapter: Some(info),
    };
    Ok(Opened { backend, f16, adapter: Some(adapter) })
}

fn pinned(api: &str) -> WgpuBackend {
    match backend(api) {
        Some(wgpu::Backend::Vulkan) => WgpuBackend::Vulkan,
        Some(wgpu::Backend::Metal) => WgpuBackend::Metal,
        Some(wgpu::Backend::Dx12) => WgpuBackend::Dx12,
        Some(wgpu::Backend::Gl) => WgpuBackend::Gl,
        _ => WgpuBackend::Auto,
    }
}

/// With what burn asks for too, but for what wgpu calls experimental.
async fn by_hand(api: &str, adapter: &wgpu::Adapter) -> Result<Device, String> {
    let left_out = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter.features().difference(left_out),
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| e.to_string())?;
    let backend = backend(api).ok_or("no such API")?;
    let setup =
        WgpuSetup { instance: instance(backend.into()), adapter: adapter.clone(), device, queue, backend };
    Device::wgpu_options().setup(setup).init().map_err(|e| e.to_string())
}
