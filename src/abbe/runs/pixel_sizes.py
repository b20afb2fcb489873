"""For which pixel size a student is made, and what a run says of it before it starts."""

from collections.abc import Callable, Iterable

import numpy as np

from abbe.datasets import Dataset, Record
from abbe.errors import InputError
from abbe.foreign_text import shown
from abbe.in_words import counted
from abbe.runtime.tiling.grid import SAME_SCALE, scale_between


def common(sizes: Iterable[float | None]) -> float | None:
    """The pixel size in µm of images that agree on one within 5 %; None where they do not."""
    found = list(sizes)
    known = [size for size in found if size is not None]
    if not found or len(known) < len(found) or max(known) > (1 + SAME_SCALE) * min(known):
        return None
    return float(np.median(known))


def student_pixel_size(dataset: Dataset) -> float | None:
    """The pixel size in µm of the training images; None where they agree on none."""
    return common(_size(record) for record in dataset.split("train"))


def with_label(records: Iterable[Record]) -> list[Record]:
    """Those that have one."""
    return [record for record in records if record.label is not None]


def check(
    dataset: Dataset, labelled: Callable[[Iterable[Record]], list[Record]] = with_label
) -> None:
    """Say what the student's pixel size is not, and refuse what could not be scored by it.

    Args:
        dataset: with splits.
        labelled: of some records those that are scored.

    Raises:
        InputError: training images have a pixel size, but a labelled image of another split has
            none, or another by far.
    """
    size = student_pixel_size(dataset)
    if size is None:
        _tell_unknown(dataset)
        return
    others = [record for name in ("val", "test") for record in labelled(dataset.split(name))]
    silent = [record.id for record in others if _size(record) is None]
    if silent:
        raise InputError(
            f"data set '{dataset.name}': training images have a pixel size ({size:g} µm), but "
            f"{len(silent)} of those to be scored without one, such as '{silent[0]}'. Give "
            "it with data.pixel_size"
        )
    scales = [scale_between(_size(record) or size, size, record.id) for record in others]
    if count := sum(scale != 1 for scale in scales):
        text = (
            f"note: another pixel size than the training images' ({size:g} µm) in "
            f"{counted(count, 'image')} of val and test: resampled to it for the student, as abbe "
            "predict does"
        )
        print(shown(text), flush=True)


def _tell_unknown(dataset: Dataset) -> None:
    sizes = [_size(record) for record in dataset]
    known = sorted(size for size in sizes if size is not None)
    if not known:
        return
    said = f"{known[0]:g} µm" if known[0] == known[-1] else f"{known[0]:g} to {known[-1]:g} µm"
    silent = f", {sizes.count(None)} say none" if None in sizes else ""
    text = (
        f"note: the images of '{dataset.name}' do not agree on a pixel size ({said}{silent}): the "
        "student sees each as it is, and so will its package. Give data.pixel_size, or state it "
        "later with abbe export --pixel-size"
    )
    print(shown(text), flush=True)


def _size(record: Record) -> float | None:
    return record.image.open().pixel_size
