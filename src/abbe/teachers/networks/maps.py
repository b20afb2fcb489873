"""A teacher that is a network giving probability maps: prepare, run in tiles, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from abbe.teachers.networks.preprocessing import Preprocessing, by_region
from abbe.teachers.teacher import Cost, Prediction, found_in
from abbe.teachers.tiles import Network, Pixels, Tiling, run_in_tiles

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance


@dataclass(frozen=True)
class MapTeacher:
    """A network with everything before and after it.

    Attributes:
        provenance: what the store must know.
        origin: the file or module, for messages.
        outputs: names of all maps the network gives, ``-`` for those not stored.
        prepare: an image → what the network reads of any region of it.
        network: (C, h, w) → (K, h, w), for one tile.
        tiling: sides that the network accepts.
        finish: the joined maps → probabilities, where that takes the whole image.
        pixel_size: µm per px that the network was made for; images are resampled to it. None where
            that is not known.
        parameters: of the network, where they were counted.
    """

    provenance: Provenance
    origin: str
    outputs: tuple[str, ...]
    prepare: Callable[[Image], Pixels]
    network: Network
    tiling: Tiling
    finish: Callable[[NDArray[np.floating]], NDArray[np.floating]] | None = None
    pixel_size: float | None = None
    parameters: int | None = None

    def predict(self, image: Image, id: str) -> Prediction:
        """Probability maps of ``image``, one for each stored output.

        Raises:
            InputError: the image lacks a channel, holds NaN, has no pixel size where the network
                has one, or the network does not answer with probabilities of the image's size.
        """
        from abbe.runtime.tiling.rescaling import resampled, to_shape

        seen = resampled(image, self.pixel_size)
        maps = run_in_tiles(self.network, self.prepare(seen), seen.shape, self.tiling, self.origin)
        threshold = self.provenance.thresholds.get("foreground", 0.5)
        finished = maps if self.finish is None else self.finish(maps)
        return found_in(to_shape(finished, image.shape), self.outputs, threshold, self.origin)

    def cost(self) -> Cost:
        """Parameters of its network."""
        return Cost(self.parameters)


def prepared_by(
    preprocessing: Preprocessing, channels: tuple[str, ...]
) -> Callable[[Image], Pixels]:
    """Reads a region of these channels at a time, and prepares it."""
    return lambda image: by_region(image, channels, preprocessing(image, channels))


def prepared_whole(
    process: Callable[[NDArray[np.generic]], NDArray[np.float32]], channels: tuple[str, ...]
) -> Callable[[Image], Pixels]:
    """Prepares the whole image at once, for a ``process`` that needs to see all of it."""

    def prepare(image: Image) -> Pixels:
        pixels = process(image.read(channels=channels))
        return lambda region: pixels[:, region.top : region.bottom, region.left : region.right]

    return prepare
