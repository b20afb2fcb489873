"""What the page says class by class, of images or of pixels, from ``summary.json`` and scores."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from abbe import scoring
from abbe.in_words import counted
from abbe.reporting.colours import class_colours, colours_of
from abbe.reporting.figures import rates
from abbe.reporting.numbers import decimal, percent
from abbe.reporting.run_folder import Run
from abbe.scoring.calibration import reliability, roc
from abbe.summary import Model, RunSummary, TypeScore


class ClassRow(NamedTuple):
    """A class: how many test images are of it, and how well the student tells it from others."""

    name: str
    tested: int
    precision: str
    recall: str
    f1: str


class RegionRow(NamedTuple):
    """A class of pixels: how many test pixels are of it, their share, and the student's scores."""

    name: str
    pixels: str
    share: str
    iou: str
    dice: str
    precision: str
    recall: str


class ConfusionCell(NamedTuple):
    """How much of a class got this answer: ``text``, and the ``share`` of the class, in [0, 1]."""

    text: str
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


class TypeRow(NamedTuple):
    """A type of one model: how many true objects, how many were found, and its scores."""

    model: str
    name: str
    objects: int
    found: int
    extra: int
    pq: str
    f1: str


def class_rows(summary: RunSummary) -> list[ClassRow]:
    """Precision, recall and F1 of the student by class; empty where no confusion was recorded."""
    table = _confusion(summary)
    if table is None or of_pixels(summary):
        return []
    scores = scoring.class_scores(table)
    return [
        ClassRow(name, tested, *(decimal(value) for value in values))
        for name, tested, *values in zip(
            summary.classes, table.sum(1).tolist(), *(each.tolist() for each in scores),
            strict=True,
        )
    ]  # fmt: skip


def of_pixels(summary: RunSummary) -> bool:
    """Whether classes are those of pixels."""
    return summary.models.get("student", Model()).pixel_confusion is not None


def region_rows(summary: RunSummary) -> list[RegionRow]:
    """Scores of the student by class, over all pixels; empty where classes are of images."""
    table = _confusion(summary)
    if table is None or not of_pixels(summary):
        return []
    precision, recall, dice = scoring.class_scores(table)
    iou = dice / (2 - dice)
    return [
        RegionRow(
            name,
            f"{pixels:,}".replace(",", "\u202f"),
            percent(pixels / max(1, int(table.sum())), 1),
            *(decimal(float(each[number])) for each in (iou, dice, precision, recall)),
        )
        for number, (name, pixels) in enumerate(
            zip(summary.classes, table.sum(1).tolist(), strict=True)
        )
    ]


