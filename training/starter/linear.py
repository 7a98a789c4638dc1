"""Where the autoencoder's training begins: at the best linear one of its shape, which is found in a minute.

Group normalisation takes the level out of what passes it, and from a random start gradient descent is long busy with smuggling it past: after
ten minutes pictures came back at 18 dB. So the networks begin as linear functions. Residual branches give zero. Before the last norm of
encoder and decoder every value f stands beside −f, which makes the mean zero, together with constants that are much larger, which make the
deviation almost constant; and SiLU(f) − SiLU(−f) is f.
"""

import math

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from common import descend, mixed

RATE = 0.01
CONSTANT = 24.0
"""How much of the variance is the constants', as a multiple of the values'."""


class Pairs:
    """Channels before a norm: in each group some values, the same values negated, and constants."""

    def __init__(self, channels: int, groups: int):
        self.size = channels // groups
        self.constants = max(1, self.size // 16)
        self.values = self.size // 2 - self.constants
        self.count = groups * self.values
        self.groups = groups

    def spread(self, rows: torch.Tensor) -> torch.Tensor:
        """`[values, …]` to `[channels, …]`, nothing where constants are."""
        constants = rows.new_zeros(2 * self.constants, *rows.shape[1:])
        return torch.cat([torch.cat([part, -part, constants]) for part in rows.split(self.values)])

    def constant(self, sizes: torch.Tensor) -> torch.Tensor:
        """The constants alone, of each group's size."""
        nothing = sizes.new_zeros(2 * self.values)
        signs = torch.tensor([1.0, -1.0]).repeat(self.constants)
        return torch.cat([torch.cat([nothing, size * signs]) for size in sizes])


class Down(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def halves(vae: AutoencoderKL) -> tuple[nn.Sequential, nn.Sequential, Pairs, Pairs]:
    """The autoencoder without what is not linear, and the channels before its two last norms."""
    config = vae.config
    first, second, third, last = config.block_out_channels
    inner, outer = (Pairs(channels, config.norm_num_groups) for channels in (last, first))
    encoder = nn.Sequential(
        nn.Conv2d(3, first, 3, padding=1), Down(first, first, 3, 2), nn.Conv2d(first, second, 1),
        Down(second, second, 3, 2), nn.Conv2d(second, third, 1), Down(third, third, 3, 2),
        nn.Conv2d(third, inner.count, 1), nn.Conv2d(inner.count, config.latent_channels, 3, padding=1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(config.latent_channels, last, 3, padding=1), Up(last, last, 3, padding=1), nn.Conv2d(last, third, 1),
        Up(third, third, 3, padding=1), nn.Conv2d(third, second, 1), Up(second, second, 3, padding=1),
        nn.Conv2d(second, outer.count, 1), nn.Conv2d(outer.count, 3, 3, padding=1),
    )
    for module in (*encoder, *decoder):
        nn.init.orthogonal_(module.weight)
        nn.init.zeros_(module.bias)
    return encoder, decoder, inner, outer


def put(target: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> None:
    assert target.weight.shape == weight.shape, f"{tuple(target.weight.shape)}, not {tuple(weight.shape)}"
    target.weight.copy_(weight)
    target.bias.copy_(bias)


def put_norm(linear: list[nn.Conv2d], before: nn.Conv2d, norm: nn.GroupNorm, after: nn.Conv2d, pairs: Pairs, rows: int,
             values: torch.Tensor) -> None:
    """The two last maps of a half, with the norm and the SiLU between them; `values` are what the first of the two gives."""
    squares = values.square().mean((0, 2, 3)).view(pairs.groups, -1).sum(1)
    sizes = (CONSTANT * squares / pairs.constants).sqrt()
    put(before, pairs.spread(linear[0].weight), pairs.spread(linear[0].bias) + pairs.constant(sizes))
    deviation = (2 * (squares + pairs.constants * sizes.square()) / pairs.size).sqrt()
    norm.weight.copy_(deviation.repeat_interleave(pairs.size))
    norm.bias.zero_()
    after.weight.zero_()
    after.bias.zero_()
    after.weight[:rows] = pairs.spread(linear[1].weight.transpose(0, 1)).transpose(0, 1)
    after.bias[:rows] = linear[1].bias


@torch.no_grad()
def put_all(vae: AutoencoderKL, encoder: nn.Sequential, decoder: nn.Sequential, inner: Pairs, outer: Pairs,
            pictures: torch.Tensor) -> None:
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    down, up = vae.encoder.down_blocks, vae.decoder.up_blocks
    latents = vae.config.latent_channels
    plain = [vae.encoder.conv_in, down[0].downsamplers[0].conv, down[1].resnets[0].conv_shortcut,
             down[1].downsamplers[0].conv, down[2].resnets[0].conv_shortcut, down[2].downsamplers[0].conv]
    for target, source in zip(plain, encoder):
        put(target, source.weight, source.bias)
    put_norm(encoder[6:], down[3].resnets[0].conv_shortcut, vae.encoder.conv_norm_out, vae.encoder.conv_out, inner,
             latents, encoder[:7](pictures))
    plain = [vae.decoder.conv_in, up[0].upsamplers[0].conv, up[1].resnets[0].conv_shortcut,
             up[1].upsamplers[0].conv, up[2].resnets[0].conv_shortcut, up[2].upsamplers[0].conv]
    for target, source in zip(plain, decoder):
        put(target, source.weight, source.bias)
    put_norm(decoder[6:], up[3].resnets[0].conv_shortcut, vae.decoder.conv_norm_out, vae.decoder.conv_out, outer, 3,
             decoder[:7](encoder(pictures)))
    for between in (vae.quant_conv, vae.post_quant_conv):
        between.bias.zero_()
        between.weight.copy_(torch.eye(len(between.weight))[:, :, None, None])


def begin(vae: AutoencoderKL, batch, seconds: float) -> None:
    """Give `vae` the weights of a linear autoencoder, trained for so many seconds of the processor on what `batch()` gives."""
    encoder, decoder, inner, outer = halves(vae)
    both = nn.Sequential(encoder, decoder).to(memory_format=torch.channels_last)

    def loss_of() -> torch.Tensor:
        true = batch()
        with mixed():
            found = both(true)
        return F.mse_loss(found.float(), true)

    for step, loss in enumerate(descend(both, loss_of, (RATE, 1e-3), seconds), 1):
        pass
    print(f"linear: step {step}, psnr {10 * math.log10(4 / loss):.4g}", flush=True)
    put_all(vae, encoder, decoder, inner, outer, batch())
