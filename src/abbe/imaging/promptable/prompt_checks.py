"""Pictures and places on them, as the SAM family's calls take them, checked before use."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abbe.errors import InputError


def as_rgb(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bring a grey (H, W) or RGBA (H, W, 4) image to RGB (H, W, 3).

    Raises:
        InputError: The image is none of these, or not 8-bit.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError(
            f"the image is {image.shape} {image.dtype}; 8-bit (uint8) grey (H, W), RGB (H, W, 3) "
            "or RGBA (H, W, 4) is needed"
        )
    if image.ndim == 2:
        return np.repeat(image.astype(np.uint8, copy=False)[:, :, None], 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise InputError(f"the image has {image.shape[2]} channels on its last axis, not 3 or 4")
    return np.ascontiguousarray(image[:, :, :3], np.uint8)


def in_rgb_order(image: NDArray[Any], image_format: str) -> NDArray[Any]:
    """Put the colours (H, W, 3 or 4) of a BGR image into the order of RGB; opacity stays last.

    Raises:
        InputError: The format is neither.
    """
    if image_format not in ("RGB", "BGR"):
        raise InputError(f"image_format is '{image_format}'; RGB or BGR is needed")
    if image_format == "RGB" or image.ndim != 3:
        return image
    return image[..., [2, 1, 0, *range(3, image.shape[2])]]


def checked_points(coords: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64]:
    """Points (P, 2), x and y, of which there are some, all on an image of this (height, width).

    Raises:
        InputError: They are not.
    """
    points = np.asarray(coords, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise InputError(f"point_coords has the shape {points.shape}; (P, 2) with P ≥ 1 is needed")
    height, width = size
    # As a negation, so that NaN is outside.
    outside = ~((points >= 0).all(axis=1) & (points < (width, height)).all(axis=1))
    if outside.any():
        first = ", ".join(f"{value:g}" for value in points[outside][0])
        raise InputError(
            f"{outside.sum()} of {len(points)} points lie outside the image of {width} × {height} "
            f"pixels, the first at (x, y) = ({first})"
        )
    return points


def checked_labels(labels: ArrayLike, count: int) -> NDArray[np.int64]:
    """Labels (P,) of so many points: 1 inside, 0 outside, −1 no point.

    Raises:
        InputError: They are not.
    """
    values = np.asarray(labels)
    if values.shape != (count,) or not np.isin(values, (-1, 0, 1)).all():
        raise InputError(
            f"point_labels is {values.tolist()}; one 1 or 0 for each of {count} points is needed"
        )
    return values.astype(np.int64)


def checked_box(box: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64]:
    """A box (4,): left, top, right, bottom, with an area, on an image of this (height, width).

    Raises:
        InputError: It is not.
    """
    corners = np.asarray(box, dtype=np.float64)
    if corners.size != 4:
        raise InputError(f"box has the shape {corners.shape}; left, top, right, bottom are needed")
    corners = corners.reshape(4)
    left, top, right, bottom = corners
    height, width = size
    shown = f"box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not (left < right and top < bottom):
        raise InputError(f"{shown} has no area: left < right and top < bottom are needed")
    if not (left >= 0 and top >= 0 and right <= width and bottom <= height):
        raise InputError(f"{shown} reaches outside the image of {width} × {height} pixels")
    return corners
