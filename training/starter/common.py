"""What both trainings share: a schedule by the clock, averaged weights, a state that a stopped training goes on from."""

import copy
import math
import time
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import nn

from muon import Muon

WARM_UP = 200


class Training:
    """Muon over the matrices of `networks` and Adam over the rest for `minutes` of all cores' work, however often it is interrupted; writes to `state` every few minutes.

    A minute is a minute of the processor, not of the clock: other work beside it takes nothing from the training.
    """

    def __init__(self, networks: nn.ModuleDict, rates: dict[str, float], minutes: float, state: Path):
        self.networks, self.total, self.path = networks, 60 * minutes, state
        self.average = copy.deepcopy(networks).requires_grad_(False)
        # Tables of embeddings are looked up, not multiplied with.
        tables = {id(m.weight) for m in networks.modules() if isinstance(m, nn.Embedding)}
        is_matrix = lambda weight: weight.ndim > 1 and min(weight.shape[:2]) > 3 and id(weight) not in tables
        matrices = [weight for weight in networks.parameters() if is_matrix(weight)]
        rest = [weight for weight in networks.parameters() if not is_matrix(weight)]
        self.optimizers = {
            "matrices": Muon(matrices, rates["matrices"]),
            "rest": torch.optim.AdamW(rest, lr=rates["rest"], betas=(0.9, 0.99), weight_decay=0.0),
        }
        self.rates = rates
        self.step, self.spent, self.curve = 0, 0.0, []
        if state.exists():
            saved = torch.load(state, weights_only=True)
            networks.load_state_dict(saved["networks"])
            self.average.load_state_dict(saved["average"])
            # Those of states.py begin anew.
            for name, found in saved["optimizers"].items():
                self.optimizers[name].load_state_dict(found)
            self.step, self.spent, self.curve = saved["step"], saved["spent"], saved["curve"]

    def save(self) -> None:
        saved = {"networks": self.networks.state_dict(), "average": self.average.state_dict(),
                 "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()}, "step": self.step, "spent": self.spent, "curve": self.curve}
        fresh = self.path.with_suffix(".new")
        torch.save(saved, fresh)
        fresh.replace(self.path)

    def run(self, loss_of: Callable[[int], torch.Tensor], look: Callable[[nn.ModuleDict], dict], every: int) -> None:
        """`loss_of(step)` is descended; `look(average)` is noted in the curve each `every` steps."""
        losses, begun = [], worked()
        while self.spent < self.total:
            # A cosine that ends a little above zero.
            share = 0.5 * (1 + math.cos(math.pi * self.spent / self.total)) + 1e-3
            for name, optimizer in self.optimizers.items():
                optimizer.param_groups[0]["lr"] = self.rates[name] * share * min(1.0, (self.step + 1) / WARM_UP)
            loss = loss_of(self.step)
            self.networks.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
            for optimizer in self.optimizers.values():
                optimizer.step()
            keep = min(0.999, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                for mean, value in zip(self.average.parameters(), self.networks.parameters()):
                    mean.lerp_(value, 1 - keep)
            losses.append(loss.item())
            self.step += 1
            now = worked()
            self.spent, begun = self.spent + now - begun, now
            if self.step % every == 0 or self.spent >= self.total:
                found = look(self.average)
                self.curve.append({"step": self.step, "minutes": self.spent / 60, "loss": float(np.mean(losses)), **found})
                print(", ".join(f"{k} {v:.5g}" for k, v in self.curve[-1].items()), flush=True)
                losses = []
                self.save()
                # Looking is not training.
                begun = worked()


def averaged(state: Path, name: str) -> dict[str, torch.Tensor]:
    """The averaged weights of the network `name` in a training's state."""
    weights = torch.load(state, weights_only=True)["average"]
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def descend(network: nn.Module, loss_of: Callable[[], torch.Tensor], rates: tuple[float, float], seconds: float) -> Iterator[float]:
    """Muon over the matrices of `network` and Adam over the rest, at `rates` that fall to nothing over so many seconds of the processor; gives
    each step's loss."""
    muon = Muon([p for p in network.parameters() if p.ndim > 1], rates[0])
    adam = torch.optim.Adam([p for p in network.parameters() if p.ndim == 1], rates[1])
    begun = worked()
    while (share := (worked() - begun) / seconds) < 1:
        for optimizer, rate in zip((muon, adam), rates):
            optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        loss = loss_of()
        network.zero_grad()
        loss.backward()
        muon.step()
        adam.step()
        yield loss.item()


def mixed() -> torch.autocast:
    """Activations in bfloat16: on processors that multiply it, half of the time; weights and their sums stay in f32."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def worked() -> float:
    """Seconds that all threads together have worked for."""
    return time.process_time() / torch.get_num_threads()


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """In dB, of pictures in -1 ..= 1 as 8 bits have them."""
    levels = lambda x: ((x.clamp(-1, 1) + 1) * 127.5).round()
    error = (levels(a) - levels(b)).square().mean().item()
    return 10 * math.log10(255**2 / max(error, 1e-9))


def unit(pictures: np.ndarray) -> torch.Tensor:
    """8 bits as -1 ..= 1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).float() / 127.5 - 1
