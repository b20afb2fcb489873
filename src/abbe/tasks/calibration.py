"""Whether a network's probabilities mean what they say, and the temperature that mends them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbe.datasets import Dataset, Record, spread
from abbe.datasets.collection import Split
from abbe.scoring.calibration import fit_temperature, reliability, tempered
from abbe.summary import Calibration, Curve

IMAGES = 24
"""Images of each split that are looked at, where pixels are."""
PIXELS = 2000
"""Pixels of each; neighbours say much the same."""
CLASSES = "classes"
"""Names the temperature of classes that exclude each other."""
_LEAST = 1e-7


class Sample(NamedTuple):
    """What a network says where the truth is known.

    Attributes:
        logits: (N, K); of a map of one class, 0 and its logit.
        truth: (N,) class numbers.
        images: how many they are from.
    """

    logits: NDArray[np.float64]
    truth: NDArray[np.int64]
    images: int


Samples = Mapping[str, Sample]
"""By map of the network, or `CLASSES`."""


def calibrations(sample: Callable[[Split], Samples]) -> dict[str, Calibration]:
    """Temperatures by validation images, and what they do to test images.

    Training images say nothing here: a network is surer of them than of others. Nor is there
    anything to fit where all truth is of one class.

    Args:
        sample: what the network says of a split.
    """
    chosen, tests = sample("val"), sample("test")
    found = {}
    for name, known in chosen.items():
        if name not in tests or len(np.unique(known.truth)) < 2:
            continue
        temperature = fit_temperature(known.logits, known.truth)
        logits, truth, _ = tests[name]
        before, after = (reliability(truth, tempered(logits, t)) for t in (1.0, temperature))
        found[name] = Calibration(
            temperature=round(temperature, 4),
            images=known.images,
            error_before=before.error,
            error_after=after.error,
            before=Curve(confidence=before.confidence.tolist(), right=before.accuracy.tolist()),
            after=Curve(confidence=after.confidence.tolist(), right=after.accuracy.tolist()),
        )
    return found


def some(records: Sequence[Record]) -> list[Record]:
    """The records that are looked at."""
    return spread(records)[:IMAGES]


def joined(parts: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Sample | None:
    """Logits (n, K) and truth (n,) of images put together; None of none."""
    known = [part for part in parts if len(part[1])]
    if not known:
        return None
    logits, truth = (np.concatenate(each) for each in zip(*known, strict=True))
    return Sample(logits.astype(np.float64), truth.astype(np.int64), len(known))


def pixels_of(
    logits: NDArray[Any], truth: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Some known pixels of an image: logits (n, K) and truth (n,).

    Args:
        logits: (K, H, W).
        truth: (H, W) class numbers, −1 where unknown.
    """
    places = np.flatnonzero(truth.ravel() >= 0)
    if len(places) > PIXELS:
        places = np.random.default_rng(0).choice(places, PIXELS, replace=False)
    known = logits.reshape(len(logits), -1)[:, places].astype(np.float64).T
    return known, truth.ravel()[places].astype(np.int64)


def logits_of(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Of which the sigmoids are ``probability``; 0 and 1 have finite ones."""
    p = probability.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    return np.log(p / (1 - p))


def binary(logits: NDArray[Any]) -> NDArray[np.float64]:
    """(n, 1) logits of a map of one class as (n, 2): of the rest, and of it."""
    return np.concatenate([np.zeros_like(logits), logits], axis=1)


def calibrate(
    sample: Callable[[Any, Dataset, Split], Samples], models: Mapping[str, Any], dataset: Dataset
) -> dict[str, dict[str, Calibration]]:
    """`calibrations` of several models, by their names; those without any are left out."""
    found = {name: calibrations(partial(sample, model, dataset)) for name, model in models.items()}
    return {name: each for name, each in found.items() if each}
