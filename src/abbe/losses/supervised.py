"""The supervised term: cross-entropy and Dice against labels."""

from torch import Tensor

from abbe.losses.reduction import cross_entropy, dice_loss, mean_of_known, prepare


def supervised(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice loss.

    L = BCE(p, y) + 1 − (2 Σ py + 1) / (Σ p + Σ y + 1), each per image over its valid pixels; then
    the mean of BCE over images with at least one, and of Dice over those that show something
    (`abbe.losses.reduction.dice_loss` says why). It serves every output: foreground, boundary, an
    edge head.

    Args:
        logits: (B, H, W); p is their sigmoid.
        truth: (B, H, W), 0 or 1; anything where not valid.
        valid: (B, H, W) bool; true where the truth is known.

    Returns:
        A scalar ≥ 0; 0 with zero gradient where nothing is valid.

    Raises:
        ValueError: The shapes differ.
    """
    logits, truth, known = prepare(logits, truth, valid)
    crossed = mean_of_known(cross_entropy(logits, truth), known)
    return crossed + dice_loss(logits.sigmoid(), truth, known)
