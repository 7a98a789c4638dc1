"""The pictures to train on and those held out, and the crops made of them.

Photographs (README.md has their licences): those of Pop!_OS's wallpapers that its README calls public domain, those of
scikit-image's wheel without the two whose licence is not settled, and rendered ones as `lite` has. Held out, never trained on:
the Kodak set and the two pictures of scikit-image that `lite` has not seen either.

    python pictures.py --wallpapers FOLDER --crops crops.npz
"""

import argparse
import io
import random
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "lite"))
from data import FILTERS, rendered, skimage_picture  # noqa: E402
from model import Lite  # noqa: E402

WALLPAPERS = ["ahmadreza-sajadi-10140-edit", "galen-crout-175291", "jad-limcaco-183877", "jake-hills-36605",
              "jared-evans-119758", "kait-herzog-8242", "nasa-45068", "nasa-53884", "nasa-89127", "ng-32703",
              "samuel-zeller-337041", "sean-afnan-244576", "sebastien-gabriel-232361", "spacex-81773", "tony-webster-97532"]
SKIMAGE = ["coffee.png", "hubble_deep_field.jpg", "retina.jpg", "brick.png", "grass.png", "gravel.png", "ihc.png"]
RENDERED = 60
"""As many rendered pictures; their seeds begin after `lite`'s."""
FIRST_SEED = 1000
CROP = 256
"""Side of a crop in pixels: 32 latents."""


def reduced(picture: Image.Image, longest: int) -> Image.Image:
    factor = longest / max(picture.size)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.LANCZOS)


def training_pictures(wallpapers: Path) -> list[Image.Image]:
    """All at sizes where a pixel holds detail: photographs of 20 megapixels are soft at their full size."""
    found = []
    for name in WALLPAPERS:
        picture = Image.open(wallpapers / f"{name}.jpg").convert("RGB")
        found += [reduced(picture, longest) for longest in (1024, 1600, 2400)]
    for name in SKIMAGE:
        picture = skimage_picture(name)
        found += [p for f in (1.0, 0.6) if min((p := reduced(picture, round(max(picture.size) * f))).size) >= CROP]
    return found + [rendered(FIRST_SEED + i) for i in range(RENDERED)]


def enlarger() -> torch.nn.Module:
    """`lite` as the program has it: what the recipe starts from."""
    net = Lite(2)
    weights = load_file(HERE.parents[1] / "crates/upscale/assets/lite_x2.safetensors")
    net.load_state_dict({name: value.float() for name, value in weights.items()})
    return net.eval()


def small(picture: Image.Image, pick: random.Random) -> Image.Image:
    """Half as large, as pictures come: by any of the usual filters, sometimes through JPEG."""
    low = picture.resize((picture.width // 2, picture.height // 2), pick.choice(FILTERS))
    if pick.random() < 0.25:
        file = io.BytesIO()
        low.save(file, "JPEG", quality=pick.randrange(80, 97), subsampling=pick.choice([0, 2]))
        low = Image.open(file).convert("RGB")
    return low


def crop(pictures: list[Image.Image], weights: list[int], pick: random.Random) -> Image.Image:
    picture = pick.choices(pictures, weights)[0]
    x, y = pick.randrange(picture.width - CROP + 1), pick.randrange(picture.height - CROP + 1)
    part = picture.crop((x, y, x + CROP, y + CROP))
    if pick.random() < 0.5:
        part = part.transpose(Image.FLIP_LEFT_RIGHT)
    turn = pick.choice([None, Image.ROTATE_90, Image.ROTATE_180, Image.ROTATE_270])
    return part if turn is None else part.transpose(turn)


def is_flat(part: Image.Image) -> bool:
    """Sky and black space teach nothing that one of them does not."""
    return float(np.asarray(part.convert("L").filter(ImageFilter.FIND_EDGES), np.float32)[2:-2, 2:-2].mean()) < 4


@torch.no_grad()
def enlarged(net: torch.nn.Module, parts: list[Image.Image]) -> np.ndarray:
    """[n, 3, 2h, 2w] in 8 bits."""
    low = torch.from_numpy(np.stack([np.asarray(part) for part in parts])).permute(0, 3, 1, 2).float() / 255
    return (net(low).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def planes(part: Image.Image) -> np.ndarray:
    return np.asarray(part).transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wallpapers", type=Path, required=True, help="the folder `original` of pop-os/wallpapers")
    parser.add_argument("--crops", type=Path, required=True, help="the file to write")
    parser.add_argument("--count", type=int, default=4000)
    args = parser.parse_args()
    pictures, pick, net = training_pictures(args.wallpapers), random.Random(0), enlarger()
    # By the square root of the area: the many small pictures have their say.
    weights = [max(1, round((p.width * p.height) ** 0.5)) for p in pictures]
    true = np.empty((args.count, 3, CROP, CROP), np.uint8)
    guess = np.empty_like(true)
    for first in range(0, args.count, 8):
        parts = []
        while len(parts) < min(8, args.count - first):
            part = crop(pictures, weights, pick)
            if not is_flat(part) or pick.random() < 0.1:
                parts.append(part)
        true[first : first + len(parts)] = np.stack([planes(part) for part in parts])
        guess[first : first + len(parts)] = enlarged(net, [small(part, pick) for part in parts])
    args.crops.parent.mkdir(parents=True, exist_ok=True)
    with args.crops.open("wb") as file:
        np.savez(file, true=true, guess=guess)


if __name__ == "__main__":
    main()
