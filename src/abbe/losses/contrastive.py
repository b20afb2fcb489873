"""The contrastive term: two views of one tile are alike, those of different tiles are not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from abbe.losses.processes import gathered


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """Normalised temperature-scaled cross-entropy (SimCLR: Chen et al. 2020, equation 1).

    With u the 2B unit vectors, l(i, j) = −log exp(uᵢ·uⱼ / τ) / Σ_{k≠i} exp(uᵢ·uₖ / τ) for each of
    the 2B ordered pairs (i, j) of views of one tile, and their mean.

    Args:
        first: (B, D) vectors of one view, of any length. Where several processes share a batch,
            each gives as many, and all are compared with all. There are two or more in all.
        second: (B, D) vectors of the other view, in the same order.
        temperature: τ above 0.

    Returns:
        A scalar ≥ 0.

    Raises:
        ValueError: The shapes differ, there is no second tile, or τ is not above 0.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"both views must be (B, D), but are {tuple(first.shape)} and {tuple(second.shape)}"
        )
    first, second = gathered(first), gathered(second)
    count = len(first)
    if count < 2:
        raise ValueError("a contrastive term needs two tiles or more in a batch")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    vectors = torch.cat([first, second])
    vectors = F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=1)
    similarity = vectors @ vectors.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=similarity.device)
    partner = torch.arange(2 * count, device=similarity.device).roll(count)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
