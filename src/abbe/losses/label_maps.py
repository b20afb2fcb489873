"""From instance labels to what the outputs of a student should be."""

import torch
from torch import Tensor


def known_of(labels: Tensor) -> Tensor:
    """Where the label is known: (B, H, W) bool, false at −1."""
    return labels >= 0


def foreground_of(labels: Tensor) -> Tensor:
    """The mask of all instances.

    Args:
        labels: (B, H, W) integers: 0 background, −1 unknown.

    Returns:
        (B, H, W) float32: 1 in any instance, else 0 (0 too where unknown).
    """
    return (labels > 0).float()


def boundary_of(labels: Tensor) -> Tensor:
    """The inner boundary of each instance, which also parts instances that touch.

    A pixel of an instance is boundary if one of its eight neighbours is background or of another
    instance. Unknown pixels and the image's border make no boundary. Labels are compared as
    integers, so those above 2²⁴ are exact too.

    Args:
        labels: (B, H, W) integers: 0 background, −1 unknown.

    Returns:
        (B, H, W) float32: 1 at boundary pixels, else 0.
    """
    boundary, known = torch.zeros_like(labels, dtype=torch.bool), known_of(labels)
    height, width = labels.shape[-2:]
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (..., slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (..., slice(down, height), slice(max(0, right), width - max(0, -right)))
        differ = (labels[here] != labels[there]) & known[here] & known[there]
        boundary[here] |= differ
        boundary[there] |= differ
    return (boundary & (labels > 0)).float()
