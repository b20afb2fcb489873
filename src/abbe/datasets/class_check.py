"""What ``abbe data check`` says of images with a class each: their counts, and what is amiss."""

from collections.abc import Iterator

from abbe.datasets.classes import class_counts
from abbe.datasets.collection import SPLITS, Dataset
from abbe.datasets.inspection import Problem, Severity

_FEW_TESTS = 10  # of a class; the report doubts such a class, too
_LEAST = 2  # training images of a class, as `require_classes` has it
_LEAST_UNDIVIDED = (
    4  # so that a drawn division can leave two to train, one to validate, one to test
)


def is_of_classes(dataset: Dataset) -> bool:
    """Whether a class is all that is known of any image: there is none with a label."""
    classified = any(record.columns.get("class") for record in dataset)
    return classified and not any(record.label or record.types for record in dataset)


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
        (label, "1 image" if counts[label] == 1 else f"{counts[label]} images")
        for label in labels
        if counts[label] < least
    )


def _of_set(severity: Severity, what: str, detail: str) -> Problem:
    return Problem(severity, what, (("", detail),))
