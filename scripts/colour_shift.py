#!/usr/bin/env python3
"""How far colours drift: mean CIEDE2000 between the low frequencies of a picture and of its enlargement.

    scripts/colour_shift.py PICTURE RESULT...            of results that exist
    scripts/colour_shift.py --run PROGRAM PICTURE [OPTION...]
                                                         runs `PROGRAM upscale` with --colour-lock 0, 0.5 and 1

Both are averaged over squares of 64 pixels of the result. Below 1 nobody sees a difference; 2 to 3 is seen side by side.
Needs numpy, Pillow and scikit-image (pip install numpy pillow scikit-image).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from PIL import Image
    from skimage.color import deltaE_ciede2000, rgb2lab
except ImportError as error:
    sys.exit(f"{error}; pip install numpy pillow scikit-image")

CELL = 64


def lows(path: Path, cells: tuple[int, int]) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    return rgb2lab(np.asarray(picture.resize(cells, Image.BOX)) / 255.0)


def shift(source: Path, result: Path) -> tuple[float, float]:
    width, height = Image.open(result).size
    cells = (max(1, width // CELL), max(1, height // CELL))
    difference = deltaE_ciede2000(lows(source, cells), lows(result, cells))
    return float(difference.mean()), float(difference.max())


def main() -> None:
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    if arguments[0] != "--run":
        for result in arguments[1:]:
            print("{}: ΔE2000 mean {:.2f}, worst square {:.2f}".format(result, *shift(Path(arguments[0]), Path(result))))
        return
    program, picture, *options = arguments[1:]
    with tempfile.TemporaryDirectory() as folder:
        for lock in ("0", "0.5", "1"):
            result = Path(folder) / f"{lock}.png"
            command = [program, "upscale", picture, "-o", str(result), "-q", "--seed", "1", "--colour-lock", lock, *options]
            subprocess.run(command, check=True)
            print("--colour-lock {:<4} ΔE2000 mean {:.2f}, worst square {:.2f}".format(lock, *shift(Path(picture), result)), flush=True)


if __name__ == "__main__":
    main()
