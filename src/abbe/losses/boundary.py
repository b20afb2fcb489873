"""The boundary-aware term in three forms.

All look at 3 x 3 neighbourhoods, so a pixel counts only where the truth of its whole neighbourhood
is known: else the rim of an unknown area would pass for an edge. Beyond the image's border there
is nothing, and no edge.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from abbe.losses.reduction import cross_entropy, dice_loss, image_sums, mean_of_known, prepare


def edges(probability: Tensor) -> Tensor:
    """Morphological gradient in 3 x 3 px: maximum minus minimum, maxpool(p) + maxpool(−p).

    Of a binary mask it is the band 2 px wide on both sides of the edge.

    Args:
        probability: (B, H, W) float.

    Returns:
        (B, H, W), in [0, 1] for probabilities.
    """
    if not (probability.requires_grad and torch.is_grad_enabled()):
        return _maximum(probability) + _maximum(-probability)
    # Images as channels, which CPUs compare side by side: in half the time, and the same of several
    # that are largest takes the gradient.
    images = probability[None].contiguous(memory_format=torch.channels_last)
    rows = F.max_pool2d(images, 3, 1, 1) + F.max_pool2d(-images, 3, 1, 1)
    return rows[0].contiguous()


def images_with_edges(truth: Tensor, valid: Tensor) -> Tensor:
    """Which images have an edge in a neighbourhood that is known: (B, H, W) twice → (B,) bool."""
    known = valid.float()
    return image_sums(edges(torch.where(valid, truth.float(), 0.0)) * _surely(known)) > 0


def boundary_dice(
    logits: Tensor, truth: Tensor, valid: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Dice loss between the `edges` of the prediction and those of the truth.

    L = 1 − (2 Σ b̂b + 1) / (Σ b̂ + Σ b + 1) with b̂ = edges(p), b = edges(y), per image; those whose
    truth has no edge do not count.

    Args:
        logits: (B, H, W); p is their sigmoid.
        truth: (B, H, W) y in [0, 1]; a foreground mask rather than single objects, since a
            foreground map has no edge between objects that touch. Anything where not valid.
        valid: (B, H, W) bool; true where the truth is known.
        weight: (B,) how much each image counts; all alike where None.

    Returns:
        A scalar in [0, 1]; 0 with zero gradient where no valid image has an edge.

    Raises:
        ValueError: The shapes differ.
    """
    logits, truth, known = prepare(logits, truth, valid)
    return dice_loss(edges(logits.sigmoid()), edges(truth), _surely(known), weight)


def boundary_weighted_bce(
    logits: Tensor, truth: Tensor, valid: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy times w = 1 + 4 edges(y); the mean of w · BCE over valid pixels.

    Next to unknown pixels w is 1. Arguments, mean and errors as in `boundary_dice`.
    """
    logits, truth, known = prepare(logits, truth, valid)
    near = 1 + 4 * edges(truth) * _surely(known)
    return mean_of_known(near * cross_entropy(logits, truth), known, weight)


def sobel_mse(logits: Tensor, truth: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared length of ∇p − ∇y.

    ∇ is Sobel's, divided by 8: a ramp that rises by 1 a px has gradient 1. The image is continued
    by its border pixels. Arguments, mean and errors as in `boundary_dice`.
    """
    logits, truth, known = prepare(logits, truth, valid)
    # The gradient is linear: that of the difference is the difference of the gradients.
    down, right = _sobel(logits.sigmoid() - truth)
    return mean_of_known(down**2 + right**2, _surely(known), weight)


def _maximum(values: Tensor) -> Tensor:
    """The largest of each 3 x 3 neighbourhood, through which nothing is learned: (B, H, W)."""
    return _largest_of_three(_largest_of_three(values, 1), 2)


def _largest_of_three(values: Tensor, axis: int) -> Tensor:
    """Of each value and its two neighbours along an axis."""
    found, last = values.clone(), values.shape[axis] - 1
    for here, there in ((0, 1), (1, 0)):
        part = found.narrow(axis, here, last)
        torch.maximum(part, values.narrow(axis, there, last), out=part)
    return found


def _surely(known: Tensor) -> Tensor:
    """1 where the whole 3 x 3 neighbourhood is known."""
    return -_maximum(-known)


def _sobel(values: Tensor) -> tuple[Tensor, Tensor]:
    """Differences rather than a convolution, which autocast would run in half precision."""
    x = F.pad(values[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    along = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    return (across[:, 2:] - across[:, :-2]) / 8, (along[:, :, 2:] - along[:, :, :-2]) / 8
