"""Runs that leave a part out in turn, taken together: every image is tested once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import abbe
from abbe import scoring
from abbe.imaging import read_labels
from abbe.reporting.tables import METRICS
from abbe.summary import Gain
from abbe.tasks.scores import Compared, Row, Scores, compare, measured_gain

PLAIN = "plain student"
STAIN = "haematoxylin alone"
"""What boxes for H&E were made from, scored as if it were a network."""


@dataclass(frozen=True)
class Folds:
    """The finished ones of a set's folds.

    Attributes:
        folders: of their runs.
        rows: scores of all; each training is its fold's own.
        best: the baseline that is best on validation images, mean over folds; the only one where
            no image chooses; empty where there is none.
        baselines: all of them.
    """

    folders: Sequence[Path]
    rows: Sequence[Row]
    best: str
    baselines: Sequence[str]

    def compared(self, metrics: Iterable[str], by: str = "fold") -> Compared:
        """Scores, gains and retention with intervals over folds, or over their ``group``."""
        rows = [{**row, "group": row[by]} for row in self.rows]
        scores = Scores(rows)
        return compare(scores.models, {key: METRICS[key] for key in metrics}, scores.measured)

    def minus(self, other: str, metrics: Iterable[str], by: str = "fold") -> dict[str, Gain]:
        """The student minus a model that is no baseline of the evidence."""
        scores = Scores([{**row, "group": row[by]} for row in self.rows])
        found = {}
        for metric in metrics:
            student, compared = scores.measured(metric, ["student", other])
            found[metric] = measured_gain(student.minus(compared))
        return found


def gathered(folders: Sequence[Path]) -> Folds:
    """Runs of one seed each, on test images that no other of them has."""
    rows: list[Row] = []
    for folder in folders:
        for row in abbe.open_run(folder).scores.to_pylist():
            group = row["group"] or row["image"]
            rows.append({**row, "group": group, "seed": None, "fold": folder.name})
    refuse_twice(rows)
    return Folds(folders, rows, *baselines_of(folders))


def baselines_of(folders: Sequence[Path]) -> tuple[str, list[str]]:
    """Which baseline is best on validation images, mean over runs, and all of them."""
    validation: dict[str, list[float]] = {}
    baselines: dict[str, None] = {}
    for folder in folders:
        evidence = abbe.open_run(folder).summary.evidence
        baselines |= dict.fromkeys(evidence.baselines)
        for name in evidence.baselines:
            chosen = [value for value in evidence.validation.get(name, []) if value is not None]
            validation.setdefault(name, []).extend(chosen)
    means = {name: fmean(values) for name, values in validation.items() if values}
    best = max(means, key=lambda name: means[name]) if means else next(iter(baselines), "")
    return best, list(baselines)


def taught_otherwise(plain: Folds, other: Folds) -> Folds:
    """The other folds' students beside the plain folds' models; their students are ``PLAIN``."""
    rows = [
        {**row, "model": PLAIN if row["model"] == "student" else row["model"]} for row in plain.rows
    ]
    rows += [
        {**row, "fold": matching(row["fold"], plain.folders)}
        for row in other.rows
        if row["model"] == "student"
    ]
    return Folds(other.folders, rows, plain.best, plain.baselines)


def matching(fold: str, folders: Iterable[Path]) -> str:
    """The name of the plain run of the same fold."""
    (name,) = (each.name for each in folders if each.name[-2:] == fold[-2:])
    return name


def refuse_twice(rows: Sequence[Row]) -> None:
    """An image that two folds test would count twice."""
    folds: dict[str, str] = {}
    for row in rows:
        if folds.setdefault(row["image"], row["fold"]) != row["fold"]:
            raise SystemExit(f"{row['image']} is tested by {folds[row['image']]} and {row['fold']}")


def with_stain(folds: Folds, folder: Path) -> Folds:
    """The same with what the stain alone shows, scored on the same pictures."""
    tested = {row["image"]: row for row in folds.rows if row["model"] == "student"}
    rows = list(folds.rows)
    for image, row in tested.items():
        scores = scores_of(folder / "haematoxylin" / f"{image}.tif", folder / "labels")
        rows += [{**row, "model": STAIN, "metric": key, "value": scores[key]} for key in scores]
    return Folds(folds.folders, rows, folds.best, folds.baselines)


def scores_of(found: Path, labels: Path) -> dict[str, float]:
    """What a program's objects in a file score against the label of the same name."""
    (label,) = labels.glob(f"{found.stem}.*")
    objects = read_labels(found)
    return scoring.image_scores(objects > 0, objects, read_labels(label))
