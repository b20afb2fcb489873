"""The mean and deviation that an encoder was pretrained with, as the network's first operation.

Images come scaled to 0 to 1. Being part of the network, this travels with its weights, and no
reader of a package, an ONNX file or TorchScript has to know of it.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abbe.errors import ConfigError


@dataclass(frozen=True)
class Standardisation:
    """What is subtracted from an image in [0, 1], and what it is then divided by.

    Attributes:
        mean, std: One value for each of the image's channels, or a single one for all of them.

    Raises:
        ConfigError: They are of different lengths, or not finite, or a deviation is not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ConfigError(
                f"mean {list(self.mean)} and deviation {list(self.std)} of an encoder: give as "
                "many of one as of the other, one for each channel or one for all"
            )
        if not all(map(math.isfinite, self.mean)) or not all(0 < s < math.inf for s in self.std):
            raise ConfigError(
                f"mean {list(self.mean)}, deviation {list(self.std)} of an encoder: must be "
                "finite, and deviations above 0; both are for images from 0 to 1"
            )

    @property
    def changes_nothing(self) -> bool:
        """Whether images go into the encoder as they are."""
        return not any(self.mean) and all(value == 1 for value in self.std)

    def averaged(self) -> "Standardisation":
        """One mean and one deviation, the averages over the channels."""
        return Standardisation((sum(self.mean) / len(self.mean),), (sum(self.std) / len(self.std),))

    def after(self, other: "Standardisation") -> "Standardisation":
        """The same for images that ``other`` has standardised already."""
        count = max(len(self.mean), len(other.mean))
        ours, theirs = (
            [each * (count // len(each)) for each in (one.mean, one.std)] for one in (self, other)
        )
        pairs = list(zip(*ours, *theirs, strict=True))
        mean = tuple((m - other_m) / other_s for m, _, other_m, other_s in pairs)
        return Standardisation(mean, tuple(s / other_s for _, s, _, other_s in pairs))


NOTHING = Standardisation((0.0,), (1.0,))
"""Of encoders that were trained on images in [0, 1] as they are."""


class Standardise(nn.Module):
    """(image − mean) / std, channel by channel.

    Where there are more means than channels, the image has one: it becomes as many, as a grey
    picture becomes red, green and blue, each with its own mean and deviation.
    """

    def __init__(self, standardisation: Standardisation) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(standardisation.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(standardisation.std)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to the same, or from one channel to as many as there are means."""
        return (image - self.mean) / self.std

    @property
    def standardisation(self) -> Standardisation:
        """The numbers."""
        return Standardisation(_shortest(self.mean), _shortest(self.std))


class Standardised(nn.Module):
    """A network of timm's with what its encoder wants done to images in front of it.

    Attributes:
        in_channels: Channels of the image.
        standardise: `Standardise`, or an identity.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.standardise: nn.Module = nn.Identity()

    def timm_network(self) -> nn.Module:
        """timm's network; its tensors have timm's names."""
        raise NotImplementedError

    @property
    def standardisation(self) -> Standardisation:
        """What is done to images."""
        own = self.standardise
        return own.standardisation if isinstance(own, Standardise) else NOTHING

    def set_standardisation(self, standardisation: Standardisation, colours: int) -> None:
        """Change what is done to images.

        Args:
            standardisation: For each channel, or for all.
            colours: Channels that the first convolution sees: ``in_channels``, or more of a grey
                image; its weights are undefined where that changes, and to be loaded.
        """
        if colours != self.in_channels:
            repeats = colours // len(standardisation.mean)
            standardisation = Standardisation(
                standardisation.mean * repeats, standardisation.std * repeats
            )
        elif len(standardisation.mean) not in (1, colours):
            standardisation = standardisation.averaged()
        plain = standardisation.changes_nothing and colours == self.in_channels
        device = next(self.parameters()).device
        own = nn.Identity() if plain else Standardise(standardisation).to(device)
        self.standardise = own.train(self.training)
        _see(first_convolution(self.timm_network())[1], colours)

    def copy_standardisation(self, other: "Standardised") -> None:
        """Do to images what another network of the same encoder does to them."""
        device = next(self.parameters()).device
        self.standardise = copy.deepcopy(other.standardise).to(device).train(self.training)
        colours = first_convolution(other.timm_network())[1].in_channels
        _see(first_convolution(self.timm_network())[1], colours)


def standardised_in(model: nn.Module) -> Standardised:
    """The part of a U-Net, a classifier or a probe that images go into."""
    return next(module for module in model.modules() if isinstance(module, Standardised))


def described(model: nn.Module) -> dict[str, list[float]] | None:
    """``mean`` and ``std`` as files state them; None where images go in as they are."""
    found = standardised_in(model).standardisation
    plain = found.changes_nothing
    return None if plain else {"mean": list(found.mean), "std": list(found.std)}


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """The convolution that sees the image, and its name."""
    return next(
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )


def _see(convolution: nn.Conv2d, channels: int) -> None:
    """Have a convolution see so many channels; the weights of others than before are undefined."""
    if convolution.in_channels != channels:
        rows, _, *kernel = convolution.weight.shape
        convolution.in_channels = channels
        convolution.weight = nn.Parameter(convolution.weight.new_zeros(rows, channels, *kernel))


def restore_standardisation(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model, whose weights are to be loaded, the layout that ``tensors`` were saved from.

    Files of networks that see images as they are, such as all of earlier versions, say nothing.
    """
    for name, module in model.named_modules():
        if not isinstance(module, Standardised):
            continue
        prefix = f"{name}." if name else ""
        mean = tensors.get(f"{prefix}standardise.mean")
        std = tensors.get(f"{prefix}standardise.std")
        if mean is not None and std is not None and mean.shape == std.shape:
            found = Standardisation(_shortest(mean), _shortest(std))
            grey = module.in_channels == 1
            module.set_standardisation(found, len(found.mean) if grey else module.in_channels)


def _shortest(values: Tensor) -> tuple[float, ...]:
    """The numbers with no more digits than single precision has: 0.485, not 0.48500001…"""
    return tuple(float(str(value)) for value in values.detach().float().cpu().flatten().numpy())
