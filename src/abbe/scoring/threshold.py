"""Thresholds, chosen on validation images and never on test images."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product, zip_longest
from typing import Any, NamedTuple

import numpy as np

from abbe.errors import InputError
from abbe.runtime.postprocess.instances import instances_from_maps
from abbe.scoring.instance import instance_scores

CANDIDATES = tuple(k / 20 for k in range(1, 20))


class InstanceThresholds(NamedTuple):
    """What :func:`choose_instance_thresholds` found, and the mean F1 at IoU 0.5 that it gives."""

    threshold: float
    boundary_threshold: float
    f1: float


def choose_threshold(
    probabilities: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    candidates: Sequence[float] = CANDIDATES,
) -> float:
    """The threshold of the highest mean Dice over images, where ``p >= threshold`` is foreground.

    Each image is counted once for all candidates. An image where both masks are empty has Dice 1,
    as in :func:`abbe.scoring.pixel_scores`; one without a known pixel is left out. Of several
    equally good thresholds it is the one nearest to 0.5.

    Args:
        probabilities: one (H, W) map an image, float in [0, 1]; may be read lazily.
        truths: for each image (H, W) bool, or integer labels with −1 = unknown.
        candidates: thresholds to try, in any order.

    Raises:
        InputError: no image with a known pixel, no candidate, maps that are not float in [0, 1],
            more maps than truths, or shapes that differ.
    """
    thresholds = np.unique(np.asarray(candidates, dtype=np.float64))
    images = _together(probabilities, truths)
    dice = [_dice_at(thresholds, probability, truth) for probability, truth in images]
    (threshold,), _ = _best(thresholds[:, None], dice)
    return threshold


def choose_instance_thresholds(
    foregrounds: Iterable[np.ndarray],
    boundaries: Iterable[np.ndarray] | None,
    truths: Iterable[np.ndarray],
    *,
    thresholds: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7),
    boundary_thresholds: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7),
    minimum_area: int = 15,
) -> InstanceThresholds:
    """The thresholds of ``instances_from_maps`` with the highest mean F1 at IoU 0.5.

    Every pair on the grid is tried on every image. Of several equally good pairs it is the one
    nearest to (0.5, 0.5).

    Args:
        foregrounds: one (H, W) float map in [0, 1] an image.
        boundaries: their boundary maps, or None if there are none: then ``boundary_threshold``
            means nothing and stays at 0.5.
        truths: for each image (H, W) integer labels, −1 = unknown.
        thresholds: candidates for the foreground.
        boundary_thresholds: candidates for the boundary.
        minimum_area: px, as in ``instances_from_maps``.

    Raises:
        InputError: no labelled image, an empty grid, or maps and labels that do not fit.
    """
    if boundaries is None:
        boundary_thresholds = [0.5]
        images = ((foreground, None, truth) for foreground, truth in _together(foregrounds, truths))
    else:
        images = _together(foregrounds, boundaries, truths)
    grid = np.array(list(product(thresholds, boundary_thresholds)), dtype=np.float64)
    f1 = [
        [
            instance_scores(
                instances_from_maps(
                    foreground,
                    boundary,
                    threshold=threshold,
                    boundary_threshold=boundary_threshold,
                    minimum_area=minimum_area,
                ),
                truth,
            )["f1@0.5"]
            for threshold, boundary_threshold in grid.tolist()
        ]
        for foreground, boundary, truth in images
    ]
    (threshold, boundary_threshold), best_f1 = _best(grid, f1)
    return InstanceThresholds(threshold, boundary_threshold, best_f1)


def _together(*series: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """``zip``, but series of different lengths are the user's mistake."""
    end = object()
    for items in zip_longest(*series, fillvalue=end):
        if any(item is end for item in items):
            raise InputError(
                "there must be one map and one truth for each image: one list is longer"
            )
        yield items


def _dice_at(thresholds: np.ndarray, probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of one image at each of the rising thresholds; NaN if no pixel is known."""
    if probability.shape != truth.shape or not np.issubdtype(probability.dtype, np.floating):
        raise InputError(
            f"a map of {probability.shape} px, dtype {probability.dtype}, cannot be held against "
            f"a truth of {truth.shape} px: give floats in [0, 1] of the same shape"
        )
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise InputError(
            f"a map must hold probabilities in [0, 1]; got {probability.min():g} to "
            f"{probability.max():g}. Logits need a sigmoid first"
        )
    known = truth >= 0
    if not known.any():
        return np.full(thresholds.size, np.nan)
    # How many thresholds a pixel reaches; the map's own precision decides, as in `p >= threshold`.
    reached = np.searchsorted(thresholds.astype(probability.dtype), probability[known], "right")
    wanted = truth[known] > 0
    found_at = _reaching(reached, thresholds.size)
    hit_at = _reaching(reached[wanted], thresholds.size)
    total = found_at + np.count_nonzero(wanted)
    return np.divide(2 * hit_at, total, out=np.ones(thresholds.size), where=total > 0)


def _reaching(reached: np.ndarray, count: int) -> np.ndarray:
    """(count,): how many pixels reach the first threshold, the second…"""
    histogram = np.bincount(reached, minlength=count + 1)
    return np.cumsum(histogram[::-1])[::-1][1:]


def _best(grid: np.ndarray, scores: Sequence[Any]) -> tuple[list[float], float]:
    """The row of ``grid`` with the highest mean score over images, and that mean."""
    if grid.size == 0:
        raise InputError("there is no threshold to try: give at least one candidate")
    table = np.array(scores, dtype=np.float64).reshape(-1, len(grid))
    table = table[~np.isnan(table).any(axis=1)]
    if table.size == 0:
        raise InputError(
            "a threshold cannot be chosen: no validation image has a label. "
            "Give labelled images in the split 'val'"
        )
    mean = table.mean(axis=0)
    best = np.flatnonzero(mean >= mean.max() - 1e-12)
    chosen = best[np.argmin(np.abs(grid[best] - 0.5).sum(axis=1))]
    return grid[chosen].tolist(), float(mean[chosen])
