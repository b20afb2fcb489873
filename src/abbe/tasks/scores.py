"""Scores by image, and what they come to: intervals, gain and retention, the same for all tasks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from abbe import scoring
from abbe.datasets import Record
from abbe.files import atomic_path
from abbe.scoring import Measured
from abbe.summary import BASELINES, Bounds, Gain, Number, Score

EXAMPLES = 3
"""Pictures kept of each kind: best, median and worst images."""

Row = dict[str, Any]
"""image, group, model, seed (None of what is not trained here), metric, value."""

Measure = Callable[[str, Sequence[str]], list[Measured]]
"""From a metric and models to the score of each, over the images where all of them have one."""


@dataclass(frozen=True)
class Compared:
    """Scores of models with intervals.

    Attributes:
        scores: by model and metric.
        gains: student minus each baseline, by metric.
        retention: student over teacher, by metric.
        retention_ci95: 95 % intervals of it.
    """

    scores: dict[str, dict[str, Score]]
    gains: dict[str, dict[str, Gain]]
    retention: dict[str, Number]
    retention_ci95: dict[str, Bounds]


@dataclass(frozen=True)
class Scores:
    """One row an image, model, seed and metric.

    Attributes:
        rows: the scores.
        types: by model, what is told of types of objects: of its first seed, all images together.
    """

    rows: list[Row]
    types: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def _table(self) -> dict[tuple[str, str], dict[int | None, dict[str, float]]]:
        """By model and metric, then by seed, the value of each image."""
        found: dict[tuple[str, str], dict[int | None, dict[str, float]]] = {}
        for row in self.rows:
            by_seed = found.setdefault((row["model"], row["metric"]), {})
            by_seed.setdefault(row["seed"], {})[row["image"]] = row["value"]
        return found

    def values(self, model: str, metric: str) -> dict[str, float]:
        """The metric of one model's first seed, by image."""
        return next(iter(self._table.get((model, metric), {}).values()), {})

    def measured(self, metric: str, models: Sequence[str]) -> list[Measured]:
        """A metric of each of the models, over the images where all of them have a value."""
        tables = [list(self._table[model, metric].values()) for model in models]
        shared = [
            image
            for image in tables[0][0]
            if all(not math.isnan(seed.get(image, math.nan)) for table in tables for seed in table)
        ]
        units = scoring.numbered([self._groups[image] for image in shared])
        return [
            scoring.measured_means([[seed[image] for image in shared] for seed in table], units)
            for table in tables
        ]

    @cached_property
    def _groups(self) -> dict[str, str]:
        return {row["image"]: row["group"] for row in self.rows}

    @property
    def models(self) -> list[str]:
        """Models in the order they were given."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @property
    def metrics(self) -> list[str]:
        """Metrics in order."""
        return list(dict.fromkeys(row["metric"] for row in self.rows))


def rows_of(record: Record, model: str, seed: int | None, values: Mapping[str, float]) -> list[Row]:
    """A row a metric of one image, model and seed."""
    one = {"image": record.id, "group": record.unit, "model": model, "seed": seed}
    return [{**one, "metric": metric, "value": float(value)} for metric, value in values.items()]


def compare(
    models: Sequence[str], metrics: Mapping[str, scoring.Metric], measure: Measure
) -> Compared:
    """Means with intervals by model, over test images and seeds; gains; retention of the teacher.

    Args:
        models: by name: what the names in `abbe.summary.BASELINES`, 'student' and 'teacher' mean
            is known.
        metrics: what values each can have; of distances there is no retention.
        measure: gives the scores.
    """
    found = {
        model: {
            metric: measured_score(measure(metric, [model])[0], about.scale)
            for metric, about in metrics.items()
        }
        for model in models
    }
    gains: dict[str, dict[str, Gain]] = {}
    retention: dict[str, Number] = {}
    retention_ci95: dict[str, Bounds] = {}
    if "student" in models:
        for baseline in (name for name in BASELINES if name in models):
            gains[baseline] = gains_over(baseline, metrics, measure)
        for metric, about in metrics.items():
            if "teacher" in models and about.higher_is_better:
                student, teacher = measure(metric, ["student", "teacher"])
                kept = score_of(student.over(teacher).interval("positive"))
                retention[metric], retention_ci95[metric] = kept.mean, kept.ci95 or (None, None)
    return Compared(found, gains, retention, retention_ci95)


def gains_over(other: str, metrics: Iterable[str], measure: Measure) -> dict[str, Gain]:
    """The student minus another model, by metric."""
    found = {}
    for metric in metrics:
        student, against = measure(metric, ["student", other])
        found[metric] = measured_gain(student.minus(against))
    return found


def measured_score(measured: Measured, scale: scoring.Scale) -> Score:
    """A score as the summary has it, with that of each seed where there are several."""
    score = score_of(measured.interval(scale))
    if measured.by_seed.size > 1:
        score.by_seed = measured.by_seed.tolist()
    return score


def measured_gain(measured: Measured) -> Gain:
    """The same of a difference."""
    gain = gain_of(measured.difference())
    if measured.by_seed.size > 1:
        gain.by_seed = measured.by_seed.tolist()
    return gain


def score_of(interval: scoring.Interval) -> Score:
    """An interval as the summary has it."""
    return Score(mean=interval.mean, ci95=(interval.low, interval.high), n=interval.n)


def gain_of(difference: scoring.Difference) -> Gain:
    """A difference as the summary has it."""
    ci95 = (difference.low, difference.high)
    return Gain(mean=difference.mean, ci95=ci95, p=difference.p, n=difference.n)


def save_scores(scores: Scores, path: Path) -> None:
    """Write scores.parquet: image, group, model, seed, metric, value."""
    import pyarrow
    from pyarrow import parquet

    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(scores.rows), temporary)


def ranking_of(scores: Scores, model: str = "student") -> dict[str, float]:
    """By test image, a model's Dice, or else its first metric."""
    metric = "dice" if "dice" in scores.metrics else scores.metrics[0]
    return scores.values(model, metric)


def save_examples(
    ranking: Mapping[str, float], folder: Path, example: Callable[[str], dict[str, np.ndarray]]
) -> None:
    """Keep the best, median and worst test images.

    The very best comes first among the best, the very worst first among the worst.

    Args:
        ranking: by image; the more, the better.
        folder: where the files go, made if it is not there.
        example: the arrays to keep of an image, by its id: the picture and every outline.
    """
    order = sorted(ranking.items(), key=lambda item: -item[1])
    middle = max(0, len(order) // 2 - EXAMPLES // 2)
    chosen = {
        "best": order[:EXAMPLES],
        "median": order[middle : middle + EXAMPLES],
        "worst": order[: -EXAMPLES - 1 : -1],
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
