"""Problems of a whole data set, that no image shows alone: leaks, mixed kinds, missing splits."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from abbe.datasets.class_check import class_problems, is_of_classes, region_problems
from abbe.datasets.collection import SPLITS, Dataset, Record
from abbe.datasets.inspection import ImageFacts, Problem, RegionFacts
from abbe.datasets.splits import assign_splits, split_groups
from abbe.errors import InputError
from abbe.in_words import NAMED, listing


def problems_of(
    dataset: Dataset,
    images: Mapping[str, ImageFacts],
    regions: Mapping[str, RegionFacts],
    divide: Callable[[Dataset], Dataset] | None,
) -> Iterator[Problem]:
    """All that is wrong with the set as a whole.

    Args:
        dataset: What was gone through.
        images, regions: What could be read, by id.
        divide: See `abbe.datasets.check.check`.
    """
    yield from _form_problems(dataset, images)
    divided, undivided = _divided(dataset, divide)
    yield from _duplicates(divided, images)
    yield from _split_problems(dataset)
    yield from region_problems(dataset, regions)
    yield from undivided
    if is_of_classes(dataset):
        yield from class_problems(dataset)
    if dataset.left_out:
        where = tuple(("", reason) for reason in dataset.left_out.values())
        yield Problem("error", "a file cannot be used and is left out", where)
    for it in divided.problems:
        yield Problem("warning", "found while listing", (("", it),))


def _divided(
    dataset: Dataset, divide: Callable[[Dataset], Dataset] | None
) -> tuple[Dataset, list[Problem]]:
    """The set with its splits, or those that a run would draw first of all; that they cannot be."""
    if divide is None:
        if any(record.split for record in dataset):
            return dataset, []
        divide = assign_splits
    try:
        return divide(dataset), []
    except InputError as error:
        if split_groups(dataset):
            return dataset, []  # a problem of its own
        detail = (
            f"{error}. Nothing can be trained on it: add images or groups. A run can be tested on "
            "all of it (abbe evaluate), and tiles without labels can be learned from"
        )
        what = "the set cannot be split to train, validate and test"
        return dataset, [Problem("warning", what, (("", detail),))]


def _form_problems(dataset: Dataset, images: Mapping[str, ImageFacts]) -> Iterator[Problem]:
    """Channels, types and pixel sizes that are not the same everywhere."""
    others = tuple(
        (id, listing(facts.channels, NAMED))
        for id, facts in images.items()
        if facts.channels != dataset.channels
    )
    if others:
        what = (
            f"channels are not {listing(dataset.channels, NAMED)} as in the first image; "
            f"choose images of one kind (--data.where)"
        )
        yield Problem("error", what, others)
    for what, values in (
        ("images differ in their type of number", {facts.dtype for facts in images.values()}),
        (
            "images differ in pixel size; resize them or choose one kind",
            {facts.pixel_size for facts in images.values()},
        ),
    ):
        if len(values) > 1:
            named = sorted("unknown" if value is None else str(value) for value in values)
            yield Problem("warning", what, (("", listing(named)),))


def _duplicates(dataset: Dataset, images: Mapping[str, ImageFacts]) -> Iterator[Problem]:
    """Images with the very same pixels: a leak where they are in different splits."""
    by_pixels: dict[str, list[Record]] = defaultdict(list)
    for record in dataset:
        if record.id in images:
            by_pixels[images[record.id].sha256].append(record)
    leaks: list[tuple[str, str]] = []
    repeats: list[tuple[str, str]] = []
    for records in by_pixels.values():
        if len(records) == 1:
            continue
        first, *rest = records
        where = (first.id, "same pixels as " + listing(_with_split(record) for record in rest))
        (repeats if len({record.split for record in records}) == 1 else leaks).append(where)
    if leaks:
        yield Problem("error", "the same image is in different splits (a leak)", tuple(leaks))
    if repeats:
        yield Problem("warning", "the same image is there twice", tuple(repeats))


def _with_split(record: Record) -> str:
    return f"{record.id} ({record.split or 'no split'})"


def _split_problems(dataset: Dataset) -> Iterator[Problem]:
    cut = split_groups(dataset)
    if cut:
        where = tuple((group, f"in {' and '.join(splits)}") for group, splits in cut.items())
        yield Problem("error", "a group is in two splits (a leak)", where)
    if not any(record.split for record in dataset):
        return
    for name in SPLITS:
        part = dataset.split(name)
        if not len(part):
            yield Problem("warning", f"there are no {name} images", (("", "others have a split"),))
        elif not len(part.annotated) and name != "train" and not is_of_classes(dataset):
            detail = "nothing can be scored on it"
            yield Problem("warning", f"no {name} image has a label", (("", detail),))
