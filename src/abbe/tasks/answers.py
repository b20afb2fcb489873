"""What a model answers for whole images of a task, and how that is scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from abbe import scoring, students
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.runtime.tiling.grid import Grid, scale_between
from abbe.runtime.tiling.rescaling import to_shape, whole
from abbe.scoring import CLASSIFICATION_METRICS, REGION_METRICS, Metric
from abbe.students import UNet

METRICS: dict[str, dict[str, Metric]] = {
    "classification": CLASSIFICATION_METRICS,
    "segmentation": REGION_METRICS,
}
WATCHED = {"classification": "balanced_accuracy", "segmentation": "mean_iou"}
"""The validation score that picks the best weights."""


@dataclass
class Answers:
    """One model's answers for the same images in the same order.

    Attributes:
        table: (N, K) probabilities of images; (N, K, K) confusions of their pixels.
        maps: of segmented images, (H, W) class numbers each.
    """

    table: NDArray[Any]
    maps: list[NDArray[np.int32]] = field(default_factory=list)


def answer(
    model: nn.Module,
    images: Sequence[Prepared],
    sees: Sequence[str],
    classes: int,
    pixel_size: float | None = None,
) -> Answers:
    """Have a model answer for whole images.

    Args:
        model: a `UNet` for segmentation, else a classifier or a linear probe.
        images: with a category each, or with labels that number the classes of pixels.
        sees: the model's channels.
        classes: K.
        pixel_size: µm per px that the model was trained at, to which images are resampled; None
            for as they are.

    Raises:
        InputError: the model has a pixel size, and an image has none, or another by far.
    """
    rows, maps = [], []
    for image in images:
        pixels = image.whole()[[image.channels.index(name) for name in sees]]
        grid = _seen_at(image, pixel_size)
        said = ask(model, to_shape(pixels, grid.shape))
        if isinstance(model, UNet):
            assert image.label is not None
            rows_of, columns_of = grid.sources
            said = said[rows_of[:, None], columns_of]
            rows.append(scoring.confusion(said, image.label, classes))
            maps.append(said)
        else:
            rows.append(said)
    return Answers(np.stack(rows), maps)


def _seen_at(image: Prepared, pixel_size: float | None) -> Grid:
    if pixel_size is None:
        return whole(image.shape, 1.0)
    if image.pixel_size is None:
        raise InputError(
            f"{image.id}: its pixel size is not known, and the network was trained at "
            f"{pixel_size:g} µm. Give it with data.pixel_size"
        )
    return whole(image.shape, scale_between(image.pixel_size, pixel_size, image.id))


def ask(model: nn.Module, pixels: np.ndarray) -> NDArray[Any]:
    """The class of each of the pixels (C, H, W), or a classifier's probabilities (K,)."""
    if isinstance(model, UNet):
        # The largest sigmoid is the largest logit.
        return students.predict(model, pixels).argmax(0).astype(np.int32)
    return _classify(model, pixels)


def score(
    task: str, answers: Answers, images: Sequence[Prepared], counts: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The scores of the whole set, and with ``counts`` of its resamples; see `abbe.scoring`."""
    if task == "segmentation":
        return scoring.region_scores(answers.table, counts)
    truth = np.array([image.category for image in images])
    return scoring.classification_scores(truth, answers.table, counts)


def task_validator(
    task: str, images: Sequence[Prepared], sees: Sequence[str], classes: int
) -> Callable[[nn.Module], dict[str, float]]:
    """What a network scores on validation images."""

    def validate(network: nn.Module) -> dict[str, float]:
        scores = score(task, answer(network, images, sees, classes), images)
        return {name: float(value[0]) for name, value in scores.items()}

    return validate


def summarise(
    task: str,
    models: Mapping[str, Answers],
    images: Sequence[Prepared],
    groups: Sequence[str],
    resamples: int,
) -> dict[str, Any]:
    """Scores with intervals by model, and the gain over the twin.

    Args:
        task: classification or segmentation.
        models: answers by model.
        images: what they answered for.
        groups: the group of each image; whole groups are drawn again.
        resamples: draws of the bootstrap, the same for every model.
    """
    counts = scoring.draw_counts(groups, resamples=resamples)
    n = len(images)
    plain = {name: score(task, each, images) for name, each in models.items()}
    drawn = {name: score(task, each, images, counts) for name, each in models.items()}
    summary: dict[str, Any] = {"models": {}, "gain": {}, "retention": {}, "retention_ci95": {}}
    for name in models:
        metrics = {}
        for metric in METRICS[task]:
            value = float(plain[name][metric][0])
            interval = scoring.whole_interval(value, drawn[name][metric], n)
            metrics[metric] = {
                "mean": interval.mean, "ci95": [interval.low, interval.high], "n": n,
            }  # fmt: skip
        summary["models"][name] = {"metrics": metrics}
    if {"student", "twin"} <= set(models):
        for metric in METRICS[task]:
            gain = scoring.whole_difference(
                float(plain["student"][metric][0]),
                float(plain["twin"][metric][0]),
                drawn["student"][metric],
                drawn["twin"][metric],
                n,
            )
            summary["gain"][metric] = {
                "mean": gain.mean, "ci95": [gain.low, gain.high], "p": gain.p, "n": n,
            }  # fmt: skip
    return summary


def _classify(model: nn.Module, pixels: np.ndarray) -> NDArray[np.float64]:
    device = next(model.parameters()).device
    training = {module: module.training for module in model.modules()}
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels).float()[None].to(device))[0]
    for module, mode in training.items():
        module.training = mode
    return logits.double().softmax(0).cpu().numpy()
