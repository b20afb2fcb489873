"""Images with a class each: folders of them, and whether anything can be learned from them."""

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from abbe.datasets.collection import SPLITS, Dataset, FileImage, Record, channels_of
from abbe.datasets.folder import files_in, read_table
from abbe.datasets.splits import require_whole_groups, shuffled
from abbe.errors import InputError
from abbe.imaging.formats.other_kinds import not_read
from abbe.in_words import listing
from abbe.near import meant_beside
from abbe.remote import as_path

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_CALLED_OTHERWISE = {name: name for name in SPLITS} | {
    "training": "train", "valid": "val", "validation": "val", "testing": "test"
}  # fmt: skip
"""What others call splits, small letters throughout."""


def class_folder(
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    group: str | None = None,
) -> Dataset:
    """A folder with one folder of images a class, perhaps inside ``train``, ``val`` and ``test``.

    An ``index.csv`` beside these folders may tell more of the images, which it names by their path
    in the folder (``train/benign/1.png``), or by the file's name where no two are alike.

    Args:
        path: The folder.
        classes: Names of the classes, in order; the names of the folders where omitted.
        pixel_size: In µm, where the files do not say.
        override_pixel_size: In µm, whatever the files say.
        group: Column of ``index.csv`` or pattern that names the patient, slide or video; see
            `abbe.datasets.folder`.

    Raises:
        InputError: There is no image, a folder whose name is no class, a table that does not fit,
            two images that differ in their endings alone, a folder of a split by another name, or
            it is a folder data set.
    """
    root = as_path(path)
    parts = [(name, root / name) for name in SPLITS if (root / name).is_dir()]
    found = _found(parts or [(None, root)])
    _require_classes(root, {label for _, label, _ in found.values()})
    everything = sorted(root.rglob("*"))
    passed = _passed_over(root, everything, {file for _, _, file in found.values()})
    if parts:
        _require_known_splits(root, passed)
    unread = not_read(everything, root)
    table = read_table(root / "index.csv", list(found), _names(root, found))
    records = [
        Record(
            id,
            FileImage(file, None, pixel_size, override_pixel_size),
            split=split or table.split_of(id),
            group=table.group_of(id, group, file.name),
            columns={**table.rows.get(id, {}), "class": label},
        )
        for id, (split, label, file) in found.items()
    ]
    if not records:
        why = "" if unread is None else f"{unread}\n"
        instead = f"; there is {listing(passed, 2)}" if passed else ""
        raise InputError(
            f"{why}{root} holds no images in folders of classes; expected is <class>/<image>, or "
            f"train/<class>/<image> and so on ({', '.join(SUFFIXES)}){instead}.{meant_beside(root)}"
        )
    labels = tuple(sorted({record.columns["class"] for record in records}))
    problems = [] if unread is None else [unread]
    if passed:
        form = "SPLIT/CLASS/IMAGE" if parts else "CLASS/IMAGE"
        problems.append(f"images that do not lie at {form} are left out: {listing(passed)}")
    return Dataset(
        root.resolve().name,
        tuple(records),
        channels_of(records),
        problems=(*problems, *table.problems),
        classes=labels if classes is None else tuple(classes),
    )


def _found(parts: Iterable[tuple[str | None, Path]]) -> dict[str, tuple[str | None, str, Path]]:
    """Split, class and file of each image by id; the parts are folders of classes.

    Raises:
        InputError: Two images would have one id.
    """
    found: dict[str, tuple[str | None, str, Path]] = {}
    alike: list[str] = []
    for split, directory in parts:
        for label, file in class_files(directory):
            id = "/".join(filter(None, (split, label, file.stem)))
            if id in found:
                alike.append(f"{found[id][2].name} and {file.name} in {file.parent}")
            found[id] = (split, label, file)
    if alike:
        raise InputError(
            f"{listing(alike)}: names without extension must differ: rename or remove one of them"
        )
    return found


def _passed_over(root: Path, files: Iterable[Path], taken: Collection[Path]) -> list[str]:
    """Images that lie in the folder of no class: deeper, beside the folders, in another split."""
    names = (
        file.relative_to(root).as_posix()
        for file in files
        if file.suffix.lower() in SUFFIXES and file not in taken
    )
    return [name for name in names if not any(p.startswith((".", "__")) for p in name.split("/"))]


