"""Our numbers for the cells of a table, from the summaries of finished runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from abbe.reproducing.table import Cell, Column, Source
from abbe.summary import Model, RunSummary


@dataclass(frozen=True)
class Number:
    """A number of ours, in the column's unit.

    Attributes:
        mean: over test images, and over seeds where there are several.
        by_seed: of each seed, where there are several.
    """

    mean: float
    by_seed: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None where there is one."""
        return stdev(self.by_seed) if len(self.by_seed) > 1 else None


def number_of(cell: Cell, column: Column, summaries: Mapping[str, RunSummary]) -> Number | None:
    """What a cell's sources come to; None where one is missing.

    Args:
        cell: of the table.
        column: its column.
        summaries: of the finished runs, by item.

    >>> from abbe.summary import Score
    >>> run = RunSummary(models={"student": Model(metrics={"dice": Score(mean=0.5)})})
    >>> source = Source("a", "student", "dice")
    >>> number_of(Cell(("x",), "dice", (source,)), Column("dice", "Dice", scale=100), {"a": run})
    Number(mean=50.0, by_seed=())
    """
    found = [_read(source, summaries) for source in cell.sources]
    there = [each for each in found if each is not None]
    if not there or (cell.how != "first" and len(there) < len(found)):
        return None
    number = _joined(cell, there)
    if number is None:
        return None
    seeds = tuple(column.scale * value for value in number.by_seed)
    return Number(column.scale * number.mean, seeds)


def _joined(cell: Cell, numbers: Sequence[Number]) -> Number | None:
    if cell.how == "first":
        return numbers[0]
    if cell.how == "mean":
        means = [number.mean for number in numbers]
        return Number(fmean(means), _by_seed(numbers, fmean))
    first, second = numbers
    if cell.how == "difference":
        minus = _by_seed(numbers, lambda values: values[0] - values[1])
        return Number(first.mean - second.mean, minus)
    if not second.mean:
        return None
    if not second.by_seed:  # a teacher, or a count, is the same for every seed
        return Number(first.mean / second.mean, tuple(v / second.mean for v in first.by_seed))
    if not all(second.by_seed):
        return None
    return Number(first.mean / second.mean, _by_seed(numbers, lambda v: v[0] / v[1]))


def _by_seed(
    numbers: Sequence[Number], join: Callable[[Sequence[float]], float]
) -> tuple[float, ...]:
    if len({len(number.by_seed) for number in numbers}) != 1:
        return ()
    return tuple(join(values) for values in zip(*(each.by_seed for each in numbers), strict=True))


def _read(source: Source, summaries: Mapping[str, RunSummary]) -> Number | None:
    summary = summaries.get(source.item)
    model = None if summary is None else summary.models.get(source.model)
    if model is None:
        return None
    if source.quantity in Model.model_fields:
        value = getattr(model, source.quantity)
        return None if value is None else Number(float(value))
    score = model.metrics.get(source.quantity)
    if score is None or score.mean is None:
        return None
    seeds = [value for value in score.by_seed if value is not None]
    return Number(score.mean, tuple(seeds) if len(seeds) == len(score.by_seed) else ())
