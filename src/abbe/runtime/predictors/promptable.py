"""A promptable package with SAM's familiar calls, without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abbe.errors import InputError
from abbe.imaging import choose_rule, three_channels
from abbe.imaging.promptable.calls import CheckedPrompt, MaskPrediction, PromptableCalls
from abbe.imaging.promptable.prompt_checks import as_rgb, in_rgb_order
from abbe.runtime.package import Package, read_package
from abbe.runtime.package.engine import EngineOptions
from abbe.runtime.package.promptable_networks import open_networks
from abbe.runtime.predictors.channels import channels_for
from abbe.runtime.predictors.letterbox import Letterbox

if TYPE_CHECKING:
    from abbe.imaging import Image

THRESHOLD = 0.0
"""Logits above are inside the mask."""
_NO_POINT, _TOP_LEFT, _BOTTOM_RIGHT = -1.0, 2.0, 3.0
"""Labels of points, besides 1 inside and 0 outside; a box is two points."""


@dataclass(frozen=True)
class Embedded:
    """An image that was set: its place in the square, and its embedding."""

    letterbox: Letterbox
    embedding: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in px."""
        return self.letterbox.size


class PromptablePredictor(PromptableCalls[Embedded]):
    """One image, and masks for any prompts on it.

    A copy (`copy.copy`) shares the networks and holds an image of its own; threads may use one
    each.

    Args:
        package: A promptable package or its folder.
        engine: What runs its networks; None for what the package says.
        precision: Of the encoder, fp32 or int8; None for what the package says.
        threads: Processor threads; None for OMP_NUM_THREADS, or else what the package says, or all
            cores.
        streams: Calls to compute at the same time, each with its share of the threads.
        cache: Folder in which compiled networks are kept for the next start; None for the usual.
        device: Where they compute: cpu, cuda or gpu; see `open_engine`.

    Raises:
        ConfigError: The package is for another task, or the engine does not compute so.
        PackageError: It is damaged.
    """

    def __init__(
        self, package: Package | str | os.PathLike[str], **options: Unpack[EngineOptions]
    ) -> None:
        if not isinstance(package, Package):
            package = read_package(package)
        self.package = package
        self.networks = open_networks(package, **options)

    def set_image(
        self, image: NDArray[np.generic], image_format: Literal["RGB", "BGR"] = "RGB"
    ) -> None:
        """Embed an image, for the prompts to come.

        Args:
            image: 8-bit (H, W, 3) RGB, as it is; (H, W, 4) RGBA, whose opacity is not looked at;
                or (H, W) grey, which fills all three channels. Where the package sees a single
                channel, grey may have any type and is stretched as in training.
            image_format: The order of the colours, RGB, or BGR as OpenCV has them.

        Raises:
            InputError: The image has another form, or a side below 1 or above 20,000 px.
            PackageError: The encoder fails.
        """
        image = np.asarray(image)
        if image.ndim != 2 or len(self.package.description.channels) != 1:
            super().set_image(image, image_format)
            return
        self.reset_image()
        image = in_rgb_order(image, image_format)  # refuses another format
        Letterbox.of((image.shape[0], image.shape[1]), self.networks.side)  # refuses its size
        self._embed(three_channels(image[None], "grey"))

    def set_channels(self, image: Image) -> None:
        """Embed an opened image: the channels that the package sees, shown as in training.

        Raises:
            InputError: A channel is missing, the image cannot be read, or is too large.
            PackageError: The encoder fails.
        """
        self.reset_image()
        channels = self.channels_of(image)
        Letterbox.of(image.shape, self.networks.side)  # refuses its size before it is read
        pixels = image.read(channels=channels)
        colour = len(self.package.description.channels) == 3
        if colour and len(channels) == 1 and pixels.dtype == np.uint8:
            self._embed(as_rgb(pixels[0]))  # as colours would be, without stretching
        else:
            self._embed(three_channels(pixels, choose_rule("auto", len(channels))))

    def channels_of(self, image: Image) -> tuple[str, ...]:
        """The channels of an image that are shown: the package's, or the only one of a grey image.

        Raises:
            InputError: A channel is missing.
        """
        if len(image.channels) == 1 and len(self.package.description.channels) == 3:
            return image.channels
        return channels_for(image, self.package.description.channels)

    def get_image_embedding(self) -> NDArray[np.float32]:
        """The image's embedding (1, 256, side / 16, side / 16).

        Raises:
            InputError: No image has been set.
        """
        return self._set().embedding

    def _embed(self, rgb: NDArray[np.uint8]) -> None:
        letterbox = Letterbox.of((rgb.shape[0], rgb.shape[1]), self.networks.side)
        self._image = Embedded(letterbox, self.networks.encode(letterbox.image(rgb)))

    def _predict(
        self, image: Embedded, prompt: CheckedPrompt, *, several: bool, logits: bool
    ) -> MaskPrediction:
        points, labels = _as_points(prompt, image.letterbox)
        side = 4 * self.networks.grid
        inputs = {
            "image_embeddings": image.embedding,
            "point_coords": points[None],
            "point_labels": labels[None],
            "mask_input": np.zeros((1, 1, side, side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        if prompt.mask is not None:
            inputs["mask_input"] = _checked_mask(prompt.mask, side)
            inputs["has_mask_input"] = np.ones(1, np.float32)
        low, scores = self.networks.decode(inputs)
        wanted = slice(1, None) if several else slice(0, 1)
        low, scores = low[0, wanted], scores[0, wanted]
        place = image.letterbox
        return MaskPrediction(
            place.logits(low) if logits else place.masks(low, THRESHOLD), scores, low
        )


def _as_points(
    prompt: CheckedPrompt, letterbox: Letterbox
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and box as points (P, 2) and labels (P,); P is at least 1.

    Where no box follows, SAM was trained with a point that is none.
    """
    places, meanings = [np.zeros((0, 2), np.float32)], [np.zeros(0, np.float32)]
    if prompt.points is not None and prompt.labels is not None:
        places.append(letterbox.places(prompt.points))
        meanings.append(prompt.labels.astype(np.float32))
    if prompt.box is not None:
        places.append(letterbox.places(prompt.box.reshape(2, 2)))
        meanings.append(np.array([_TOP_LEFT, _BOTTOM_RIGHT], np.float32))
    else:
        places.append(np.zeros((1, 2), np.float32))
        meanings.append(np.array([_NO_POINT], np.float32))
    return np.concatenate(places), np.concatenate(meanings)


def _checked_mask(mask: ArrayLike, side: int) -> NDArray[np.float32]:
    logits = np.asarray(mask, np.float32)
    if logits.shape not in ((side, side), (1, side, side)) or not np.isfinite(logits).all():
        raise InputError(
            f"mask_input has the shape {logits.shape} or is not finite; logits (1, {side}, {side}) "
            "of an earlier answer are needed"
        )
    return logits.reshape(1, 1, side, side)
