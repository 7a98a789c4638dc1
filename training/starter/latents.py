"""The crops as latents, made once and kept."""

from pathlib import Path
from typing import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter

from common import mixed, unit

CROPS = 2000
"""Of the first that many. Parts of them are drawn; more would take longer to encode than they are worth."""


def blurred(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(1.0))
    return np.asarray(image).transpose(2, 0, 1)


@torch.no_grad()
def latents_of(code: Callable[[torch.Tensor], torch.Tensor], crops, path: Path) -> dict[str, np.ndarray]:
    """True, soft and guessed latents; `code` takes pictures in -1 ..= 1."""
    if not path.exists():

        def coded(pictures: list[np.ndarray]) -> np.ndarray:
            with mixed():
                return code(unit(np.stack(pictures)).to(memory_format=torch.channels_last)).half().numpy()

        true, guess = crops["true"][:CROPS], crops["guess"][:CROPS]
        found: dict[str, list] = {"true": [], "soft": [], "guess": []}
        for first in range(0, len(true), 8):
            part = list(true[first : first + 8])
            found["true"].append(coded(part))
            found["soft"].append(coded([blurred(picture) for picture in part]))
            found["guess"].append(coded(list(guess[first : first + 8])))
        with path.open("wb") as file:
            np.savez(file, **{name: np.concatenate(parts) for name, parts in found.items()})
    return dict(np.load(path))
