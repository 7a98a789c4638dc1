"""Where the diffusion training begins: UNet and ControlNet hand on what they get, and learn what to do about it.

The ε of a noisy latent is what the latent has more than the truth, so all of its values must come through the UNet. As in the autoencoder (linear.py), group
norms and SiLUs are in the way, and gradient descent is long busy with getting past them. So the UNet begins as the identity, and the ControlNet
begins by taking the hint's own latents off what passes the UNet's last block: the hint is near the truth, so what is left is near the noise.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

OFFSET = 4.0
"""Constants before the last norm, of alternating signs and so much larger than the values that these hardly change the deviation."""
LINEAR = 3.0
"""What is added before SiLU: there it is nearly a straight line."""
TAKEN = 0.8
"""Share of the hint that the ControlNet takes off at first, at the middle of its scales."""


def eye(weight: torch.Tensor, first: int = 0) -> None:
    """The middle of a kernel's inputs from `first` on as the identity."""
    y, x = (size // 2 for size in weight.shape[2:])
    rows = len(weight)
    weight[:, first : first + rows] = 0
    weight[:, first : first + rows, y, x] = torch.eye(rows)


@torch.no_grad()
def straighten(unet: nn.Module, controlnet: nn.Module, strength: float) -> None:
    """`strength`: what the ControlNet's first residual is multiplied with."""
    for network in (unet, controlnet):
        for name, module in network.named_modules():
            if name.endswith("conv2"):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
    eye(unet.conv_in.weight)
    first, last = unet.up_blocks[-1].resnets
    width = len(first.conv_shortcut.weight)
    inner = first.conv_shortcut.in_channels - width
    first.conv_shortcut.weight[:, :inner] *= 0.1
    eye(first.conv_shortcut.weight, inner)
    signs = torch.tensor([1.0, -1.0]).repeat(width // 2)
    for side in (0, width):
        eye(last.conv_shortcut.weight, side)
    last.conv_shortcut.weight *= 0.5
    last.conv_shortcut.bias.copy_(OFFSET * signs)
    unet.conv_norm_out.weight.fill_(math.sqrt(OFFSET**2 + 1))
    unet.conv_norm_out.bias.copy_(LINEAR - OFFSET * signs)
    at = torch.tensor(LINEAR, requires_grad=True)
    with torch.enable_grad():
        height = F.silu(at)
        (slope,) = torch.autograd.grad(height, at)
    eye(unet.conv_out.weight)
    unet.conv_out.weight /= slope
    unet.conv_out.bias.fill_(-(height / slope).item())
    nn.init.zeros_(controlnet.conv_in.weight)
    nn.init.zeros_(controlnet.conv_in.bias)
    eye(controlnet.controlnet_down_blocks[0].weight)
    # Half of what the last block hands on comes that way.
    controlnet.controlnet_down_blocks[0].weight *= -2 * TAKEN / strength
