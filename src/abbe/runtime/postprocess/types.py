"""From maps of types to the type of each object."""

import numpy as np


def object_types(labels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """How probable each type of each object is: the mean of its map over the object's pixels.

    Args:
        labels: (H, W) integers, 0 = background, objects 1…n.
        maps: (K, H, W) floats in [0, 1], one a type.

    Returns:
        (n + 1, K) float: rows add up to 1; that of the background and of numbers without a pixel,
        and of objects of which no type is probable, say that all types are alike.
    """
    numbers = labels.ravel()
    count = int(numbers.max(initial=0)) + 1
    sums = np.stack([np.bincount(numbers, each.ravel(), count) for each in maps], axis=1)
    sums[0] = 0
    return shares_of(sums)


def shares_of(sums: np.ndarray) -> np.ndarray:
    """Rows that add up to 1; alike where there is nothing to share."""
    total = sums.sum(1, keepdims=True)
    alike = np.full_like(sums, 1 / sums.shape[1], dtype=float)
    return np.divide(sums, total, out=alike, where=total > 0)


def majority_types(labels: np.ndarray, types: np.ndarray, count: int) -> np.ndarray:
    """The type of each object by a picture of types: that of most of its pixels.

    Args:
        labels: (H, W) integers, 0 = background, objects 1…n, −1 unknown.
        types: (H, W) integers: 1 to ``count`` are types, others say nothing.
        count: How many types there are.

    Returns:
        (n + 1,) int64: the type, from 1; 0 where nothing is said.
    """
    said = (labels > 0) & (types > 0)
    table = np.zeros((int(labels.max(initial=0)) + 1, count + 1), np.int64)
    np.add.at(table, (labels[said], types[said]), 1)
    return table.argmax(1)
