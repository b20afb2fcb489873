"""Factories that the torch teacher's tests name by import path."""

import torch
from torch import nn


class Mix(nn.Module):
    """1 x 1 convolution; its result ``times`` over, for surer logits."""

    def __init__(
        self, in_channels: int = 2, outputs: int = 1, seed: int = 0, times: float = 1.0
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.times = times
        self.mix = nn.Conv2d(in_channels, outputs, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.mix(image) * self.times


def dictionary() -> nn.Module:
    class Wrapped(Mix):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return {"out": self.mix(image)}  # pyright: ignore[reportReturnType]

    return Wrapped()


def probabilities(times: float = 1.0) -> nn.Module:
    return nn.Sequential(Mix(times=times), nn.Sigmoid())


def shares(times: float = 1.0) -> nn.Module:
    return nn.Sequential(Mix(outputs=3, times=times), nn.Softmax(dim=1))


def scripted(times: float = 1.0) -> nn.Module:
    return torch.jit.script(probabilities(times))


def number() -> int:
    return 3


def of_32_px() -> nn.Module:
    class Fixed(Mix):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if image.shape[-1] != 32:
                raise ValueError("only 32 px")
            return self.mix(image)

    return Fixed()