def _require_known_splits(root: Path, passed: Iterable[str]) -> None:
    """Refuse a folder beside those of splits that means one of them: its images would be missed."""
    for name in dict.fromkeys(each.split("/")[0] for each in passed):
        split = _CALLED_OTHERWISE.get(name.lower())
        if split not in (None, name):
            raise InputError(
                f"{root / name}: is it the split {split}? Call the folder so, or move it out of "
                "the data set"
            )


def _require_classes(root: Path, labels: set[str]) -> None:
    """Refuse a folder data set, whose images and labels would be told apart as two classes."""
    if "images" in labels and labels <= {"images", "labels", "masks", "types"}:
        raise InputError(
            f"{root}: {', '.join(sorted(labels))} are no classes but the parts of a folder data "
            "set. Say --data.kind folder; its classes are the column 'class' of index.csv"
        )


def _names(root: Path, found: Mapping[str, tuple[Any, str, Path]]) -> dict[str, str]:
    """What a table may call images, and their ids: paths, and names that only one file has."""
    counts = Counter(file.name for _, _, file in found.values())
    names = {file.relative_to(root).as_posix(): id for id, (_, _, file) in found.items()}
    return names | {f.name: id for id, (_, _, f) in found.items() if counts[f.name] == 1}


def class_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """The class and path of every image in a folder of classes, by name.

    Raises:
        InputError: A folder may not be read.
    """
    if not directory.is_dir():
        return
    for folder in (child for child in files_in(directory) if child.is_dir()):
        if folder.name.startswith((".", "__")):
            continue
        for file in files_in(folder):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                yield folder.name, file


def class_numbers(dataset: Dataset) -> dict[str, int]:
    """The number of each record's class, by id; images without a class are left out."""
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    return {
        record.id: numbers[record.columns["class"]]
        for record in dataset
        if record.columns.get("class")
    }


def class_counts(dataset: Dataset) -> dict[str, int]:
    """How many images of each class there are, in the order of the classes."""
    counts = Counter(record.columns.get("class") for record in dataset)
    return {name: counts[name] for name in dataset.classes}


def require_classes(dataset: Dataset, *, minimum: int = 2) -> None:
    """Refuse a data set from which no classifier can be trained and tested.

    Args:
        dataset: With splits, if it is to have any.
        minimum: Least number of training images of each class; where there are no splits, of all.

    Raises:
        InputError: It has no classes; there are images of one class only; a class has fewer images
            than ``minimum``, or none in training; validation images are of one class only; a group
            is in two splits.
    """
    name = f"data set '{dataset.name}'"
    if not dataset.classes:
        raise InputError(f"{name} has no classes: give its images a column 'class'")
    require_whole_groups(dataset)
    present = {label: count for label, count in class_counts(dataset).items() if count}
    if len(present) < 2:
        only = listing(present) or "none"
        raise InputError(
            f"{name} has images of one class only ({only}): there is nothing to tell apart"
        )
    split = any(record.split for record in dataset)
    training = dataset.split("train") if split else dataset
    counts = class_counts(training)
    few = [f"{label} ({counts[label]})" for label in present if counts[label] < minimum]
    if few:
        where = "training images" if split else "images"
        raise InputError(
            f"{name}: {minimum} {where} of each class are needed, but there are fewer of "
            f"{listing(few)}: leave these classes out, join them with others, or draw other splits"
        )
    validation = [label for label, count in class_counts(dataset.split("val")).items() if count]
    if len(validation) == 1:
        raise InputError(
            f"{name} has validation images of one class only ({validation[0]}), which cannot tell "
            "good weights from bad ones: move some of other classes to val, or leave val empty"
        )


def keep_labels(dataset: Dataset, amount: int | float | str, seed: int) -> Dataset:
    """Keep the classes of some training images; a larger amount contains a smaller one.

    Each class keeps its share, rounded up, so that none is lost.

    Args:
        dataset: with splits.
        amount: "all", a count, or a share (float) of the labelled training images.
        seed: of the choice.

    Raises:
        InputError: more is asked for than there is.
    """
    if isinstance(amount, str):
        return dataset
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
        kept.update(shuffled(own, seed)[:count])
    drop = {record.id for record in training} - kept
    return dataset.having(r.without_labels() if r.id in drop else r for r in dataset)
