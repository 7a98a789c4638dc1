//! Which device does the work: a real GPU through wgpu, else burn's flex CPU backend.

use burn::tensor::wgpu::wgpu;
use burn::tensor::{DType, Device, DeviceKind};
use clarifier_kernels::AttentionBudget;
use clarifier_model::weight::Packing;
use serde::{Deserialize, Serialize};

use crate::device_memory;
use crate::known_bad::{self, Instead};

/// A GPU with memory of its own, as [`AdapterInfo::kind`] says.
const DISCRETE: &str = "discrete";

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// A GPU, even a software one.
    Gpu,
    /// The CPU.
    Cpu,
}

impl DeviceChoice {
    /// Every choice, by its name in options, forms and recipes.
    pub const NAMES: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("gpu", Self::Gpu), ("cpu", Self::Cpu)];
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named("device", &Self::NAMES, text)
    }
}

/// What `name` stands for in a list of names.
fn named<T: Copy>(what: &str, list: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = list.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = list.iter().map(|(known, _)| *known).collect();
        format!("unknown {what} {name:?}; expected one of {}", names.join(", "))
    })
}

/// What is computed in, and how the weights are kept. The VAE and all statistics are computed in f32 in any
/// case.
///
/// Whatever is computed in f32 has its weights in 16 bits in memory where these hold them exactly, as they do
/// with files in f16 or bf16 ([`Packing::Exact`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f16 on a GPU that computes in it, else f32.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits: half the memory, and faster on most GPUs.
    F16,
    /// 32 bits, with the weights of UNet and ControlNet rounded to 16 where they are not exact in them:
    /// half the memory with files in f32 too, and with LoRAs.
    Packed,
}

impl Precision {
    /// Every precision, by its name in options, forms and recipes.
    pub const NAMES: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("f32", Self::F32), ("f16", Self::F16), ("packed", Self::Packed)];

    /// How weights that are computed with in f32 are kept.
    fn packing(self) -> Packing {
        if self == Self::Packed { Packing::Rounded } else { Packing::Exact }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named("precision", &Self::NAMES, text)
    }
}

/// A GPU as its driver describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// The part's name.
    pub name: String,
    /// Vulkan, Metal, Dx12, Gl or BrowserWebGpu.
    pub api: String,
    /// Discrete, integrated, virtual, or software.
    pub kind: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether this is a processor pretending to be a GPU.
    pub software: bool,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// The largest part of a buffer that a kernel can see, in bytes.
    pub max_binding: u64,
    /// How many buffers a kernel can see.
    pub max_storage_buffers: u32,
    /// How many invocations a workgroup can have.
    pub max_invocations: u32,
    /// What a workgroup's invocations can share, in bytes.
    pub workgroup_memory: u32,
    /// Whether kernels can compute in f16.
    pub shader_f16: bool,
    /// Bytes of memory that it has, or may have of the machine's, if its driver says so.
    #[serde(default)]
    pub memory: Option<u64>,
}

impl AdapterInfo {
    pub(crate) fn new(adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        Self {
            api: info.backend.to_string(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => DISCRETE,
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "software",
                wgpu::DeviceType::Other => "other",
            }
            .into(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            // Browsers may keep it to themselves.
            name: if info.name.is_empty() { "a GPU".into() } else { info.name },
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            shader_f16: adapter.features().contains(wgpu::Features::SHADER_F16),
            memory: device_memory::of(adapter),
        }
    }

    /// Whether it has memory of its own.
    pub(crate) fn is_discrete(&self) -> bool {
        self.kind == DISCRETE
    }
}

/// Every adapter of this machine that can compute.
pub async fn list() -> Vec<AdapterInfo> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    adapters.iter().filter(|adapter| computes(adapter)).map(AdapterInfo::new).collect()
}

/// Whether an adapter has compute shaders.
pub(crate) fn computes(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
}

/// The device that was taken, and why.
#[derive(Debug, Clone)]
pub struct Backend {
    /// For burn.
    pub device: Device,
    /// `F32` or `F16`.
    pub dtype: DType,
    /// How weights that are computed with in f32 are kept.
    pub packing: Packing,
    /// How much memory attention may take for scores.
    pub attention: AttentionBudget,
    /// The GPU, or none for the CPU.
    pub adapter: Option<AdapterInfo>,
    /// One sentence for the user.
    pub reason: String,
}

impl Backend {
    /// The same device, to compute in f32 with weights that are not rounded.
    pub fn in_full_precision(&self) -> Self {
        let packing = if self.packing == Packing::Rounded { Packing::Exact } else { self.packing };
        Self { dtype: DType::F32, packing, ..self.clone() }
    }
}

/// The device asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A GPU was asked for, and there is none.
    #[error(
        "`device` gpu: no adapter with compute shaders was found; install the GPU's driver (Vulkan, Metal or DX12)"
    )]
    NoGpu,
    /// The driver refused.
    #[error("the GPU {name} could not be started ({reason}); update its driver")]
    Start {
        /// The part's name.
        name: String,
        /// The driver's words.
        reason: String,
    },
    /// f16 without support for it.
    #[error("`precision` f16: {name} does not compute in f16")]
    NoF16 {
        /// The device.
        name: String,
    },
}

/// Start the device that `choice` and `precision` ask for.
///
/// # Errors
/// If it does not exist, does not start, or does not compute in the precision insisted on.
pub async fn choose(choice: DeviceChoice, precision: Precision) -> Result<Backend, DeviceError> {
    choose_among(choice, precision, (0, 1)).await
}

