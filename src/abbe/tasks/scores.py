"""Scores of several models on the same test images, with intervals, gain and retention."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from torch import nn

from abbe import scoring, students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging import composite, normalise, percentile_limits
from abbe.tasks.models import Model, Thresholds, answer, choose_thresholds

EXAMPLES = 3
"""Pictures kept of each kind: best, median and worst images."""


@dataclass(frozen=True)
class Scores:
    """One row an image, model and metric, and the thresholds behind them."""

    rows: list[dict[str, Any]]
    thresholds: dict[str, Thresholds]

    def values(self, model: str, metric: str) -> dict[str, float]:
        """The metric of one model, by image."""
        return {
            row["image"]: row["value"]
            for row in self.rows
            if row["model"] == model and row["metric"] == metric
        }

    @property
    def models(self) -> list[str]:
        """Models in the order they were given."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @property
    def metrics(self) -> list[str]:
        """Metrics in order."""
        return list(dict.fromkeys(row["metric"] for row in self.rows))


def score(
    models: Mapping[str, Model],
    dataset: Dataset,
    *,
    thresholds: Mapping[str, Thresholds] | None = None,
    tolerance: float = 2.0,
    minimum_area: int = 16,
    progress: bool = True,
) -> Scores:
    """Score every model on the labelled test images, with thresholds chosen on other images.

    Args:
        models: by name.
        dataset: with splits.
        thresholds: of models whose thresholds were chosen before, on other data.
        tolerance: of boundary F1 and NSD, in px.
        minimum_area: objects below this many px are dropped.
        progress: show a progress bar.

    Raises:
        InputError: no test image has a label.
    """
    tests = [record for record in dataset.split("test") if record.label is not None]
    if not tests:
        raise InputError(
            f"data set '{dataset.name}' has no labelled test image, so nothing can be scored: "
            "give labels to some, or set data.split and data.fractions so that test is not empty"
        )
    given = thresholds or {}
    thresholds = {
        name: given.get(name) or choose_thresholds(model, dataset) for name, model in models.items()
    }
    rows = []
    for record in track(tests, "scoring", disable=not progress):
        truth = _truth(record)
        for name, model in models.items():
            if model.has(record):
                values = score_image(
                    model, record, truth, thresholds[name], tolerance, minimum_area
                )
                rows += [
                    {
                        "image": record.id,
                        "group": record.unit,
                        "model": name,
                        "metric": metric,
                        "value": float(value),
                    }
                    for metric, value in values.items()
                ]
    return Scores(rows, thresholds)


def score_image(
    model: Model,
    record: Record,
    truth: np.ndarray,
    thresholds: Thresholds,
    tolerance: float,
    minimum_area: int,
) -> dict[str, float]:
    """All metrics of one model on one image; unknown pixels of the label do not count."""
    maps = answer(model, record, truth)
    objects = maps.objects(thresholds, minimum_area)
    return scoring.image_scores(maps.mask(thresholds), objects, truth, tolerance=tolerance)


def summarise(
    scores: Scores, resamples: int, names: Mapping[str, scoring.Metric] = scoring.METRICS
) -> dict[str, Any]:
    """Means with intervals by model; gain over the twin; retention of the teacher."""
    groups = {row["image"]: row["group"] for row in scores.rows}
    models: dict[str, Any] = {}
    for model in scores.models:
        metrics = {}
        for metric in scores.metrics:
            values = scores.values(model, metric)
            interval = scoring.bootstrap_mean(
                list(values.values()), [groups[id] for id in values], resamples=resamples
            )
            metrics[metric] = {
                "mean": interval.mean,
                "ci95": [interval.low, interval.high],
                "n": interval.n,
            }
        models[model] = {"metrics": metrics, "thresholds": asdict(scores.thresholds[model])}
    summary: dict[str, Any] = {
        "models": models,
        "gain": {},
        "retention": {},
        "retention_ci95": {},
    }
    for metric in scores.metrics:
        if {"student", "twin"} <= set(models):
            student, twin, units = _paired(scores, metric, "student", "twin", groups)
            gain = scoring.paired_bootstrap(student, twin, units, resamples=resamples)
            summary["gain"][metric] = {
                "mean": gain.mean,
                "ci95": [gain.low, gain.high],
                "p": gain.p,
                "n": gain.n,
            }
        if {"student", "teacher"} <= set(models) and names[metric].higher_is_better:
            student, teacher, units = _paired(scores, metric, "student", "teacher", groups)
            kept = scoring.ratio_bootstrap(student, teacher, units, resamples=resamples)
            summary["retention"][metric] = kept.mean
            summary["retention_ci95"][metric] = [kept.low, kept.high]
    return summary


