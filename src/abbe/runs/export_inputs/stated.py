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
    """By column and value: how many test images, and the means of the network handed over.

    Means are over images, of several seeds over these first.

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
        value: {"images": len(records), "metrics": _means(records, values)}
        for value, records in sorted(members.items())
    }


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
    """Means over seeds."""
    rows = [row for row in run.scores.to_pylist() if row["model"] == run.network]
    if not rows:
        raise InputError(
            f"{run.folder}: its scores by image have none of the {run.network}, so there are none "
            "by subgroup. Leave --subgroups out"
        )
    seeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["value"] is not None and row["metric"] in METRICS:
            seeds[row["metric"], row["image"]].append(row["value"])
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (metric, image), each in seeds.items():
        found[metric][image] = float(np.mean(each))
    return found