/// [`choose`] for one of several processes of a machine, which is `(number, count)` of them: where there are several
/// discrete GPUs, each gets the next.
///
/// # Errors
/// Likewise.
pub async fn choose_among(
    choice: DeviceChoice,
    precision: Precision,
    (number, count): (usize, usize),
) -> Result<Backend, DeviceError> {
    let adapters = if choice == DeviceChoice::Cpu { Vec::new() } else { list().await };
    let real = adapters.iter().find(|a| !a.software);
    let insisted = choice == DeviceChoice::Gpu;
    // The same GPU is there once through each API.
    let discrete =
        |adapter: &&AdapterInfo| adapter.is_discrete() && Some(&adapter.api) == real.map(|a| &a.api);
    let discrete = adapters.iter().filter(discrete).count();
    match (choice, real, adapters.first()) {
        (DeviceChoice::Cpu, ..) => cpu("as asked for", precision),
        (_, Some(_), _) if count > 1 && discrete > 1 => {
            let index = number % discrete;
            let reason =
                format!("GPU {} of {discrete} for process {} of {count} here", index + 1, number + 1);
            gpu(&reason, DeviceKind::DiscreteGpu(index), insisted, precision).await
        }
        (_, Some(_), _) => gpu("a real GPU", DeviceKind::DefaultDevice, insisted, precision).await,
        (DeviceChoice::Gpu, None, Some(_)) => {
            let reason = "a software adapter, as insisted on; the CPU is about ten times faster";
            gpu(reason, DeviceKind::DefaultDevice, true, precision).await
        }
        (DeviceChoice::Gpu, None, None) => Err(DeviceError::NoGpu),
        (DeviceChoice::Auto, None, Some(_)) => {
            cpu("the only adapter is a software one, which would be slower", precision)
        }
        (DeviceChoice::Auto, None, None) => cpu("no GPU was found", precision),
    }
}

fn cpu(reason: &str, precision: Precision) -> Result<Backend, DeviceError> {
    if precision == Precision::F16 {
        return Err(DeviceError::NoF16 { name: "the CPU backend".into() });
    }
    Ok(Backend {
        device: Device::flex(),
        dtype: DType::F32,
        packing: precision.packing(),
        attention: AttentionBudget::default(),
        adapter: None,
        reason: format!("CPU ({reason})"),
    })
}

async fn gpu(
    reason: &str,
    kind: DeviceKind,
    insisted: bool,
    precision: Precision,
) -> Result<Backend, DeviceError> {
    let failed = |reason: String| DeviceError::Start { name: "that wgpu prefers".into(), reason };
    let options = Device::wgpu_options().device_kind(kind);
    let (device, setup) = options.init_with_setup_async().await.map_err(|e| failed(e.to_string()))?;
    if setup.device.features().contains(wgpu::Features::SUBGROUP) {
        clarifier_kernels::allow_subgroups(&device);
    }
    let adapter = AdapterInfo::new(&setup.adapter);
    let f16 = adapter.shader_f16 && device.supports_dtype(DType::F16);
    let dtype = match precision {
        Precision::F16 if !f16 => return Err(DeviceError::NoF16 { name: adapter.name }),
        Precision::F32 | Precision::Packed => DType::F32,
        // A software adapter has no f16 arithmetic behind its f16.
        Precision::Auto if adapter.software || !f16 => DType::F32,
        Precision::Auto | Precision::F16 => DType::F16,
    };
    let known = known_bad::of(&adapter);
    let backend = Backend {
        device,
        dtype,
        packing: precision.packing(),
        attention: AttentionBudget::for_buffer(adapter.max_buffer.min(adapter.max_binding)),
        reason: format!("{} through {} ({reason})", adapter.name, adapter.api),
        adapter: Some(adapter),
    };
    avoid(backend, &known, insisted, precision)
}

/// Take what the table of known-bad drivers says instead, and say so. A device that was insisted on stays.
fn avoid(
    mut backend: Backend,
    known: &[known_bad::Entry],
    insisted: bool,
    precision: Precision,
) -> Result<Backend, DeviceError> {
    for entry in known {
        let said = format!("{}; known to be bad at {}", backend.reason, entry.claim());
        if entry.instead == Instead::Cpu && !insisted {
            return cpu(&said, precision);
        }
        entry.instead.apply(&mut backend);
        backend.reason = said;
    }
    Ok(backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend { dtype: DType::F16, reason: "some GPU".into(), ..Backend::flex() }
    }

    fn entry(instead: &str) -> Vec<known_bad::Entry> {
        let text = format!(
            "[[entry]]\nadapter = 'some*'\nkernel = 'matmul'\ninstead = {instead}\nwhat = 'wrong'\nsource = 'there'"
        );
        known_bad::parse(&text).unwrap()
    }

    #[test]
    fn what_is_known_to_be_bad_is_avoided_and_said() {
        let avoided = |instead, insisted| {
            avoid(backend(), &entry(instead), insisted, Precision::Auto).expect("nothing to refuse")
        };
        let single = avoided("'f32'", false);
        assert_eq!(single.dtype, DType::F32);
        assert!(single.reason.contains("some GPU; known to be bad at matmul: wrong (there); f32 instead"));
        let chunked = avoided("{ attention-bytes = 4096 }", false);
        assert_eq!((chunked.dtype, chunked.attention.score_bytes), (DType::F16, 4096));
        let cpu = avoided("'cpu'", false);
        assert!(cpu.reason.starts_with("CPU (some GPU; known to be bad at matmul"), "{}", cpu.reason);
        let insisted = avoided("'cpu'", true);
        assert_eq!(insisted.dtype, DType::F16);
        assert!(insisted.reason.contains("known to be bad"));
    }
}
