"""What a notebook shows of a run, an evaluation or a curve: its figures, and one picture."""

from collections.abc import Mapping

import numpy as np

from abbe.imaging import draw_outlines
from abbe.reporting.numbers import bounds_of, decimal, interval, percent
from abbe.summary import CurveSummary, RunSummary, Score

OUTLINE_COLOUR = (255, 220, 0)


def figures_of_run(summary: RunSummary) -> dict[str, str]:
    """The four figures that matter most, each with its interval where there is one."""
    figures: dict[str, str] = {}
    for metric, name in list(summary.metric_names.items())[:1]:
        student = summary.models.get("student")
        if student is not None and metric in student.metrics:
            figures[f"{name} of the student"] = score_in_words(student.metrics[metric])
        if metric in summary.gain:
            figures[f"gain over {summary.evidence.against}"] = score_in_words(
                summary.gain[metric], signed=True
            )
        if metric in summary.retention:
            figures["retention of the teacher"] = percent(summary.retention[metric], 1)
    figures["labelled test images"] = str(summary.data.test or 0)
    return figures


def figures_of_curve(summary: CurveSummary) -> dict[str, str]:
    """What is compared, at which shares, and what it comes to over all of them."""
    figures = {
        "compared": ", ".join(summary.compared),
        "labelled images": ", ".join(str(level.labelled) for level in summary.levels),
        "trainings": f"{summary.finished} of {summary.planned}",
    }
    for name, differences in summary.differences.items():
        if summary.metric in differences.all:
            gain = score_in_words(differences.all[summary.metric], signed=True)
            metric = summary.metric_names.get(summary.metric, summary.metric)
            figures[f"{metric}, {name} − {summary.reference}"] = gain
            break
    return figures


def score_in_words(score: Score, *, signed: bool = False) -> str:
    """``0.812 [0.790, 0.831]``."""
    return f"{decimal(score.mean, signed=signed)} {interval(bounds_of(score.ci95))}".strip()


def picture_of_example(image: np.ndarray, labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """A test image with the student's outlines.

    Args:
        image: (H, W, 3) uint8.
        labels: by model, (H, W) instances or classes.
    """
    drawn = labels.get("student")
    return image if drawn is None else draw_outlines(image, np.maximum(drawn, 0), OUTLINE_COLOUR)
