"""Scores by image, and what they come to: intervals, gain and retention, the same for all tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abbe import scoring
from abbe.files import atomic_path
from abbe.summary import Bounds, Gain, Number, Score

EXAMPLES = 3
"""Pictures kept of each kind: best, median and worst images."""

Row = dict[str, Any]
"""image, group, model, metric, value."""


@dataclass(frozen=True)
class Compared:
    """Scores of models with intervals.

    Attributes:
        scores: by model and metric.
        gain: student minus twin, by metric.
        retention: student over teacher, by metric.
        retention_ci95: 95 % intervals of it.
    """

    scores: dict[str, dict[str, Score]]
    gain: dict[str, Gain]
    retention: dict[str, Number]
    retention_ci95: dict[str, Bounds]


@dataclass(frozen=True)
class Scores:
    """One row an image, model and metric."""

    rows: list[Row]

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


def compare(scores: Scores, metrics: Mapping[str, scoring.Metric]) -> Compared:
    """Means with intervals by model; gain over the twin; retention of the teacher.

    Args:
        scores: of the test images.
        metrics: what values each can have; of distances there is no retention.
    """
    groups = {row["image"]: row["group"] for row in scores.rows}
    found: dict[str, dict[str, Score]] = {}
    for model in scores.models:
        found[model] = {}
        for metric in scores.metrics:
            values = scores.values(model, metric)
            units = [groups[id] for id in values]
            interval = scoring.mean_interval(
                list(values.values()), units, scale=metrics[metric].scale
            )
            found[model][metric] = score_of(interval)
    gain: dict[str, Gain] = {}
    retention: dict[str, Number] = {}
    retention_ci95: dict[str, Bounds] = {}
    for metric in scores.metrics:
        if {"student", "twin"} <= set(found):
            paired = _paired(scores, metric, "student", "twin", groups)
            gain[metric] = gain_of(scoring.paired_difference(*paired))
        if {"student", "teacher"} <= set(found) and metrics[metric].higher_is_better:
            paired = _paired(scores, metric, "student", "teacher", groups)
            kept = score_of(scoring.ratio_interval(*paired))
            retention[metric], retention_ci95[metric] = kept.mean, kept.ci95 or (None, None)
    return Compared(found, gain, retention, retention_ci95)


def score_of(interval: scoring.Interval) -> Score:
    """An interval as the summary has it."""
    return Score(mean=interval.mean, ci95=(interval.low, interval.high), n=interval.n)


def gain_of(difference: scoring.Difference) -> Gain:
    """A difference as the summary has it."""
    ci95 = (difference.low, difference.high)
    return Gain(mean=difference.mean, ci95=ci95, p=difference.p, n=difference.n)


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
    """Keep the best, median and worst test images by one model's Dice, or else its first metric.

    Args:
        scores: of the test images.
        folder: where the files go, made if it is not there.
        example: the arrays to keep of an image, by its id: the picture and every outline.
        by: the model whose score counts.
    """
    metric = "dice" if "dice" in scores.metrics else scores.metrics[0]
    order = sorted(scores.values(by, metric).items(), key=lambda item: -item[1])
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
