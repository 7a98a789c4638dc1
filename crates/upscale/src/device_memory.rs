//! How much memory a GPU has: WebGPU's language has no word for it, so the driver is asked.

use burn::tensor::wgpu::wgpu;

/// Bytes of the largest heap that is near the GPU: its own memory, or its share of the machine's. None through other
/// interfaces than Vulkan.
// Where wgpu has Vulkan.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) fn of(adapter: &wgpu::Adapter) -> Option<u64> {
    use ash::vk::MemoryHeapFlags;
    // SAFETY: nothing is destroyed, and the handle is not kept.
    #[allow(unsafe_code)]
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (instance, device) = (adapter.shared_instance().raw_instance(), adapter.raw_physical_device());
    // SAFETY: the device is the instance's, and both live as long as the adapter.
    #[allow(unsafe_code)]
    let memory = unsafe { instance.get_physical_device_memory_properties(device) };
    let heaps = memory.memory_heaps_as_slice().iter();
    heaps.filter(|heap| heap.flags.contains(MemoryHeapFlags::DEVICE_LOCAL)).map(|heap| heap.size).max()
}

/// None is known.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) fn of(_: &wgpu::Adapter) -> Option<u64> {
    None
}
