"""How large the objects of an image are, found by the package itself, in two looks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image, Region
from abbe.runtime.postprocess.diameters import diameters_of
from abbe.runtime.tiling.work import Work

if TYPE_CHECKING:
    from abbe.runtime.predictors.instances import InstancePredictor

SIDE = 1024
"""px; larger images are looked at in parts of this side."""
ENOUGH = 30
"""Objects after which no further part is looked at."""
LOOKS = 2
"""The first at the image's own scale, each further one at the scale that the one before tells."""


def estimate(predictor: InstancePredictor, image: Image, pool: Executor) -> float | None:
    """Median equivalent diameter of an image's objects, px of the image.

    The package finds objects at the image's own scale; their median diameter tells the scale at
    which it looks once more, and whose median is the answer. Objects at the edge of a part are
    counted as they are seen. Of an image larger than `SIDE` nine parts, from the middle outwards,
    are looked at until there are `ENOUGH` objects.

    Args:
        predictor: Whose package says how large the objects were that it was trained on.
        image: The image.
        pool: Threads for its tiles.

    Returns:
        The diameter; None where no object is found.

    Raises:
        InputError: The image cannot be read, or objects of the size that the first look found
            would be brought too far from their size.
    """
    diameter = predictor.package.description.object_diameter
    assert diameter is not None
    seen = predictor.seen(image, Work(None))
    for _ in range(LOOKS):
        found = _diameters(predictor, seen.with_diameter(diameter), pool)
        if not len(found):
            return None
        diameter = float(np.median(found))
    return diameter


def _diameters(predictor: InstancePredictor, image: Image, pool: Executor) -> np.ndarray:
    channels = predictor.channels_of(image)
    scaling = predictor.package.description.normalisation.scaling
    limits = scaling.image_limits(image, channels)
    found = np.empty(0)
    for region in _parts(image.shape):
        part = Image.from_array(image.read(region, channels), channels, name=image.source)
        prediction = predictor.run(
            part.with_diameter(image.diameter), pool, Work(None), limits=limits
        )
        found = np.concatenate([found, diameters_of(prediction.labels.read())])
        if len(found) >= ENOUGH:
            break
    return found


def _parts(shape: tuple[int, int]) -> Iterator[Region]:
    """The middle of an image first, then the eight parts around it."""
    starts = []
    for length in shape:
        room = max(0, length - SIDE)
        starts.append([room // 2, *({0, room} - {room // 2})])
    for top in starts[0]:
        for left in starts[1]:
            yield Region(top, left, min(top + SIDE, shape[0]), min(left + SIDE, shape[1]))
