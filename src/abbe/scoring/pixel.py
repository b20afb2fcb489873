"""Overlap of two masks: Dice, IoU, precision, recall."""

import numpy as np

from abbe.scoring.arrays import checked_masks


def pixel_scores(
    prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Compare two masks pixel by pixel.

    With TP, FP, FN counted over the valid pixels: ``dice`` = 2 TP / (2 TP + FP + FN), ``iou`` =
    TP / (TP + FP + FN), ``precision`` = TP / (TP + FP), ``recall`` = TP / (TP + FN).

    If both masks are empty all four are 1 (rightly nothing found); if only one is, all are 0, also
    where a denominator is 0. Without a valid pixel all are NaN.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
        valid: (H, W) bool, False where the truth is unknown; None: known everywhere.

    Returns:
        The four scores, each in [0, 1].

    Raises:
        InputError: not bool masks of one shape.

    >>> found, wanted = np.array([[True, True, False]]), np.array([[True, False, False]])
    >>> {name: round(score, 2) for name, score in pixel_scores(found, wanted).items()}
    {'dice': 0.67, 'iou': 0.5, 'precision': 0.5, 'recall': 1.0}
    """
    valid = checked_masks(prediction, truth, valid)
    if not valid.any():
        return dict.fromkeys(("dice", "iou", "precision", "recall"), np.nan)
    hit = int(np.count_nonzero(prediction & truth & valid))
    found = int(np.count_nonzero(prediction & valid))
    wanted = int(np.count_nonzero(truth & valid))
    if found == wanted == 0:
        return dict.fromkeys(("dice", "iou", "precision", "recall"), 1.0)
    return {
        "dice": 2 * hit / (found + wanted),
        "iou": hit / (found + wanted - hit),
        "precision": hit / found if found else 0.0,
        "recall": hit / wanted if wanted else 0.0,
    }
