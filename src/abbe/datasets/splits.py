"""Splits: by column, by file, or by seeded fraction. A group is never split."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from abbe.datasets.collection import SPLITS, Dataset, Record, Split
from abbe.datasets.folder import COLUMNS, id_column
from abbe.errors import InputError
from abbe.files.tables import read_csv
from abbe.in_words import counted, listing

DEFAULT_FRACTIONS: Mapping[str, float] = MappingProxyType({"train": 0.7, "val": 0.1, "test": 0.2})


def assign_splits(
    dataset: Dataset,
    *,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    column: str | None = None,
    file: str | os.PathLike[str] | None = None,
    by_class: bool | None = None,
) -> Dataset:
    """The data set with new splits: from a column, else from a file, else drawn by fractions.

    Drawn splits depend on the seed, the ids and the groups only, never on the order of records.
    Whole groups are drawn, so that the fractions, which count images, are met as nearly as the
    groups allow. Where some images are labelled, by objects or by types, the fractions count those,
    and groups without any label go to train: validation and test could not use them. By class, the
    images that have one are counted instead, each class shared out as nearly as groups allow.

    Args:
        dataset: Its present splits are replaced.
        fractions: Share of images by split; together 1. A split that is left out gets none.
        seed: Of the draw.
        column: Name of the column that holds train, val, test or nothing.
        file: CSV file with a column id (or image, or name) and a column split.
        by_class: Whether drawn splits are for a classification; None: where images have classes
            and none has a label.

    Raises:
        InputError: A split is unknown, cuts a group in two, or cannot get a single group.

    >>> from abbe.datasets import simulated_tissue
    >>> tissue = simulated_tissue(16, size=64)
    >>> tissue = assign_splits(tissue, fractions={"train": 0.75, "test": 0.25})
    >>> len(tissue.split("train")), len(tissue.split("test"))
    (12, 4)
    """
    if column is not None and file is not None:
        raise InputError("splits come from a column or from a file: give one of the two")
    if column is not None:
        splits = _from_column(dataset, column)
    elif file is not None:
        splits = _from_file(dataset, Path(file))
    else:
        if by_class is None:
            classified = any(record.columns.get("class") for record in dataset)
            by_class = classified and not len(dataset.annotated)
        splits = _draw(dataset, fractions, seed, by_class)
    divided = dataset.with_splits(splits)
    require_whole_groups(divided)
    if file is not None and (rest := [id for id in dataset.ids if id not in splits]):
        text = f"{file}: {counted(len(rest), 'image')} without a split, not used: {listing(rest)}"
        divided = replace(divided, problems=(*divided.problems, text))
    return divided


def split_groups(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The groups whose images are in more than one split, with those splits."""
    found: dict[str, set[str]] = {}
    for record in dataset:
        if record.group is not None and record.split is not None:
            found.setdefault(record.group, set()).add(record.split)
    return {
        group: tuple(split for split in SPLITS if split in splits)
        for group, splits in found.items()
        if len(splits) > 1
    }


def require_whole_groups(dataset: Dataset) -> None:
    """Refuse splits that cut a group in two.

    Raises:
        InputError: Some do; the message names the group and its splits.
    """
    for group, found in split_groups(dataset).items():
        raise InputError(
            f"data set '{dataset.name}': group '{group}' is in {' and '.join(found)}; "
            f"a group must stay in one split, or the test images are not independent"
        )


def require_split(dataset: Dataset, name: Split, *, labelled: bool = False) -> Dataset:
    """The records of a split that must not be empty; with ``labelled``, those that have a label.

    Raises:
        InputError: There is no such image; the message says what there is.
    """
    part = dataset.split(name)
    if labelled:
        part = part.labelled
    if len(part):
        return part
    counts = ", ".join(f"{split} {len(dataset.split(split))}" for split in SPLITS)
    what = f"{name} images with a label" if labelled else f"{name} images"
    raise InputError(
        f"data set '{dataset.name}' has no {what} (of {counted(len(dataset), 'image')}: {counts}); "
        f"give index.csv a column split, or let splits be drawn by fractions"
    )


