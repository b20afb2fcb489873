"""What is known of a teacher's embeddings before a student is compared with them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from abbe.errors import InputError


@dataclass(frozen=True)
class Projection:
    """What is known of a teacher's embeddings: their channels, and their main directions.

    Attributes:
        directions: (3, C) orthonormal rows, of the largest variance first.
        mean: (C,) of each channel, over images and places.
        deviation: (C,) standard deviation of each channel.
        spread: (3,) standard deviation along each direction.
    """

    directions: Tensor
    mean: Tensor
    deviation: Tensor
    spread: Tensor

    @property
    def variance(self) -> float:
        """Mean over the channels of each one's variance about its mean."""
        return float(self.deviation.square().mean())


def fit_projection(embeddings: Iterable[Tensor]) -> Projection:
    """Find the mean, the deviation and the three principal directions of embeddings.

    Each place of each image counts as one observation of C channels. Of a direction and its
    opposite the one is taken whose largest component is positive.

    Args:
        embeddings: Each (B, C, h, w), seen once; a few hundred images are enough.

    Raises:
        InputError: There are none, or they hold NaN or infinity, have fewer than three channels or
            vary along fewer than three directions.
    """
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for embedding in embeddings:
        rows = embedding.detach().double().transpose(0, 1).flatten(1).cpu()
        count += rows.shape[1]
        total = total + rows.sum(1)
        products = products + rows @ rows.T
    if not count:
        raise InputError("there is no embedding of the teacher to fit a projection to")
    if not products.isfinite().all():
        raise InputError("the teacher's embeddings hold NaN or infinity: check the teacher")
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    variances, vectors = torch.linalg.eigh(covariance)
    if len(variances) < 3 or variances[-3] <= 1e-9 * variances[-1] or variances[-1] <= 0:
        raise InputError(
            f"the teacher's embeddings vary along fewer than three directions ({count} places of "
            f"{len(mean)} channels): there is nothing to learn from them"
        )
    directions = vectors[:, -3:].flip(1).T
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return Projection(
        directions=(directions * largest.sign()).float(),
        mean=mean.float(),
        deviation=covariance.diagonal().clamp(min=0).sqrt().float(),
        spread=variances[-3:].flip(0).sqrt().float(),
    )
