"""The benchmark's cases in PyTorch: the first line of the output says where; then each line of the input is one, each of the output says what it cost.

    python peer.py [gpu [half]]    CUDA if there is one, else the CPU in f32
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

CUDA = "gpu" in sys.argv and torch.cuda.is_available()
MANIFEST = Path(__file__).parents[3] / "fixtures" / "manifest_full.json"


def config(part: str) -> dict:
    return json.loads(MANIFEST.read_text())[part]["config"]


def conv(batch, inputs, outputs, h, w, kernel):
    x, weight, bias = torch.randn(batch, inputs, h, w), torch.randn(outputs, inputs, kernel, kernel), torch.randn(outputs)
    return lambda: F.conv2d(x, weight, bias, padding=kernel // 2)


def linear(rows, inputs, outputs):
    x, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    return lambda: F.linear(x, weight, bias)


def attention(batch, heads, queries, keys, d):
    q, k, v = (torch.randn(batch, n, heads, d).transpose(1, 2) for n in (queries, keys, keys))
    return lambda: F.scaled_dot_product_attention(q, k, v)


def group_norm_silu(batch, channels, h, w):
    x, weight, bias = torch.randn(batch, channels, h, w), torch.randn(channels), torch.randn(channels)
    return lambda: F.silu(F.group_norm(x, 32, weight, bias))


def linear_geglu(rows, inputs, outputs):
    x, weight, bias = torch.randn(rows, inputs), torch.randn(2 * outputs, inputs), torch.randn(2 * outputs)

    def run():
        value, gate = F.linear(x, weight, bias).chunk(2, dim=-1)
        return value * F.gelu(gate)

    return run


def layer_norm(rows, size):
    x, weight, bias = torch.randn(rows, size), torch.randn(size), torch.randn(size)
    return lambda: F.layer_norm(x, (size,), weight, bias)


def unet_level(channels, h, w):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(block_out_channels=(channels,), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D",),
                                up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=768, attention_head_dim=8).eval()
    x, text = torch.randn(2, 4, h, w), torch.randn(2, 77, 768)
    return lambda: unet(x, 500, text)


def cfg_step(h, w, tiles):
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(config("unet")).eval()
    controlnet = ControlNetModel.from_config(config("controlnet")).eval()
    batch = 2 * tiles
    x, hint, text = torch.randn(batch, 4, h, w), torch.rand(batch, 3, 8 * h, 8 * w), torch.randn(batch, 77, 768)

    def run():
        down, mid = controlnet(x, 500, text, controlnet_cond=hint, return_dict=False)
        return unet(x, 500, text, down_block_additional_residuals=down, mid_block_additional_residual=mid)

    return run


def vae_decode(h, w):
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_config(config("vae")).eval()
    z = torch.randn(1, 4, h, w)
    return lambda: vae.decode(z)


def rrdb(h, w):
    from spandrel.architectures.ESRGAN import ESRGAN

    network, x = ESRGAN(num_blocks=23).eval(), torch.rand(1, 3, h, w)
    return lambda: network(x)


CASES = {f.__name__: f for f in (conv, linear, linear_geglu, attention, group_norm_silu, layer_norm, unet_level, cfg_step, vae_decode, rrdb)}


def peak() -> int:
    """Bytes; 0 where the system does not say."""
    if CUDA:
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def forget_peak() -> None:
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if CUDA:
        torch.set_default_device("cuda")
        torch.set_default_dtype(torch.half if "half" in sys.argv else torch.float)
    print(f"{torch.get_default_device()}, {torch.get_default_dtype()}", flush=True)

    def finished():
        run()
        if CUDA:
            torch.cuda.synchronize()

    known, run = None, None
    for line in sys.stdin:
        if line != known:
            known, run, case = line, None, json.loads(line)
            run = CASES[case.pop("op")](**case)
            finished()
        forget_peak()
        begun, used = time.perf_counter(), time.process_time()
        finished()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - used
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak": peak()}), flush=True)


main()