def confusion_rows(summary: RunSummary) -> list[ConfusionRow]:
    """The student's confusion matrix, a row each true class; empty where none was recorded."""
    table = _confusion(summary)
    if table is None:
        return []
    shares, shown = table / np.maximum(1, table.sum(1, keepdims=True)), of_pixels(summary)
    return [
        ConfusionRow(
            name,
            tuple(
                ConfusionCell(
                    percent(float(shares[row, column]), 1) if shown else str(table[row, column]),
                    float(shares[row, column]),
                    row == column,
                )
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


def type_rows(summary: RunSummary) -> list[TypeRow]:
    """Of every model that tells types its scores by type, the student first."""
    names = sorted(summary.models, key=lambda name: name != "student")
    return [
        _type_row(model, name, scores)
        for model in names
        for name, scores in summary.models[model].types.items()
    ]


def type_confusion(summary: RunSummary) -> list[ConfusionRow]:
    """Which types the student mixes up, a row each true type; empty where none was recorded."""
    student = summary.models.get("student", Model())
    if not student.type_confusion:
        return []
    table, names = np.array(student.type_confusion), list(student.types)
    shares = table / np.maximum(1, table.sum(1, keepdims=True))
    return [
        ConfusionRow(
            name,
            tuple(
                ConfusionCell(
                    f"{table[row, column]} ({percent(float(shares[row, column]))})",
                    float(shares[row, column]),
                    row == column,
                )
                for column in range(len(names))
            ),
        )
        for row, name in enumerate(names)
    ]


def probability_figures(run: Run) -> list[tuple[str, Markup]]:
    """ROC by class, how reliable probabilities are, and what a temperature does to that."""
    return _answers_of_images(run) + _calibration(run.summary)


def _calibration(summary: RunSummary) -> list[tuple[str, Markup]]:
    """Reliability of the student's probabilities as they are and with its temperature, by map."""
    found = []
    for name, known in summary.calibration.get("student", {}).items():
        curves = {"as it answers": known.before, "with its temperature": known.after}
        drawn = rates(
            {
                each: (np.array(curve.confidence), np.array(curve.right))
                for each, curve in curves.items()
            },
            dict(zip(curves, ("#8a8a8a", "#1f6f8b"), strict=True)),
            axes=("highest probability", "share that is right"),
            label="Reliability before and after calibration",
        )
        what = "" if name == "classes" else f" ({name}, pixels)"
        found.append(
            (
                f"The student{what} on test images, as it answers and with temperature "
                f"{decimal(known.temperature, 2)}, fitted on "
                f"{counted(known.images, 'validation image')}. "
                f"Expected calibration error: {decimal(known.error_before)} and "
                f"{decimal(known.error_after)}. A package tells probabilities with it.",
                drawn,
            )
        )
    return found


def _answers_of_images(run: Run) -> list[tuple[str, Markup]]:
    known = run.predictions.get("student")
    if known is None:
        return []
    names = [*run.summary.classes]
    told = names[-1:] if len(names) == 2 else names  # of two classes, one says it all
    curves = {
        name: roc(known.truth == names.index(name), known.probabilities[:, names.index(name)])
        for name in told
    }
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve).all()}
    models = [name for name in ("student", run.summary.evidence.against) if name in run.predictions]
    found = {name: reliability(*run.predictions[name]) for name in models}
    errors = ", ".join(f"{name} {decimal(each.error)}" for name, each in found.items())
    seed = f" (seed {run.summary.seed})" if len(run.summary.evidence.seeds) > 1 else ""
    drawn = rates(
        {name: (each.confidence, each.accuracy) for name, each in found.items()},
        colours_of(models),
        axes=("highest probability", "share that is right"),
        label="Reliability of the probabilities",
    )
    figures = [
        (
            "Where probabilities mean what they say, the line is on the diagonal. Expected "
            f"calibration error: {errors}{seed}.",
            drawn,
        )
    ]
    if curves:
        drawn = rates(
            curves,
            class_colours(names),
            axes=("share of the others answered so", "share of the class answered so"),
            label="ROC of the student",
        )
        figures.insert(0, (f"ROC of the student, each class against the rest{seed}.", drawn))
    return figures


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
    several = len(run.summary.evidence.seeds) > 1
    where = f" (Networks of seed {run.summary.seed}.)" if several else ""
    if (run.path / "predictions.parquet").exists():
        where += " The probability of each class, image by image, is in predictions.parquet."
    if not baseline:
        tested = counted(len(student), "test image")
        return f"The student is right on {_right(student)} of {tested}.{where}"
    both = sum(student[image] == baseline.get(image) == 1 for image in student)
    alone, other = _right(student) - both, _right(baseline) - both
    neither = len(student) - both - alone - other
    return (
        f"Of {counted(len(student), 'test image')} student and {name} are both right on {both}, "
        f"the student alone on {alone}, {name} alone on {other}, and neither on {neither}.{where}"
    )


def _right(answers: Mapping[str, float]) -> int:
    return sum(value == 1 for value in answers.values())


def _confusion(summary: RunSummary) -> np.ndarray | None:
    student = summary.models.get("student", Model())
    table = student.confusion or student.pixel_confusion
    return np.array(table) if table else None


def _counts(summary: RunSummary) -> Mapping[str, Mapping[str, int]]:
    return summary.data.class_counts or {}


def _type_row(model: str, name: str, scores: TypeScore) -> TypeRow:
    values = decimal(scores.pq), decimal(scores.f1)
    return TypeRow(model, name, scores.objects, scores.found, scores.extra, *values)
