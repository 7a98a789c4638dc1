"""The states that the trainings go on from, made of a set that `export.py` wrote: for training on where the trainings' own are gone.

    python states.py --set ../../assets/starter.safetensors --spent 50 --out FOLDER

Weights are those of f16 and the optimizers begin anew.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from diffusion import Networks
from networks import autoencoder, controlnet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--spent", type=float, default=0.0, help="minutes that count as worked: a training's rates fall from there to its --minutes")
    parser.add_argument("--out", type=Path, required=True, help="a folder for vae.pt, view.pt, encoder.pt, decoder.pt and diffusion.pt")
    args = parser.parse_args()
    with safe_open(args.set, "pt") as file:
        weights = {key: file.get_tensor(key).float() for key in file.keys()}
        deviation = 1 / json.loads(file.metadata()["vae"])["scaling_factor"]

    def of(name: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}

    vae, control, networks = autoencoder(), controlnet(), Networks()
    vae.load_state_dict(of("vae"))
    networks["unet"].load_state_dict(of("unet"))
    networks["text"].load_state_dict(of("text_encoder"))
    control.load_state_dict(of("controlnet"))
    # Its view is not trained with it.
    networks["control"].load_state_dict(control.state_dict(), strict=False)
    view = control.controlnet_cond_embedding
    with torch.no_grad():
        # As it was before `export.py` made it give scaled latents.
        view.conv_out.weight *= deviation
        view.conv_out.bias *= deviation
    decoder = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})
    encoder = nn.ModuleDict({"encoder": vae.encoder, "quant_conv": vae.quant_conv})
    states = {"vae": nn.ModuleDict({"vae": vae}), "view": nn.ModuleDict({"view": view, "vae": decoder}),
              "encoder": nn.ModuleDict({"vae": encoder}), "decoder": nn.ModuleDict({"vae": decoder}), "diffusion": networks}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, network in states.items():
        trained = network.state_dict()
        saved = {"networks": trained, "average": trained, "optimizers": {}, "step": 0, "spent": 60 * args.spent, "curve": []}
        torch.save(saved, args.out / f"{name}.pt")


if __name__ == "__main__":
    main()
