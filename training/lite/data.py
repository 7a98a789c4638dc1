"""Pictures to train on: photographs in the public domain, and rendered ones.

Photographs (see README.md for licences): those that scikit-image's wheel carries and, where `--face`
names it, the raccoon of SciPy before 1.10. Held out, never trained on: HELD_OUT below.
"""

import bz2
import io
import random
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

TRAINING = ["coffee.png", "rocket.jpg", "camera.png", "hubble_deep_field.jpg", "retina.jpg",
            "brick.png", "grass.png", "gravel.png", "moon.png", "ihc.png"]
HELD_OUT = ["astronaut.png", "chelsea.png"]
FILTERS = [Image.BICUBIC, Image.BICUBIC, Image.LANCZOS, Image.BOX, Image.HAMMING]


def skimage_picture(name: str) -> Image.Image:
    return Image.open(Path(skimage.data.__file__).parent / name).convert("RGB")


def face(path: str) -> Image.Image:
    """SciPy's `misc/face.dat`: 768 x 1024 RGB bytes, bzip2."""
    raw = bz2.decompress(Path(path).read_bytes())
    return Image.fromarray(np.frombuffer(raw, np.uint8).reshape(768, 1024, 3))


def fractal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise with a power spectrum like that of photographs."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1
    slope = rng.uniform(0.9, 2.0)
    spectrum = np.fft.fft2(rng.standard_normal((size, size))) / radius**slope
    field = np.real(np.fft.ifft2(spectrum))
    return (field - field.min()) / np.ptp(field)


def rendered(seed: int, size: int = 512) -> Image.Image:
    """Shapes, lines, stripes and text over a textured ground, drawn large and reduced."""
    rng, pick = np.random.default_rng(seed), random.Random(seed)
    colour = lambda: tuple(pick.randrange(256) for _ in range(3))
    a, b = np.array(colour()), np.array(colour())
    ground = fractal(rng, size)[..., None]
    if pick.random() < 0.5:
        y, x = np.mgrid[:size, :size] / size
        period = pick.uniform(20, 90)
        angle = pick.uniform(0, np.pi)
        wave = np.sin(period * (x * np.cos(angle) + y * np.sin(angle)) * 2 + 4 * ground[..., 0])
        ground = 0.5 * ground + 0.25 + 0.25 * wave[..., None]
    big = 2 * size
    picture = Image.fromarray((a * ground + b * (1 - ground)).astype(np.uint8)).resize((big, big), Image.BICUBIC)
    draw = ImageDraw.Draw(picture)
    point = lambda: (pick.randrange(big), pick.randrange(big))
    for _ in range(pick.randrange(4, 24)):
        kind = pick.random()
        if kind < 0.3:
            draw.polygon([point() for _ in range(pick.randrange(3, 7))], fill=colour())
        elif kind < 0.45:
            x, y = point()
            r = pick.randrange(4, 200)
            draw.ellipse((x, y, x + r, y + r * pick.uniform(0.3, 2)), fill=colour(), outline=colour(), width=3)
        elif kind < 0.7:
            draw.line([point() for _ in range(pick.randrange(2, 5))], fill=colour(), width=pick.randrange(1, 14))
        else:
            text = "".join(pick.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,&?")
                           for _ in range(pick.randrange(6, 40)))
            draw.text(point(), text, fill=colour(), font=ImageFont.load_default(pick.randrange(18, 120)))
    return picture.resize((size, size), Image.LANCZOS)


def training_pictures(face_path: str | None, renderings: int) -> list[Image.Image]:
    photographs = [skimage_picture(name) for name in TRAINING]
    if face_path:
        photographs.append(face(face_path))
    # Also at reduced sizes: finer detail for each pixel, which small photographs otherwise lack.
    smaller = [p.resize((int(p.width * f), int(p.height * f)), Image.LANCZOS) for p in photographs for f in (0.7, 0.5)]
    return photographs + [p for p in smaller if min(p.size) >= 224] + [rendered(i) for i in range(renderings)]


def patch(picture: Image.Image, scale: int, size: int, pick: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """A low-resolution patch [size, size, 3] and its original [scale*size, ...], uint8."""
    full = size * scale
    x, y = pick.randrange(picture.width - full + 1), pick.randrange(picture.height - full + 1)
    high = picture.crop((x, y, x + full, y + full))
    turn = pick.randrange(8)
    if turn & 1:
        high = high.transpose(Image.FLIP_LEFT_RIGHT)
    if turn >> 1:
        high = high.transpose([Image.ROTATE_90, Image.ROTATE_180, Image.ROTATE_270][(turn >> 1) - 1])
    low = high.resize((size, size), pick.choice(FILTERS))
    if pick.random() < 0.1:
        # A little JPEG, so that the network does not sharpen its blocks.
        file = io.BytesIO()
        low.save(file, "JPEG", quality=pick.randrange(82, 97), subsampling=0)
        low = Image.open(file).convert("RGB")
    return np.asarray(low), np.asarray(high)
