"""Which training images keep their labels at a share of them: each share lies in all larger ones.

Per class, images are put in an order that depends on the seed alone, and a share keeps the first of
them. Images of one group (a patient, a slide) follow each other, and groups come in the same order
in every class: as when a few patients are labelled rather than a little of everybody.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from abbe import datasets
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError


@dataclass(frozen=True)
class Level:
    """One share of the labels.

    Attributes:
        fraction: the share, in (0, 1].
        labelled: how many training images keep their labels.
        merged: smaller shares that keep the same images.
    """

    fraction: float
    labelled: int
    merged: tuple[float, ...] = ()


def choose(
    records: Sequence[Record], fraction: float, *, seed: int, by_class: bool
) -> frozenset[str]:
    """Ids of the images that keep their labels.

    Args:
        records: the labelled training images.
        fraction: the share of each class that is kept, rounded up, so that none is lost.
        seed: of the order.
        by_class: whether images have classes, to be shared out alike.
    """
    strata: dict[str, list[Record]] = {}
    for record in records:
        strata.setdefault(record.columns["class"] if by_class else "", []).append(record)
    groups = datasets.shuffled({record.unit for record in records}, seed)
    rank = {group: number for number, group in enumerate(groups)}
    kept: set[str] = set()
    for own in strata.values():
        shuffled = datasets.shuffled((record.id for record in own), seed)
        unit = {record.id: rank[record.unit] for record in own}
        # Sorting keeps the shuffled order inside a group.
        kept.update(sorted(shuffled, key=unit.__getitem__)[: share_of(fraction, len(own))])
    return frozenset(kept)


def share_of(fraction: float, count: int) -> int:
    """The share of so many images, rounded up; 0.07 of 100 are 7, whatever floats make of it."""
    return math.ceil(fraction * count - 1e-9)


def levels_of(
    records: Sequence[Record], fractions: Iterable[float], *, by_class: bool
) -> tuple[Level, ...]:
    """The shares in ascending order; of those that keep the same images, only the largest."""
    levels: list[Level] = []
    for fraction in sorted(fractions):
        count = len(choose(records, fraction, seed=0, by_class=by_class))
        if levels and levels[-1].labelled == count:  # as many means the same ones
            smaller = levels.pop()
            levels.append(Level(fraction, count, (*smaller.merged, smaller.fraction)))
        else:
            levels.append(Level(fraction, count))
    return tuple(levels)


def require_shares(fractions: Sequence[float]) -> None:
    """Refuse what are no shares of labels.

    Raises:
        ConfigError: there is none, one is not in (0, 1], or one is named twice.
    """
    if not fractions:
        raise ConfigError("fractions: name at least one, such as 0.1")
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise ConfigError(
                f"fractions: {fraction:g} is no share of the labels; shares lie above 0 and go up "
                "to 1 (5 % is 0.05)"
            )
    require_distinct(fractions, "fractions")


def require_distinct(values: Sequence[object], key: str) -> None:
    """Refuse a list that names something twice.

    Raises:
        ConfigError: it does.
    """
    twice = [value for number, value in enumerate(values) if value in values[:number]]
    if twice:
        raise ConfigError(f"{key}: {twice[0]} is named twice")


def keep(dataset: Dataset, among: Collection[str], kept: Collection[str]) -> Dataset:
    """The data set in which the images of ``among`` that are not ``kept`` have no label."""
    drop = set(among) - set(kept)
    return dataset.having(r.without_labels() if r.id in drop else r for r in dataset)


def smallest_levels(
    records: Sequence[Record], levels: Sequence[Level], *, seed: int, by_class: bool
) -> dict[str, float]:
    """The smallest share at which each image keeps its label; images that never do are left out."""
    found: dict[str, float] = {}
    for level in sorted(levels, key=lambda each: each.fraction, reverse=True):
        for id in choose(records, level.fraction, seed=seed, by_class=by_class):
            found[id] = level.fraction
    return found
