"""Orders of passes over images: each comes once before any comes again."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=4)  # for two kinds of images, and a batch that reaches into the next pass
def order(seed: tuple[int, ...], images: int) -> NDArray[np.int32]:
    """The order of a pass over so many images; the last ones are kept, for every sample asks."""
    found = np.random.default_rng(seed).permutation(images).astype(np.int32)
    found.flags.writeable = False
    return found


def in_turn(seed: int, count: int, images: int) -> int:
    """Which of so many images is the ``count``-th: each comes once before any comes again."""
    turn, place = divmod(count, images)
    return int(order((seed, 1 << 20, turn), images)[place])
