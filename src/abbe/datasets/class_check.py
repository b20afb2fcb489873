"""What ``abbe data check`` says of classes, of images and of pixels: counts, and what is amiss."""

from collections.abc import Iterator, Mapping

from abbe.datasets.class_pictures import BACKGROUND
from abbe.datasets.classes import class_counts
from abbe.datasets.collection import SPLITS, Dataset
from abbe.datasets.inspection import Problem, RegionFacts, Severity
from abbe.in_words import counted

_FEW_TESTS = 10  # of a class; the report doubts such a class, too
_LEAST = 2  # training images of a class, as `require_classes` has it
_LEAST_UNDIVIDED = (
    4  # so that a drawn division can leave two to train, one to validate, one to test
)


def is_of_classes(dataset: Dataset) -> bool:
    """Whether a class is all that is known of any image: there is none with a label."""
    classified = any(record.columns.get("class") for record in dataset)
    return classified and not any(record.annotated for record in dataset)


def class_lines(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Name and counts by split of each class, for the report; nothing where there are none."""
    if not any(class_counts(dataset).values()):
        return
    parts = {split: class_counts(dataset.split(split)) for split in SPLITS}
    rest = dataset.having(record for record in dataset if record.split is None)
    parts["no split"] = class_counts(rest)
    shown = [name for name, counts in parts.items() if any(counts.values())]
    yield "classes", str(len(dataset.classes))
    for label in dataset.classes:
        yield f"  {label}", ", ".join(f"{name} {parts[name][label]}" for name in shown)


def class_problems(dataset: Dataset) -> Iterator[Problem]:
    """What would stop a classification (errors) or spoil its scores (warnings)."""
    counts = class_counts(dataset)
    present = [label for label, count in counts.items() if count]
    absent = [label for label, count in counts.items() if not count]
    if len(present) == 1:
        detail = f"all are {present[0]}: there is nothing to tell apart"
        yield _of_set("error", "there are images of one class only", detail)
    if absent:
        yield _of_set("warning", "a class has no image", ", ".join(absent))
    without = [record.id for record in dataset if not record.columns.get("class")]
    if without:
        where = tuple((id, "not used for classification") for id in without)
        yield Problem("warning", "an image has no class", where)
    if any(record.split for record in dataset):
        yield from _split_problems(dataset, present)
        return
    few = _fewer(counts, present, _LEAST)
    if few:
        what = f"a class has fewer than {_LEAST} images: no classifier can be trained"
        yield Problem("error", what, few)
    scarce = tuple(each for each in _fewer(counts, present, _LEAST_UNDIVIDED) if each not in few)
    if scarce:
        what = f"a class has fewer than {_LEAST_UNDIVIDED} images: not every split can have some"
        yield Problem("warning", what, scarce)


def _split_problems(dataset: Dataset, present: list[str]) -> Iterator[Problem]:
    train, val, test = (class_counts(dataset.split(split)) for split in SPLITS)
    few = _fewer(train, present, _LEAST)
    if few:
        what = f"a class has fewer than {_LEAST} training images: no classifier can be trained"
        yield Problem("error", what, few)
    validated = [label for label, count in val.items() if count]
    if len(validated) == 1 and len(present) > 1:
        detail = f"all are {validated[0]}: the best weights cannot be chosen by them"
        yield _of_set("error", "validation images are of one class only", detail)
    tested = [label for label, count in test.items() if count]
    if not tested:
        yield _of_set("error", "no test image has a class", "nothing can be scored")
        return
    if len(tested) == 1 and len(present) > 1:
        detail = f"all are {tested[0]}: balanced accuracy and AUROC are not defined"
        yield _of_set("warning", "test images are of one class only", detail)
    rare = _fewer(test, present, _FEW_TESTS)
    if rare:
        what = f"a class has fewer than {_FEW_TESTS} test images, which say little about it"
        yield Problem("warning", what, rare)


def _fewer(counts: dict[str, int], labels: list[str], least: int) -> tuple[tuple[str, str], ...]:
    """The classes of fewer images than ``least``, each with its count in words."""
    return tuple(
        (label, counted(counts[label], "image")) for label in labels if counts[label] < least
    )


def _of_set(severity: Severity, what: str, detail: str) -> Problem:
    return Problem(severity, what, (("", detail),))


def region_pixels(dataset: Dataset, regions: Mapping[str, RegionFacts]) -> dict[str, int]:
    """Pixels of the background and of each class, over all pictures; of all known ones."""
    return {
        name: sum(facts.pixels.get(number, 0) for facts in regions.values())
        for number, name in enumerate((BACKGROUND, *dataset.classes))
    }


def region_lines(dataset: Dataset, regions: Mapping[str, RegionFacts]) -> Iterator[tuple[str, str]]:
    """Name and value of each line: the share, the pixels and the images of each class."""
    if not regions or not dataset.classes:
        return
    pixels = region_pixels(dataset, regions)
    known = max(1, sum(pixels.values()))
    yield "regions", f"{len(dataset.classes)} classes in {counted(len(regions), 'picture')}"
    for number, (name, count) in enumerate(pixels.items()):
        images = sum(number in facts.pixels for facts in regions.values())
        yield (
            f"  {name}",
            f"{count / known:.1%} of the known px ({count:,}), in {counted(images, 'image')}",
        )
    unknown = sum(facts.pixels.get(-1, 0) for facts in regions.values())
    if unknown:
        yield "  unknown", f"{unknown / (known + unknown):.1%} of all px ({unknown:,})"


def region_problems(dataset: Dataset, regions: Mapping[str, RegionFacts]) -> Iterator[Problem]:
    """Classes that are nowhere, or not in a split."""
    if not regions:
        return
    highest = max(max(facts.pixels) for facts in regions.values())
    if not dataset.classes and highest > 0:
        detail = f"0 is the background; name 1 to {highest} in this order with --data.classes"
        yield _of_set("error", "pictures of classes have numbers without a name", detail)
    total = region_pixels(dataset, regions)
    absent = [name for name in dataset.classes if not total[name]]
    if absent:
        yield Problem("warning", "a class has no pixel", (("", ", ".join(absent)),))
    for split in SPLITS:
        ids = set(dataset.split(split).ids) & regions.keys()
        if not ids:
            continue
        here = region_pixels(dataset, {id: regions[id] for id in ids})
        lacking = [name for name in dataset.classes if total[name] and not here[name]]
        if lacking:
            yield Problem("warning", f"a class has no {split} pixel", (("", ", ".join(lacking)),))
