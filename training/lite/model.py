"""The network that is trained: SRVGGNetCompact of Real-ESRGAN, small."""

import torch
from torch import nn
from torch.nn import functional as F


class Lite(nn.Module):
    """Convolutions at the input's size, one pixel shuffle, added to the nearest neighbour.

    The list is named `body` and alternates convolution and PReLU, so that every program that reads
    Real-ESRGAN's compact models reads this one.
    """

    def __init__(self, scale: int, features: int = 48, convolutions: int = 10):
        super().__init__()
        self.scale = scale
        layers = [nn.Conv2d(3, features, 3, 1, 1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, 1, 1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * scale * scale, 3, 1, 1))
        self.body = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, self.scale) + F.interpolate(x, scale_factor=self.scale, mode="nearest")
