"""What the page says of a classification class by class, from ``summary.json`` and the scores."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from abbe import scoring
from abbe.reporting.numbers import decimal
from abbe.reporting.run_folder import Run
from abbe.summary import Model, RunSummary


class ClassRow(NamedTuple):
    """A class: how many test images are of it, and how well the student tells it from others."""

    name: str
    tested: int
    precision: str
    recall: str
    f1: str


class ConfusionCell(NamedTuple):
    """``images`` of a class that got this answer; their ``share`` of the class, in [0, 1]."""

    images: int
    share: float
    right: bool


class ConfusionRow(NamedTuple):
    """The answers to the images of one class, in the order of the classes."""

    name: str
    cells: tuple[ConfusionCell, ...]


class SplitRow(NamedTuple):
    """A class and its images by split, in the order of `splits_of`."""

    name: str
    counts: tuple[int, ...]


def class_rows(summary: RunSummary) -> list[ClassRow]:
    """Precision, recall and F1 of the student by class; empty where no confusion was recorded."""
    table = _confusion(summary)
    if table is None:
        return []
    scores = scoring.class_scores(table)
    return [
        ClassRow(name, tested, *(decimal(value) for value in values))
        for name, tested, *values in zip(
            summary.classes, table.sum(1).tolist(), *(each.tolist() for each in scores),
            strict=True,
        )
    ]  # fmt: skip


def confusion_rows(summary: RunSummary) -> list[ConfusionRow]:
    """The student's confusion matrix, a row each true class; empty where none was recorded."""
    table = _confusion(summary)
    if table is None:
        return []
    shares = table / np.maximum(1, table.sum(1, keepdims=True))
    return [
        ConfusionRow(
            name,
            tuple(
                ConfusionCell(int(table[row, column]), float(shares[row, column]), row == column)
                for column in range(len(table))
            ),
        )
        for row, name in enumerate(summary.classes)
    ]


def splits_of(summary: RunSummary) -> list[str]:
    """The splits whose classes were counted and that have any image."""
    return [name for name, counts in _counts(summary).items() if any(counts.values())]


def split_rows(summary: RunSummary) -> list[SplitRow]:
    """How many labelled images of each class there are, by split."""
    counts, splits = _counts(summary), splits_of(summary)
    names = dict.fromkeys(name for split in splits for name in counts[split])
    return [SplitRow(name, tuple(counts[split][name] for split in splits)) for name in names]


def agreement(run: Run) -> str:
    """On how many images student and baseline are right; empty without answers of whole images.

    Only a classification has this: an image's answer is right or wrong, which leaves nothing to
    plot image by image.
    """
    right = run.scores.get("accuracy", {})
    name = run.summary.evidence.against
    student, baseline = right.get("student", {}), right.get(name, {})
    if not student:
        return ""
    where = ""
    if (run.path / "predictions.parquet").exists():
        where = " The probability of each class, image by image, is in predictions.parquet."
    if not baseline:
        return f"The student is right on {_right(student)} of {len(student)} test images.{where}"
    both = sum(student[image] == baseline.get(image) == 1 for image in student)
    alone, other = _right(student) - both, _right(baseline) - both
    neither = len(student) - both - alone - other
    return (
        f"Of {len(student)} test images student and {name} are both right on {both}, the student "
        f"alone on {alone}, {name} alone on {other}, and neither on {neither}.{where}"
    )


def _right(answers: Mapping[str, float]) -> int:
    return sum(value == 1 for value in answers.values())


def _confusion(summary: RunSummary) -> np.ndarray | None:
    table = summary.models.get("student", Model()).confusion
    return np.array(table) if table else None


def _counts(summary: RunSummary) -> Mapping[str, Mapping[str, int]]:
    return summary.data.class_counts or {}
