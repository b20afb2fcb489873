"""The data of a downstream task: what is labelled, how much of it, and tiles without any label."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path

from abbe import config, datasets
from abbe.datasets import Dataset, Record
from abbe.errors import InputError
from abbe.runs import build

BACKGROUND = "background"
FOREGROUND = "foreground"


def task_dataset(data: config.Data, task: str) -> Dataset:
    """The labelled data set with its splits, and labels on the chosen training images only."""
    dataset = build.split(build.collect(data), data, by_class=task == "classification")
    return keep_labels(dataset, data.labelled, task, data.split_seed)


def keep_labels(dataset: Dataset, amount: int | float | str, task: str, seed: int) -> Dataset:
    """Keep the labels of some training images; a larger amount contains a smaller one.

    For classification, each class keeps its share, rounded up, so that none is lost.

    Args:
        dataset: with splits.
        amount: "all", a count, or a share (float) of the labelled training images.
        task: classification or segmentation.
        seed: of the choice.

    Raises:
        InputError: more is asked for than there is.
    """
    if isinstance(amount, str):
        return dataset
    if task == "segmentation":
        return datasets.choose_labelled(dataset, amount, seed)
    training = [r for r in dataset.split("train") if r.columns.get("class")]
    if isinstance(amount, int) and amount > len(training):
        raise InputError(
            f"{amount} labelled training images were asked for, but data set '{dataset.name}' has "
            f"{len(training)}"
        )
    share = amount if isinstance(amount, float) else amount / max(1, len(training))
    kept: set[str] = set()
    for name in dataset.classes:
        own = [r.id for r in training if r.columns["class"] == name]
        count = math.ceil(share * len(own) - 1e-9)
        kept.update(datasets.shuffled(own, seed)[:count])
    drop = {record.id for record in training} - kept
    return dataset.having(without_labels(r) if r.id in drop else r for r in dataset)


def labelled(records: Iterable[Record], task: str) -> list[Record]:
    """The records that the task can learn from or be scored on; pixels' classes as the label."""
    if task == "classification":
        return [record for record in records if record.columns.get("class")]
    records = list(records)
    if any(record.types is not None for record in records):
        return [replace(r, label=r.types) for r in records if r.types is not None]
    return [record for record in records if record.label is not None]


def classes_of(dataset: Dataset, task: str) -> tuple[str, ...]:
    """Names of the classes by number; of pixels, 0 is the background."""
    if task == "classification":
        return dataset.classes
    typed = any(record.types is not None for record in dataset)
    return (BACKGROUND, *(dataset.classes if typed else (FOREGROUND,)))


def tiles_of(experiment: config.Experiment, dataset: Dataset) -> Dataset:
    """The tiles to pretrain on, with every label taken off.

    Where they come from a set of their own, its validation and test images stay out, and so does
    every image that the task validates or tests on.

    Raises:
        InputError: no tile is left.
    """
    source = experiment.pretrain_data
    if source.kind == "given":
        tiles, records = dataset, list(dataset.split("train"))
    else:
        tiles = build.collect(source)
        held_out = {_place(record) for record in dataset if record.split in ("val", "test")}
        records = [
            record
            for record in tiles
            if record.split in (None, "train") and _place(record) not in held_out
        ]
    if not records:
        raise InputError(
            f"data set '{tiles.name}' leaves no tile to pretrain on: all of them are validated or "
            "tested on. Give pretrain_data.path a folder of other tiles"
        )
    bare = [replace(without_labels(record), split="train") for record in records]
    tiles = replace(tiles, records=tuple(bare), classes=())
    return tiles.seen_as(experiment.student.sees)


def check(experiment: config.Experiment, dataset: Dataset) -> None:
    """Refuse what cannot end well before any work starts.

    Raises:
        InputError: the student's channels are missing; classes cannot be learned (see
            :func:`abbe.datasets.require_classes`); no training or test image is labelled.
    """
    task = experiment.fine_tuning.task
    build.check_channels(dataset, experiment.student.sees, "the student")
    if task == "classification":
        datasets.require_classes(dataset)
    else:
        datasets.require_whole_groups(dataset)
    for part in ("train", "test"):
        if not labelled(dataset.split(part), task):
            need = "a class" if task == "classification" else "a label"
            raise InputError(
                f"data set '{dataset.name}' has no {part} image with {need}: label some, or change "
                "data.split and data.fractions"
            )
    if experiment.pretraining.method == "none":
        return
    tiles = tiles_of(experiment, dataset)
    build.check_channels(tiles, experiment.student.sees, "the student")
    batch = experiment.pretraining.batch_size
    if "contrastive" in experiment.pretraining.method and len(tiles) < batch:
        raise InputError(
            f"pretraining.batch_size {batch}: there are {len(tiles)} tiles only, and a tile "
            "must not stand against itself in a contrastive term. Choose a smaller batch"
        )


def _place(record: Record) -> Hashable:
    """Where the pixels lie, however the path to them is spelt and whatever they are called."""
    path = getattr(record.image, "path", None)
    region = getattr(record.image, "region", None)
    return record.image if path is None else (Path(path).resolve(), region)


def without_labels(record: Record) -> Record:
    """The record with its label, its pixels' types and its class taken off."""
    columns = {key: value for key, value in record.columns.items() if key != "class"}
    return replace(record, label=None, types=None, columns=columns)
