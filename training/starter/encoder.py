"""Teach the autoencoder's encoder the view's code; goes on from its state. Can run beside diffusion.py.

    python encoder.py --crops crops.npz --vae vae.pt --view view.pt --state encoder.pt --minutes 12
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common import Training, averaged, mixed, unit
from networks import autoencoder, controlnet
from vae import HELD_BACK
from view import view_of

RATE = 0.002
SIDES = [(128, 6), (192, 3), (256, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True, help="the state of vae.py")
    parser.add_argument("--view", type=Path, required=True, help="the state of view.py")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of work, over all calls")
    args = parser.parse_args()
    torch.manual_seed(0)
    crops, pick = dict(np.load(args.crops)), random.Random(0)
    vae, view = autoencoder(), controlnet().controlnet_cond_embedding.requires_grad_(False)
    vae.load_state_dict(averaged(args.vae, "vae"))
    view.load_state_dict(averaged(args.view, "view"))
    half = nn.ModuleDict({"encoder": vae.encoder, "quant_conv": vae.quant_conv})
    for network in (half, view):
        network.to(memory_format=torch.channels_last)
    training = Training(nn.ModuleDict({"vae": half}), {"matrices": RATE, "rest": 3e-4}, args.minutes, args.state)
    channels = vae.config.latent_channels

    def coded(networks: nn.ModuleDict, pictures: torch.Tensor) -> torch.Tensor:
        """The means of the latents; what the encoder gives besides them, how sure it is, stays."""
        return networks["quant_conv"](networks["encoder"](pictures))[:, :channels]

    def loss_of(_: int) -> torch.Tensor:
        side, count = pick.choice(SIDES)
        parts = []
        for _ in range(count):
            one = crops[pick.choice(["guess", "guess", "true"])]
            one = one[pick.randrange(HELD_BACK, len(one))]
            y, x = (pick.randrange(length - side + 1) for length in one.shape[1:])
            parts.append(one[:, y : y + side, x : x + side])
        parts = unit(np.stack(parts)).to(memory_format=torch.channels_last)
        wanted = view_of(parts, view)
        with mixed():
            found = coded(half, parts)
        return F.mse_loss(found.float(), wanted)

    held = unit(crops["guess"][:HELD_BACK])

    @torch.no_grad()
    def look(average: nn.ModuleDict) -> dict:
        wanted = torch.cat([view_of(part, view) for part in held.split(8)])
        found = torch.cat([coded(average["vae"], part) for part in held.split(8)])
        return {"error": F.mse_loss(found, wanted).sqrt().item(), "deviation": wanted.std().item()}

    training.run(loss_of, look, every=250)


if __name__ == "__main__":
    main()
