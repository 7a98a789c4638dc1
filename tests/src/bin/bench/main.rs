//! `cargo xtask bench`: how fast each kernel and network is, what this device could do, and what PyTorch does beside it.

mod block;
mod cases;
mod networks;
mod peer;
mod random;
mod report;
mod sdcpp;
mod stock;
mod usage;

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Distribution, Tensor};
use clarifier_upscale::device::{AdapterInfo, Backend, DeviceChoice, Precision, choose};
use serde::Serialize;

use cases::{Case, Setting};
use peer::Peer;
use usage::Usage;

const HELP: &str = "\
cargo xtask bench [--quick] [--peers] [--sdcpp PROGRAM] [--device cpu|gpu [--half]] [--threads N] [--rounds N] [--only TEXT] [--json FILE]

--quick        the kernels only, two rounds
--peers        the same in PyTorch, turn by turn: CLARIFIER_PYTHON or python3 with torch, diffusers, spandrel
--sdcpp        the step of UNet and ControlNet in stable-diffusion.cpp too: its program, often called sd-cli
--device       cpu (the default) or gpu, whose kernels are measured beside burn's own; PyTorch is on CUDA then, if it has that
--half         f16 on the GPU, and in PyTorch if that is on CUDA
--threads      of both; the default is all
--rounds       how often each runs; the best counts (5)
--only         cases whose name has this text
--json         write the same there";

/// What is asked for.
struct Request {
    quick: bool,
    peers: bool,
    sdcpp: Option<PathBuf>,
    device: DeviceChoice,
    half: bool,
    threads: usize,
    rounds: usize,
    only: String,
    json: Option<PathBuf>,
}

impl Request {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        let (device, only) = (DeviceChoice::Cpu, String::new());
        let (quick, peers, half, sdcpp, json) = (false, false, false, None, None);
        let mut request = Self { quick, peers, sdcpp, device, half, threads, rounds: 0, only, json };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => request.quick = true,
                "--peers" => request.peers = true,
                "--sdcpp" => request.sdcpp = Some(arguments.next()?.into()),
                "--device" => request.device = arguments.next()?.parse().ok()?,
                "--half" => request.half = true,
                "--threads" => request.threads = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--rounds" => request.rounds = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--only" => request.only = arguments.next()?,
                "--json" => request.json = Some(arguments.next()?.into()),
                _ => return None,
            }
        }
        if request.rounds == 0 {
            request.rounds = if request.quick { 2 } else { 5 };
        }
        Some(request)
    }
}

/// What a device can do at most, measured.
#[derive(Debug, Clone, Copy, Serialize)]
struct Limits {
    /// Floating-point operations a second, in f32.
    flops: f64,
    /// Bytes a second, read and written.
    bytes: f64,
}

/// One case's figures; the best of its rounds.
#[derive(Debug, Serialize)]
struct Row {
    case: Case,
    name: String,
    operations: f64,
    ours: Usage,
    /// How near this is to the larger of what its operations and its bytes need at the limits.
    share_of_limit: f64,
    torch: Option<Usage>,
    /// The same by burn's own operations, on a GPU.
    stock: Option<Usage>,
    /// Seconds that stable-diffusion.cpp takes for the same.
    sdcpp: Option<f64>,
}