def _paired(
    scores: Scores, metric: str, first: str, second: str, groups: Mapping[str, str]
) -> tuple[list[float], list[float], list[str]]:
    one, other = scores.values(first, metric), scores.values(second, metric)
    shared = [id for id in one if id in other]
    return [one[id] for id in shared], [other[id] for id in shared], [groups[id] for id in shared]


def save_scores(scores: Scores, path: Path) -> None:
    """Write scores.parquet: image, group, model, metric, value."""
    import pyarrow
    from pyarrow import parquet

    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(scores.rows), temporary)


def save_examples(
    scores: Scores,
    folder: Path,
    example: Callable[[str], dict[str, np.ndarray]],
    *,
    by: str = "student",
) -> None:
    """Keep the best, median and worst test images by one model's Dice.

    Args:
        scores: of the test images.
        folder: where the files go, made if it is not there.
        example: the arrays to keep of an image, by its id: the picture and every outline.
        by: the model whose Dice counts.
    """
    order = sorted(scores.values(by, "dice").items(), key=lambda item: -item[1])
    middle = max(0, len(order) // 2 - EXAMPLES // 2)
    chosen = {
        "best": order[:EXAMPLES],
        "median": order[middle : middle + EXAMPLES],
        "worst": order[-EXAMPLES:],
    }
    seen: set[str] = set()
    folder.mkdir(exist_ok=True)
    for kind, images in chosen.items():
        for rank, (id, _) in enumerate(images):
            if id in seen:
                continue
            seen.add(id)
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in id)
            path = folder / f"{rank}-{kind}-{name}.npz"
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **example(id), allow_pickle=False)


def outlined(
    models: Mapping[str, Model], record: Record, scores: Scores, minimum_area: int
) -> dict[str, np.ndarray]:
    """An image with its true objects and those of every model that answers it."""
    image = record.image.open()
    pixels = image.read()
    arrays = {
        "id": np.array(record.id),
        "image": composite(normalise(pixels, percentile_limits(pixels)), image.channels),
        "truth": _truth(record),
    }
    for name, model in models.items():
        if model.has(record):
            arrays[name] = model.predict(record).objects(scores.thresholds[name], minimum_area)
    return arrays


def _truth(record: Record) -> np.ndarray:
    assert record.label is not None  # only labelled records are scored
    return record.label.read()


def validator(
    images: Sequence[Prepared], sees: Sequence[str], outputs: Sequence[str]
) -> Callable[[nn.Module], dict[str, float]]:
    """What a network scores on decoded validation images: mean pixel scores at one half."""
    labelled = [image for image in images if image.label is not None]
    channels = [labelled[0].channels.index(name) for name in sees] if labelled else []
    foreground = list(outputs).index("foreground")

    def validate(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, students.UNet)
        scores = []
        for image in labelled:
            assert image.label is not None
            maps = students.predict(network, image.whole()[channels])
            scores.append(
                scoring.pixel_scores(maps[foreground] >= 0.5, image.label > 0, image.label >= 0)
            )
        return {key: float(np.nanmean([each[key] for each in scores])) for key in scores[0]}

    return validate
