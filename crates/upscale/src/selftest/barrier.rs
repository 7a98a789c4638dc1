//! Workgroup memory and its barriers, by a kernel of our own through wgpu: what every tiled kernel stands on.

use burn::tensor::wgpu::wgpu;

/// Each workgroup turns its part of the input round, through memory that its invocations share.
const KERNEL: &str = "
var<workgroup> shared_part: array<u32, 256>;
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    for (var round = 0u; round < 3u; round++) {
        shared_part[lane] = values[group.x * 256u + lane];
        BARRIER
        values[group.x * 256u + lane] = shared_part[255u - lane] * 3u + round;
        BARRIER
    }
}";

pub(super) const NAME: &str = "workgroup barriers";
/// How many workgroups.
const GROUPS: usize = 1024;

/// The shape, in words.
pub(super) const SHAPE: &str = "1024 workgroups × 256";

/// How many values are wrong, and the first of them; `faulty` leaves the barriers out.
pub(super) async fn run(adapter: &wgpu::Adapter, faulty: bool) -> Result<(usize, String), String> {
    let source = KERNEL.replace("BARRIER", if faulty { "" } else { "workgroupBarrier();" });
    let descriptor = wgpu::DeviceDescriptor { label: Some("self-test"), ..Default::default() };
    let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| e.to_string())?;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let input: Vec<u32> = (0..GROUPS as u32 * 256).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    let size = (input.len() * 4) as u64;
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let values =
        buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC);
    let back = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let bytes: Vec<u8> = input.iter().flat_map(|v| v.to_le_bytes()).collect();
    queue.write_buffer(&values, 0, &bytes);
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: values.as_entire_binding() }],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(GROUPS as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&values, 0, &back, 0, size);
    queue.submit([encoder.finish()]);
    let output = read(&device, &back).await?;
    let wrong: Vec<usize> = (0..input.len()).filter(|i| output[*i] != expected(&input, *i)).collect();
    let place =
        |i: &usize| format!("[{}, {}]: {}, not {}", i / 256, i % 256, output[*i], expected(&input, *i));
    Ok((wrong.len(), wrong.first().map_or_else(String::new, place)))
}

/// After three rounds a part is turned round an odd number of times.
fn expected(input: &[u32], index: usize) -> u32 {
    let (group, lane) = (index / 256 * 256, index % 256);
    (0..3u32).fold(input[group + 255 - lane], |value, round| value.wrapping_mul(3).wrapping_add(round))
}

async fn read(device: &wgpu::Device, buffer: &wgpu::Buffer) -> Result<Vec<u32>, String> {
    let arrived = std::sync::Arc::new(std::sync::Mutex::new((None, None::<std::task::Waker>)));
    let told = arrived.clone();
    buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
        if let Ok(mut state) = told.lock() {
            state.0 = Some(result);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    });
    // In a browser this does nothing, and the browser calls back by itself.
    device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| e.to_string())?;
    std::future::poll_fn(|context| {
        let Ok(mut state) = arrived.lock() else { return std::task::Poll::Ready(Err("lost".to_owned())) };
        match state.0.take() {
            Some(result) => std::task::Poll::Ready(result.map_err(|e| e.to_string())),
            None => {
                state.1 = Some(context.waker().clone());
                std::task::Poll::Pending
            }
        }
    })
    .await?;
    let bytes = buffer.get_mapped_range(..).map_err(|e| e.to_string())?;
    Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
