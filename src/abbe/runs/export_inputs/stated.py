"""What the user states for a package's card, and scores by subgroup of the test images."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from abbe.datasets import Record
from abbe.errors import ConfigError, InputError
from abbe.exporting.cards.model_card import METRICS
from abbe.exporting.request import ExportRequest
from abbe.runs.folder import Run
from abbe.scoring import mean_interval

MOST_VALUES = 30
"""Of a column: more are no subgroups, but names of images or patients."""


def stated(request: ExportRequest) -> dict[str, Any]:
    """What is said of use and data, without what is not."""
    told = {
        "intended_use": request.intended_use,
        "not_tested_on": list(request.not_tested_on),
        "data_version": request.data_version,
        "teacher_version": request.teacher_version,
    }
    return {key: value for key, value in told.items() if value}


def scores_by_subgroup(
    run: Run, tests: Sequence[Record], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By column and value: how many test images have a score, and the handed over network's means.

    Other seeds' networks are not in them: the package is the first seed's. Of slides that were
    scored whole, a slide counts as an image.

    Args:
        run: The run, with scores by image.
        tests: Its test images.
        columns: Of the data set's table.

    Raises:
        ConfigError: A column is not there, or has too many values.
        InputError: The run has no scores by image.
    """
    if not columns:
        return {}
    values = _by_metric_and_image(run)
    return {column: _of_column(column, tests, values) for column in columns}


def _of_column(
    column: str, tests: Sequence[Record], values: dict[str, dict[str, float]]
) -> dict[str, Any]:
    known = {name for record in tests for name in record.columns}
    if column not in known:
        raise ConfigError(
            f"--subgroups {column}: the test images' table has no such column; it has "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    members: dict[str, list[Record]] = defaultdict(list)
    for record in tests:
        members[record.columns.get(column, "")].append(record)
    if len(members) > MOST_VALUES:
        raise ConfigError(
            f"--subgroups {column}: {len(members)} values; a column that sorts test images has at "
            f"most {MOST_VALUES}"
        )
    return {
        value: {"images": _scored(records, values), "metrics": _means(records, values)}
        for value, records in sorted(members.items())
    }


def _scored(records: Sequence[Record], values: dict[str, dict[str, float]]) -> int:
    return sum(any(record.id in by_image for by_image in values.values()) for record in records)


def _means(records: Sequence[Record], values: dict[str, dict[str, float]]) -> dict[str, Any]:
    found = {}
    for metric, by_image in values.items():
        scored = [record for record in records if np.isfinite(by_image.get(record.id, np.nan))]
        if not scored:
            continue
        groups = [record.unit for record in scored]
        told = mean_interval([by_image[record.id] for record in scored], groups)
        ends = [end if np.isfinite(end) else None for end in (told.low, told.high)]
        found[metric] = {"mean": told.mean, "ci95": ends, "n": told.n}
    return found


def _by_metric_and_image(run: Run) -> dict[str, dict[str, float]]:
    """Of the network that is handed over, which is the first seed's."""
    rows = [
        row
        for row in run.scores.to_pylist()
        if row["model"] == run.network and row["seed"] in (None, run.summary.seed)
    ]
    if not rows:
        raise InputError(
            f"{run.folder}: its scores by image have none of the {run.network}, so there are none "
            "by subgroup. Leave --subgroups out"
        )
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["value"] is not None and row["metric"] in METRICS:
            found[row["metric"]][row["image"]] = row["value"]
    return found
