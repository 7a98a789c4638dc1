"""PSNR of `lite` and of Lanczos on photographs that were not trained on.

    python evaluate.py --x2 ../../crates/upscale/assets/lite_x2.safetensors --x4 ... [--crops DIR]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from data import HELD_OUT, skimage_picture
from model import Lite


def pictures() -> dict[str, Image.Image]:
    from sklearn.datasets import load_sample_images
    samples = load_sample_images()
    named = {Path(n).name: Image.fromarray(i) for n, i in zip(samples.filenames, samples.images)}
    return {**{n: skimage_picture(n) for n in HELD_OUT}, **named}


def load(path: str, scale: int) -> Lite:
    state = {k: v.float() for k, v in load_file(path).items()}
    convolutions = sum(v.ndim == 4 for v in state.values()) - 2
    net = Lite(scale, state["body.0.weight"].shape[0], convolutions).eval()
    net.load_state_dict(state)
    return net


def psnr(a: np.ndarray, b: np.ndarray, border: int) -> float:
    a, b = a[border:-border, border:-border], b[border:-border, border:-border]
    return 10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


def luma(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) @ [0.299, 0.587, 0.114]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--x2", required=True)
    parser.add_argument("--x4", required=True)
    parser.add_argument("--crops", help="folder for pictures to look at")
    args = parser.parse_args()
    nets = {2: load(args.x2, 2), 4: load(args.x4, 4)}
    print("| picture | factor | reduced by | Lanczos RGB | lite RGB | gain | Lanczos Y | lite Y | gain | colour shift |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for scale, net in nets.items():
        gains = []
        for filter_name in ("BICUBIC", "BOX", "LANCZOS"):
            for name, picture in pictures().items():
                w, h = picture.width // scale * scale, picture.height // scale * scale
                high = picture.crop((0, 0, w, h))
                low = high.resize((w // scale, h // scale), getattr(Image, filter_name))
                lanczos = np.asarray(low.resize((w, h), Image.LANCZOS))
                x = torch.from_numpy(np.asarray(low)).permute(2, 0, 1)[None].float() / 255
                with torch.no_grad():
                    y = net(x)[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
                truth = np.asarray(high)
                rgb = [psnr(i, truth, 2 * scale) for i in (lanczos, y)]
                grey = [psnr(luma(i), luma(truth), 2 * scale) for i in (lanczos, y)]
                shift = np.abs(y.mean((0, 1)) - truth.mean((0, 1))).max()
                if filter_name == "BICUBIC":
                    gains.append((rgb[1] - rgb[0], grey[1] - grey[0]))
                print(f"| {name} | {scale} | {filter_name.lower()} | {rgb[0]:.2f} | {rgb[1]:.2f} | {rgb[1] - rgb[0]:+.2f} "
                      f"| {grey[0]:.2f} | {grey[1]:.2f} | {grey[1] - grey[0]:+.2f} | {shift:.2f} |")
                if args.crops and filter_name == "BICUBIC":
                    Path(args.crops).mkdir(exist_ok=True)
                    box = (w // 2 - 100, h // 2 - 100, w // 2 + 100, h // 2 + 100)
                    strip = Image.new("RGB", (600, 200))
                    for i, source in enumerate((Image.fromarray(lanczos), Image.fromarray(y), high)):
                        strip.paste(source.crop(box), (200 * i, 0))
                    strip.save(Path(args.crops) / f"{Path(name).stem}_{scale}x.png")
        mean = np.mean(gains, 0)
        print(f"| **mean** | {scale} | bicubic | | | **{mean[0]:+.2f}** | | | **{mean[1]:+.2f}** | |")


if __name__ == "__main__":
    main()