def choose_labelled(dataset: Dataset, amount: int | float, seed: int = 0) -> Dataset:
    """The data set in which only some training images keep their label; val and test keep all.

    The choice depends on the seed and the ids only, and a larger amount contains a smaller one.

    Args:
        dataset: With splits.
        amount: A count (int) or a share (float in [0, 1]) of the labelled training images; a share
            above 0 keeps at least one.
        seed: Of the choice.

    Raises:
        InputError: More is asked for than there is, or there are no training images.

    >>> from abbe.datasets import simulated_tissue
    >>> tissue = assign_splits(simulated_tissue(16, size=64), seed=0)
    >>> len(choose_labelled(tissue, 2).split("train").labelled)
    2
    """
    labelled = require_split(dataset, "train").annotated
    if isinstance(amount, float):
        if not 0 <= amount <= 1:
            raise InputError(f"a share of labelled images lies between 0 and 1, not {amount:g}")
        count = max(round(amount * len(labelled)), int(amount > 0))
    else:
        count = amount
    if not 0 <= count <= len(labelled):
        raise InputError(
            f"{count} labelled training images were asked for, "
            f"but data set '{dataset.name}' has {len(labelled)}"
        )
    kept = set(shuffled(labelled.ids, seed)[:count])
    return dataset.having(
        replace(record, label=None, types=None)
        if record.split == "train" and record.id not in kept
        else record
        for record in dataset
    )


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Ids in an order that depends on the seed and each id only, the same on any machine."""
    return sorted(ids, key=lambda id: _drawn(seed, id))


def _drawn(seed: int, name: str) -> str:
    """A pseudo-random key: sorting by it shuffles the same way on any machine, in any order."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _from_column(dataset: Dataset, column: str) -> dict[str, str]:
    splits: dict[str, str] = {}
    for record in dataset:
        if value := record.columns.get(column):
            splits[record.id] = _known(value, f"column '{column}'", record.id)
    if not splits:
        columns = sorted({name for record in dataset for name in record.columns})
        raise InputError(
            f"data set '{dataset.name}' has no splits in a column '{column}'; "
            f"its columns are: {', '.join(columns) or 'none'}"
        )
    return splits


def _from_file(dataset: Dataset, file: Path) -> dict[str, str]:
    header, rows = read_csv(file, COLUMNS)
    column = id_column(file, header)
    if "split" not in header:
        raise InputError(f"{file} has no column 'split'; its columns are: {', '.join(header)}")
    splits: dict[str, str] = {}
    for row in rows:
        if row["split"]:
            id, split = row[column], _known(row["split"], str(file), row[column])
            if splits.setdefault(id, split) != split:
                raise InputError(
                    f"{file}: image '{id}' has the splits {splits[id]} and {split}; keep one"
                )
    # A file may cover more than this data set, of which only a part may be in use.
    here = {id: split for id, split in splits.items() if id in dataset}
    if not here:
        raise InputError(
            f"{file} names no image of data set '{dataset.name}': "
            f"it holds {listing(splits, 2) or 'no splits'}, the data set {listing(dataset.ids, 2)}"
        )
    return here


def _known(value: str, where: str, id: str) -> str:
    value = value.lower()
    if value not in SPLITS:
        raise InputError(
            f"{where}: image '{id}' has the split '{value}'; allowed are {', '.join(SPLITS)}"
        )
    return value


def _draw(
    dataset: Dataset, fractions: Mapping[str, float], seed: int, by_class: bool
) -> dict[str, str]:
    """Give each group in turn, largest first, to the split that lacks most of what it has.

    What a split lacks is counted by class, as shares of the class, so that rare ones count as much
    as others; where classes do not matter, all images are of one.
    """
    wanted = _checked(fractions)
    counting: Iterable[Record] = dataset.annotated if len(dataset.annotated) else dataset
    if by_class:
        counting = [record for record in dataset if record.columns.get("class")]
    units: dict[str, list[Record]] = {}
    for record in counting:
        units.setdefault(record.unit, []).append(record)
    if len(units) < len(wanted):
        raise InputError(
            f"data set '{dataset.name}' cannot be split into {', '.join(wanted)}: that takes "
            f"{len(wanted)} independent images or groups, and there are {len(units)} "
            f"({listing(units)})"
        )
    has = {
        unit: Counter(record.columns["class"] if by_class else "" for record in records)
        for unit, records in units.items()
    }
    total = sum(has.values(), Counter[str]())
    lacking = {
        split: {name: share * count for name, count in total.items()}
        for split, share in wanted.items()
    }

    def need(split: str, unit: str) -> float:
        return sum(
            count * lacking[split][name] / (total[name] if by_class else 1)
            for name, count in has[unit].items()
        )

    chosen: dict[str, list[str]] = {split: [] for split in wanted}
    order = sorted(units, key=lambda unit: (-len(units[unit]), _drawn(seed, unit)))
    for left, unit in zip(range(len(order), 0, -1), order, strict=True):
        empty = [split for split in wanted if not chosen[split]]
        # The last groups are kept for the splits that still have none.
        candidates = empty if len(empty) >= left else list(wanted)
        split = max(candidates, key=lambda name: need(name, unit))
        chosen[split].append(unit)
        for name, count in has[unit].items():
            lacking[split][name] -= count
    split_of = {unit: split for split, members in chosen.items() for unit in members}
    return {record.id: split_of.get(record.unit, "train") for record in dataset}


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    """The fractions above 0, in the order of `SPLITS`."""
    for name, share in fractions.items():
        if name not in SPLITS or not 0 <= share <= 1:
            raise InputError(
                f"fractions give train, val and test a share between 0 and 1, not {name}: {share:g}"
            )
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise InputError(f"fractions must add up to 1, not {sum(fractions.values()):g}")
    return {split: fractions[split] for split in SPLITS if fractions.get(split, 0) > 0}
