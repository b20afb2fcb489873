"""Preprocessing steps and activations of networks, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.near import meant

if TYPE_CHECKING:
    from abbe.imaging import Image, Region, Scaling

Named = TypeVar("Named")
Step = Callable[[NDArray[np.generic]], NDArray[np.float32]]
"""Native pixels (C, h, w) of any part of one image → what the network reads."""
Preprocessing = Callable[["Image", Sequence[str]], Step]
"""Looks at all of an image's channels, in bounded memory, and says what is done to its pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
BAND = 1 << 24
"""Pixels that are looked at together."""


def scaled(scaling: Scaling) -> Preprocessing:
    """As Abbe's own networks read images: see `abbe.imaging.Scaling`."""
    from abbe.imaging import normalise

    def prepared(image: Image, channels: Sequence[str]) -> Step:
        limits = scaling.image_limits(image, channels)
        return lambda pixels: normalise(pixels, limits)

    return prepared


def percentile(image: Image, channels: Sequence[str]) -> Step:
    """Each channel's 1st to 99.8th percentile of this image → [0, 1], clipped."""
    from abbe.imaging import PERCENTILE

    return scaled(PERCENTILE)(image, channels)


def zero_mean_unit_variance(image: Image, channels: Sequence[str]) -> Step:
    """Each channel of this image to mean 0 and standard deviation 1; a constant one becomes 0."""
    count = image.shape[0] * image.shape[1]
    mean = sum(band.sum((1, 2)) for band in _bands(image, channels)) / count
    mean = np.asarray(mean)[:, None, None]
    squares = sum(((band - mean) ** 2).sum((1, 2)) for band in _bands(image, channels)) / count
    deviation = np.sqrt(np.asarray(squares))[:, None, None]
    return lambda pixels: ((pixels - mean) / (deviation + 1e-6)).astype(np.float32)


def scale_255(image: Image, channels: Sequence[str]) -> Step:
    """8-bit values / 255.

    Raises:
        InputError: from the step, where a value lies outside 0 to 255.
    """
    return _scale_255


def _scale_255(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
        raise InputError(
            f"the teacher reads 8-bit images but the pixels go from {pixels.min()} to "
            f"{pixels.max()}: convert the images, or choose preprocessing='percentile'"
        )
    return pixels.astype(np.float32) / np.float32(255)


def imagenet(image: Image, channels: Sequence[str]) -> Step:
    """8-bit RGB / 255, then ImageNet's mean and standard deviation of each channel.

    Raises:
        InputError: there are not three channels; from the step, a value lies outside 0 to 255.
    """
    if len(channels) != 3:
        raise InputError(f"preprocessing='imagenet' is for three channels, not {len(channels)}")
    mean = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
    deviation = np.array(IMAGENET_DEVIATION, np.float32)[:, None, None]
    return lambda pixels: (_scale_255(pixels) - mean) / deviation


def none(image: Image, channels: Sequence[str]) -> Step:
    """The values as they are."""
    return lambda pixels: pixels.astype(np.float32)


def _bands(image: Image, channels: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """The image from top to bottom, in parts that are small enough to hold."""
    from abbe.imaging import Region

    height, width = image.shape
    rows = max(1, BAND // (width * len(channels)))
    for top in range(0, height, rows):
        band = Region(top, 0, min(top + rows, height), width)
        yield image.read(band, channels).astype(np.float64)


def by_region(
    image: Image, channels: Sequence[str], step: Step
) -> Callable[[Region], NDArray[np.float32]]:
    """Reads and prepares one region of the image at a time."""
    return lambda region: step(image.read(region, channels))


PREPROCESSINGS: dict[str, Preprocessing] = {
    "percentile": percentile,
    "zero_mean_unit_variance": zero_mean_unit_variance,
    "scale_255": scale_255,
    "imagenet": imagenet,
    "none": none,
}


def preprocessing_named(name: str) -> Preprocessing:
    """The preprocessing of this name.

    Raises:
        ConfigError: there is none.
    """
    return _named("preprocessing", name, PREPROCESSINGS)


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 / (1 + e⁻ˣ), without overflow; half precision becomes float32 first."""
    return 0.5 * (1 + np.tanh(0.5 * _full(logits)))


def softmax(logits: NDArray[np.floating], axis: int = 0) -> NDArray[np.floating]:
    """Softmax over ``axis``, the maps of (K, H, W); half precision becomes float32 first."""
    logits = _full(logits)
    exponentials = np.exp(logits - logits.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


def _full(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """At least float32: float16's probabilities near 1 are 1/2048 apart."""
    return logits.astype(np.promote_types(logits.dtype, np.float32), copy=False)


def none_activation(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """For a network whose output is a probability already."""
    return values


Activation = Callable[[NDArray[np.floating]], NDArray[np.floating]]

ACTIVATIONS: dict[str, Activation] = {
    "none": none_activation,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


def activation_named(name: str) -> Activation:
    """The activation of this name.

    Raises:
        ConfigError: there is none.
    """
    return _named("activation", name, ACTIVATIONS)


def _named(what: str, name: str, known: Mapping[str, Named]) -> Named:
    if name not in known:
        raise ConfigError(
            f"there is no {what} '{name}'; allowed are {', '.join(known)}.{meant(name, known)}"
        )
    return known[name]
