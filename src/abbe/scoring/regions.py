"""How well regions of several classes are segmented: mean IoU and Dice over the classes."""

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.scoring.classification import Floats, mean_of_defined, ratio
from abbe.scoring.names import Metric

REGION_METRICS: dict[str, Metric] = {
    "mean_iou": Metric("IoU, mean over classes", True),
    "dice": Metric("Dice, mean over classes", True),
    "pixel_accuracy": Metric("Accuracy of pixels", True),
}


def confusion(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Pixels by their true class (rows) and the answered one (columns).

    Args:
        prediction: (H, W) class numbers in [0, ``classes``).
        truth: (H, W) likewise; −1 where unknown, which does not count.
        classes: K.

    Returns:
        (K, K).

    Raises:
        InputError: the shapes differ, or a number is no class.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"the prediction is {prediction.shape} px but the truth {truth.shape} px: both must be "
            "of the same image at the same size"
        )
    if truth.max(initial=-1) >= classes or prediction.max(initial=0) >= classes:
        raise InputError(
            f"a pixel has the class number {max(truth.max(), prediction.max())}, but there are "
            f"{classes} classes with the background, numbered from 0"
        )
    known = truth >= 0
    pairs = truth[known].astype(np.int64) * classes + prediction[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def region_scores(confusions: NDArray[np.int64], counts: Floats | None = None) -> dict[str, Floats]:
    """The scores of a set of images, all pixels taken together, and of R resamples at once.

    ``mean_iou`` = mean of TP / (TP + FP + FN) and ``dice`` = mean of 2 TP / (2 TP + FP + FN),
    over the classes that occur in the truth or the answers; ``pixel_accuracy``.

    Args:
        confusions: (N, K, K) of the images, from `confusion`.
        counts: (R, N) how often each image counts; each once if None.

    Returns:
        By metric (R,), or (1,) without counts; NaN where no pixel is known.
    """
    size, classes, _ = confusions.shape
    if counts is None:
        counts = np.ones((1, size))
    table = (counts @ confusions.reshape(size, -1)).reshape(-1, classes, classes)
    right = np.diagonal(table, axis1=1, axis2=2)
    either = table.sum(1) + table.sum(2)
    return {
        "mean_iou": mean_of_defined(ratio(right, either - right)),
        "dice": mean_of_defined(ratio(2 * right, either)),
        "pixel_accuracy": ratio(right.sum(1), table.sum((1, 2))),
    }
