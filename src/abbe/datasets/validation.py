"""Which validation images choose: a few of many, spread over groups and classes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.splits import shuffled
from abbe.errors import InputError


def first_spread(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """The first ``count`` records of a drawn order, as `spread` has it, in the order given.

    More contain fewer, and where there are no more than ``count``, all are taken.

    Args:
        records: to choose from.
        count: how many.
        seed: of the order.
    """
    if len(records) <= count:
        return list(records)
    chosen = {record.id for record in spread(records, seed)[:count]}
    return [record for record in records if record.id in chosen]


def spread(records: Iterable[Record], seed: int = 0) -> list[Record]:
    """The records in an order whose every beginning is spread evenly over groups.

    Each group in turn gives an image, so that a group of a thousand counts no more than one of ten.
    Where images have classes, every class comes first with one image, and then
    each keeps its share. The order depends on the seed, the ids and the groups alone.
    """
    by_class: defaultdict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    known = {record.id: record for record in records}
    for id in shuffled(known, seed):
        record = known[id]
        by_class[record.columns.get("class", "")][record.unit].append(record)
    placed: list[tuple[float, int, Record]] = []
    for groups in by_class.values():
        turns = zip_longest(*(groups[name] for name in shuffled(groups, seed)))
        own = [record for turn in turns for record in turn if record is not None]
        placed += [(place / len(own), len(own), record) for place, record in enumerate(own)]
    return [record for *_, record in sorted(placed, key=lambda each: each[:2])]


def choose_validated(
    dataset: Dataset, amount: int | float | str, seed: int = 0, *, by_class: bool = False
) -> Dataset:
    """The data set in which only some validation images keep their label, or their class.

    They are the first of the order of `spread`; the others stay as images without a label.

    Args:
        dataset: with splits.
        amount: "all", a count (int) or a share (float in [0, 1]) of the labelled validation images;
            a share above 0 keeps at least one.
        seed: of the choice.
        by_class: a class is what is known of an image, and not a label.

    Raises:
        InputError: more is asked for than there is.
    """
    if isinstance(amount, str):
        return dataset

    def known(record: Record) -> bool:
        if by_class:
            return bool(record.columns.get("class"))
        return record.annotated

    labelled = [record for record in dataset.split("val") if known(record)]
    count = amount
    if isinstance(amount, float):
        count = max(round(amount * len(labelled)), int(amount > 0 and bool(labelled)))
    if count > len(labelled):
        raise InputError(
            f"data.validation_labels: {count} labelled validation images were asked for, but data "
            f"set '{dataset.name}' has {len(labelled)}"
        )
    kept = {record.id for record in spread(labelled, seed)[: int(count)]}
    drop = {record.id for record in labelled} - kept
    return dataset.having(
        record
        if record.id not in drop
        else record.without_labels()
        if by_class
        else replace(record, label=None, types=None)
        for record in dataset
    )


def first_of_classes(numbers: NDArray[np.integer], count: int, seed: int = 0) -> NDArray[np.intp]:
    """Of many images the positions of ``count``, ascending, of each class its share.

    Every class has one before any has two, as in `spread`; here by numbers alone, for sets whose
    images are too many to be listed one by one.

    Args:
        numbers: (N,) class of each image.
        count: how many to take; all where there are no more.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(numbers))
    drawn = numbers[order]
    by_class = np.argsort(drawn, kind="stable")
    sizes = np.bincount(drawn)
    place = np.empty(len(numbers))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place[by_class] = (np.arange(len(numbers)) - starts[drawn[by_class]]) / sizes[drawn[by_class]]
    return np.sort(order[np.argsort(place, kind="stable")[:count]])
