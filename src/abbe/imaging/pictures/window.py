"""Which part of a large image is shown: the one with the most in it."""

import numpy as np


def fullest_window(
    shape: tuple[int, int], truth: np.ndarray | None, side: int
) -> tuple[slice, slice]:
    """The whole image; of a large one, the window with the most truth in it, or else its middle.

    Args:
        shape: (H, W) of the image.
        truth: (H, W), above 0 where something is; None where it is not known.
        side: of the window, px; along a shorter side of the image it is that side.
    """
    height, width = shape
    h, w = min(height, side), min(width, side)
    top, left = (height - h) // 2, (width - w) // 2
    if truth is not None and (h, w) != shape and (truth > 0).any():
        # Sums over all windows from one table of sums over all corners.
        total = np.pad((truth > 0).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
        fullest = np.argwhere(inside == inside.max())
        top, left = (int(i) for i in fullest[len(fullest) // 2])
    return slice(top, top + h), slice(left, left + w)