fn main() {
    let Some(request) = Request::parse(std::env::args().skip(1)) else {
        eprintln!("{HELP}");
        std::process::exit(2);
    };
    rayon::ThreadPoolBuilder::new().num_threads(request.threads).build_global().expect("no pool yet");
    let backend = pollster::block_on(choose(
        request.device,
        if request.half { Precision::F16 } else { Precision::F32 },
    ))
    .unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1);
    });
    let mut peer =
        request.peers.then(|| Peer::start(request.threads, backend.adapter.is_some(), request.half));
    let limits = limits(&backend);
    println!("{}, {} threads", backend.reason, request.threads);
    if let Some(peer) = &peer {
        println!("PyTorch: {}", peer.kind);
    }
    println!("limits: {:.0} GFLOP/s, {:.1} GB/s\n", limits.flops / 1e9, limits.bytes / 1e9);
    let on_gpu = backend.adapter.is_some();
    report::head(request.peers, on_gpu);
    let mut rows = Vec::new();
    let real_gpu = backend.adapter.as_ref().is_some_and(|adapter| !adapter.software);
    for case in cases::all(request.quick, real_gpu) {
        let name = case.to_string();
        if !name.contains(&request.only) {
            continue;
        }
        let setting = Setting { device: &backend.device, dtype: backend.dtype, attention: backend.attention };
        let measured = |run: &mut dyn FnMut()| {
            usage::of(|| {
                run();
                backend.device.sync().expect("the device does its work");
            })
        };
        let run = case.prepare(&setting).or_else(|| networks::prepare(case, &setting));
        let mut run = run.expect("a kernel or a network");
        let most_bytes = |adapter: &AdapterInfo| adapter.max_buffer.min(adapter.max_binding);
        let most_bytes = backend.adapter.as_ref().map(most_bytes);
        let mut stock = most_bytes.and_then(|most| stock::prepare(case, &setting, most));
        // Shaders are compiled, and memory is taken.
        measured(&mut run);
        if let Some(stock) = &mut stock {
            measured(stock);
        }
        let mut best = [None::<Usage>; 3];
        for _ in 0..request.rounds {
            best[0] = Some(measured(&mut run).best(best[0]));
            if let Some(peer) = &mut peer {
                best[1] = Some(peer.run(&case).best(best[1]));
            }
            if let Some(stock) = &mut stock {
                best[2] = Some(measured(stock).best(best[2]));
            }
        }
        let [Some(ours), torch, stock] = best else { unreachable!("at least one round") };
        let (operations, bytes) = (case.operations(), case.bytes(backend.dtype.size()));
        let needed = (operations / limits.flops).max(bytes / limits.bytes);
        let share_of_limit = needed / ours.seconds;
        let sdcpp = match (case, &request.sdcpp) {
            (Case::CfgStep { h, w, tiles: 1 }, Some(program)) => {
                // Memory of both would be too much for some machines.
                drop(run);
                let seconds = sdcpp::cfg_step(program, request.threads, h, w);
                Some(seconds.unwrap_or_else(|error| {
                    eprintln!("{error}");
                    std::process::exit(1);
                }))
            }
            _ => None,
        };
        let row = Row { case, name, operations, ours, share_of_limit, torch, stock, sdcpp };
        report::row(&row, on_gpu);
        rows.push(row);
    }
    report::sdcpp(&rows);
    if let Some(path) = request.json {
        report::json(&path, &backend.reason, request.threads, limits, &rows);
    }
}

/// The best of several tries.
fn limits(backend: &Backend) -> Limits {
    let device = &backend.device;
    let best = |f: &dyn Fn() -> f64| (0..5).map(|_| f()).fold(0.0, f64::max);
    let values = 1 << 26;
    let side = 2048;
    let x = Tensor::<1>::random([values], Distribution::Default, (device, backend.dtype));
    let square = Tensor::<2>::random([side, side], Distribution::Default, (device, backend.dtype));
    let timed = |f: &dyn Fn()| {
        let begun = Instant::now();
        f();
        device.sync().expect("the device does its work");
        begun.elapsed().as_secs_f64()
    };
    // No kernel of ours can be asked on a GPU: burn's largest product stands for it.
    let product = || 2.0 * (side as f64).powi(3) / timed(&|| drop(square.clone().matmul(square.clone())));
    let host_copy = || usage::copy_bytes_a_second(values);
    let copy = || (2 * backend.dtype.size() * values) as f64 / timed(&|| drop(x.clone().add_scalar(1.0)));
    if backend.adapter.is_none() {
        Limits { flops: best(&clarifier_kernels::peak_flops), bytes: best(&host_copy) }
    } else {
        Limits { flops: best(&product), bytes: best(&copy) }
    }
}
