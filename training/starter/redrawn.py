"""Redraw crops with the diffusion networks as they are, for the decoder to learn from what they leave behind.

    python redrawn.py --latents latents.npz --diffusion diffusion.pt --out redrawn.npz
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch

from common import averaged, mixed
from diffusion import HELD_BACK, SHARP, SOFT, Networks, clip_tokenizer, redraw, sigmas_from

COUNT = 512
TOGETHER = 8
EVALUATIONS = 7
STARTS = (200, 550)
"""Timesteps, about the default strength's 331."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=Path, required=True, help="that diffusion.py made")
    parser.add_argument("--diffusion", type=Path, required=True, help="the state of diffusion.py")
    parser.add_argument("--guidance", type=float, default=6.0, help="the strongest")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    pick, latents = random.Random(0), dict(np.load(args.latents))
    factor = 1 / float(latents["true"][: 8 * HELD_BACK].astype(np.float32).std())
    networks, state = Networks().eval(), {}
    for name in networks:
        state |= {f"{name}.{key}": value for key, value in averaged(args.diffusion, name).items()}
    networks.load_state_dict(state)
    tokenizer = clip_tokenizer()
    chosen = pick.sample(range(HELD_BACK, len(latents["guess"])), COUNT)
    found = []
    for first in range(0, COUNT, TOGETHER):
        guess = factor * torch.from_numpy(latents["guess"][chosen[first : first + TOGETHER]]).float()
        sigmas = sigmas_from(pick.randrange(*STARTS), EVALUATIONS)
        pair = tokenizer([pick.choice(SOFT), pick.choice(SHARP)], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        with mixed():
            # Mostly the strong ones, which leave most behind.
            guidance = max(pick.uniform(1, args.guidance) for _ in range(2))
            x = redraw(networks, pair, guess, sigmas, guidance, 0.6, seed=first)
        found.append((x / factor).half().numpy())
        print(f"{first + TOGETHER} of {COUNT}", flush=True)
    with args.out.open("wb") as file:
        np.savez(file, index=np.array(chosen), latents=np.concatenate(found))


if __name__ == "__main__":
    main()
