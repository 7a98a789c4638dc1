"""The trainings' averaged weights as the set that the program ships: one safetensors file in f16, each network's configuration in its header.

    python export.py --vae vae.pt --view view.pt --encoder encoder.pt --decoder decoder.pt --diffusion diffusion.pt --latents latents.npz --set ../../assets/starter.safetensors

`--folder` also writes them in the diffusers layout, for other programs.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from common import averaged
from networks import autoencoder, controlnet, text_encoder, unet

FILES = {"text_encoder": "model.safetensors"}
LARGEST = 40_000_000
"""Bytes."""


@torch.no_grad()
def rgb_of(vae: torch.nn.Module, latents: torch.Tensor) -> list[list[float]]:
    """What a scaled latent looks like: least squares, a row for each channel and one for what is added. For previews."""
    pictures = torch.cat([vae.decode(part).sample for part in latents.split(8)])
    colours = torch.nn.functional.avg_pool2d(pictures, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    values = vae.config.scaling_factor * latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    found = torch.linalg.lstsq(torch.cat([values, torch.ones(len(values), 1)], 1), colours).solution
    return [[round(value, 5) for value in row] for row in found.tolist()]


def networks(states: argparse.Namespace) -> dict[str, torch.nn.Module]:
    true = np.load(states.latents)["true"][:256].astype(np.float32)
    deviation = float(true.std())
    found = {"vae": autoencoder(), "unet": unet(), "controlnet": controlnet(), "text_encoder": text_encoder()}
    found["vae"].register_to_config(scaling_factor=1 / deviation)
    found["vae"].load_state_dict(averaged(states.vae, "vae") | averaged(states.encoder, "vae") | averaged(states.decoder, "vae"))
    for name, trained in {"unet": "unet", "controlnet": "control", "text_encoder": "text"}.items():
        # The view is not in that state.
        found[name].load_state_dict(averaged(states.diffusion, trained), strict=name != "controlnet")
    view = found["controlnet"].controlnet_cond_embedding
    view.load_state_dict(averaged(states.view, "view"))
    with torch.no_grad():
        view.conv_out.weight /= deviation
        view.conv_out.bias /= deviation
    found["vae"].eval().register_to_config(rgb_of_latents=rgb_of(found["vae"], torch.from_numpy(true[:32])))
    return found


def configuration(network: torch.nn.Module) -> dict:
    config = network.config
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True, help="the state of vae.py")
    parser.add_argument("--view", type=Path, required=True, help="the state of view.py")
    parser.add_argument("--encoder", type=Path, required=True, help="the state of encoder.py")
    parser.add_argument("--decoder", type=Path, required=True, help="the state of decoder.py")
    parser.add_argument("--diffusion", type=Path, required=True, help="the state of diffusion.py")
    parser.add_argument("--latents", type=Path, required=True, help="that diffusion.py made")
    parser.add_argument("--set", type=Path, required=True, help="the file to write")
    parser.add_argument("--folder", type=Path, help="a diffusers folder to write")
    args = parser.parse_args()
    # As diffusers' folders have it. DPM-Solver++ ends as Refiners has it with a long step of second order, which makes grain of these networks' errors.
    tensors, metadata = {}, {"scheduler": json.dumps({"_class_name": "DDIMScheduler"}), "chroma_lock": "1"}
    for name, network in networks(args).items():
        # `position_ids` and the like are no weights.
        weights = {key: value.half().contiguous() for key, value in network.state_dict().items() if value.is_floating_point()}
        largest = max(value.abs().max().item() for value in weights.values())
        assert np.isfinite(largest), f"{name} has weights that f16 cannot hold"
        config = json.dumps(configuration(network), sort_keys=True, default=str)
        tensors |= {f"{name}.{key}": value for key, value in weights.items()}
        metadata[name] = config
        if args.folder:
            place = args.folder / name
            place.mkdir(parents=True, exist_ok=True)
            save_file(weights, place / FILES.get(name, "diffusion_pytorch_model.safetensors"))
            (place / "config.json").write_text(config)
    save_file(tensors, args.set, metadata)
    size = args.set.stat().st_size
    print(f"{args.set}: {size / 1e6:.1f} MB")
    assert size <= LARGEST, f"more than {LARGEST} bytes"


if __name__ == "__main__":
    main()
