"""Train `lite` for one factor on a CPU; stops after --minutes, resumes from its checkpoint.

    python train.py --scale 2 --minutes 40 --state ~/.cache/clarifier/lite/x2.pt --out lite_x2.safetensors
    python train.py --scale 4 --minutes 25 --start ~/.cache/clarifier/lite/x2.pt --state ... --out ...
"""

import argparse
import copy
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from data import patch, training_pictures
from model import Lite


def tensor(patches: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).float() / 255


def export(net: Lite, path: str, note: str) -> None:
    tensors = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    metadata = {"format": "pt", "architecture": "SRVGGNetCompact", "scale": str(net.scale),
                "license": "MIT OR Apache-2.0", "training": note}
    save_file(tensors, path, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, choices=[2, 4], required=True)
    parser.add_argument("--minutes", type=float, required=True, help="wall clock of this schedule")
    parser.add_argument("--state", required=True, help="checkpoint, read if it exists")
    parser.add_argument("--start", help="checkpoint of another scale to take the body from")
    parser.add_argument("--out", required=True)
    parser.add_argument("--face", help="SciPy's face.dat")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--patch", type=int, default=48)
    args = parser.parse_args()
    torch.manual_seed(0)
    pick = random.Random(0)
    pictures = training_pictures(args.face, renderings=60)
    weights = [p.width * p.height for p in pictures]

    net = Lite(args.scale)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
    average, step, spent = copy.deepcopy(net), 0, 0.0
    if Path(args.state).exists():
        state = torch.load(args.state, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    elif args.start:
        body = torch.load(args.start, weights_only=True)["average"]
        last = f"body.{len(net.body) - 1}."
        net.load_state_dict({k: v for k, v in body.items() if not k.startswith(last)}, strict=False)
        average = copy.deepcopy(net)

    begun, total, losses = time.monotonic(), 60 * args.minutes, []
    while (now := spent + time.monotonic() - begun) < total:
        chosen = pick.choices(pictures, weights, k=args.batch)
        low, high = zip(*(patch(p, args.scale, args.patch, pick) for p in chosen))
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * now / total)) + 2e-6
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100)
        loss = torch.nn.functional.l1_loss(net(tensor(low)), tensor(high))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        keep = min(0.999, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), net.parameters()):
                mean.lerp_(value, 1 - keep)
        losses.append(loss.item())
        step += 1
        if step % 200 == 0:
            print(f"step {step} minute {now / 60:.1f} rate {rate:.1e} loss {np.mean(losses):.5f}", flush=True)
            losses = []
            torch.save({"net": net.state_dict(), "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(), "step": step, "spent": now}, args.state)
            export(average, args.out, f"{step} steps")
    export(average, args.out, f"{step} steps")


if __name__ == "__main__":
    main()
