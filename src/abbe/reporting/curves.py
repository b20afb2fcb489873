"""Training curves out of ``log.jsonl``: one series a logged value and model."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from abbe.reporting.numbers import is_number

_MOST_POINTS = 300


class Curve(NamedTuple):
    """Values over steps counted from the start of the first stage; both 1-D float64."""

    steps: np.ndarray
    values: np.ndarray


class Panel(NamedTuple):
    """One logged value of all models, such as ``Term: supervised``."""

    title: str
    curves: Mapping[str, Curve]


def panels_of(log: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """All logged values as curves by model, loss and validation first.

    Where a run was resumed, the later line of a step counts.
    """
    values: dict[str, dict[str, dict[float, float]]] = {}
    clock = _Clock()
    for entry in log:
        if "model" not in entry or not is_number(entry.get("step")):
            continue
        model, step = str(entry["model"]), clock.total_steps(entry)
        for title, value in _values_of(entry):
            if is_number(value):
                values.setdefault(title, {}).setdefault(model, {})[step] = float(value)
    order = ("Loss", "Learning rate", "Validation", "Term", "Weight")
    return [
        Panel(title, {model: _curve(points) for model, points in by_model.items()})
        for title, by_model in sorted(
            values.items(), key=lambda item: order.index(item[0].partition(":")[0])
        )
    ]


class _Clock:
    """Steps since the start of a model's training, where each stage counts from its own."""

    def __init__(self) -> None:
        self._lengths: dict[str, dict[str, float]] = {}

    def total_steps(self, entry: Mapping[str, Any]) -> float:
        stages = self._lengths.setdefault(str(entry["model"]), {})
        stage = str(entry.get("stage", ""))
        length = entry["steps"] if is_number(entry.get("steps")) else entry["step"]
        stages[stage] = max(stages.get(stage, 0), length)
        names = list(stages)
        return entry["step"] + sum(stages[name] for name in names[: names.index(stage)])


def _values_of(entry: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "Loss", entry.get("loss")
    yield "Learning rate", entry.get("learning_rate")
    for key, group in (("validation", "Validation"), ("terms", "Term"), ("weights", "Weight")):
        values = entry.get(key)
        for name, value in values.items() if isinstance(values, dict) else ():
            yield f"{group}: {name}", value


def _curve(points: Mapping[float, float]) -> Curve:
    """The points in order; where there are many, means of equally many neighbours."""
    steps = np.array(sorted(points))
    values = np.array([points[step] for step in steps])
    if len(steps) <= _MOST_POINTS:
        return Curve(steps, values)
    bins = np.array_split(np.arange(len(steps)), _MOST_POINTS)
    return Curve(
        np.array([steps[i].mean() for i in bins]), np.array([values[i].mean() for i in bins])
    )
