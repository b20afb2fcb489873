"""What a data set holds, in lines: splits, kinds of images, pixels, objects."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from abbe.datasets.class_check import class_lines, is_of_classes, region_lines
from abbe.datasets.classes import class_counts
from abbe.datasets.collection import SPLITS, Dataset
from abbe.datasets.inspection import ImageFacts, LabelFacts, RegionFacts
from abbe.in_words import NAMED, counted, listing

MOST_KINDS = 8  # a column with more different values is not counted out


def facts_of(
    dataset: Dataset,
    images: Mapping[str, ImageFacts],
    labels: Mapping[str, LabelFacts],
    regions: Mapping[str, RegionFacts],
    crop: tuple[int, str] | None,
) -> Iterator[tuple[str, str]]:
    """Name and value of each line of the report."""
    if dataset.simulated:
        yield "simulated", "yes: nothing here was measured on real tissue"
    yield "licence", dataset.licence
    yield "splits", ", ".join(_count_of(name, part) for name, part in parts_of(dataset))
    yield from class_lines(dataset)
    groups = {record.group for record in dataset if record.group is not None}
    if groups:
        yield "groups", str(len(groups))
    yield from _kinds(dataset)
    yield from _image_lines(list(images.values()))
    yield from _label_lines(list(labels.values()))
    yield from region_lines(dataset, regions)
    if crop is not None:
        side, why = crop
        yield "crop", f"{side} px is recommended: {why} (--training.crop {side})"


def parts_of(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Each split that has images, by name; at last the images that have none."""
    for name in SPLITS:
        part = dataset.split(name)
        if len(part):
            yield name, part
    rest = dataset.having(record for record in dataset if record.split is None)
    if len(rest):
        yield "no split", rest


def _count_of(name: str, part: Dataset) -> str:
    """How many images a split has, and of how many the answer is known."""
    if is_of_classes(part):
        return f"{name} {len(part)} ({sum(class_counts(part).values())} with a class)"
    return f"{name} {len(part)} ({len(part.annotated)} labelled)"


def _kinds(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Counts for the columns that sort the images into a few kinds."""
    names = dict.fromkeys(name for record in dataset for name in record.columns)
    for name in names:
        counts = Counter(record.columns.get(name) or "(empty)" for record in dataset)
        few = 1 < len(counts) <= min(MOST_KINDS, len(dataset) // 2)
        if (
            few
            and name not in ("split", "group", "class" if dataset.classes else "")
            and not any(_is_number(value) for value in counts)
        ):
            yield name, ", ".join(f"{value} {count}" for value, count in counts.most_common())


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _image_lines(images: Sequence[ImageFacts]) -> Iterator[tuple[str, str]]:
    if not images:
        return
    sizes = Counter(f"{facts.shape[0]}×{facts.shape[1]}" for facts in images)
    shown = [f"{size} ({count})" for size, count in sizes.most_common()]
    yield "size, px", listing(shown, 4)
    yield "type", _counted(facts.dtype for facts in images)
    yield (
        "pixel size",
        _counted("unknown" if facts.pixel_size is None else f"{facts.pixel_size:g} µm"
                 for facts in images),
    )  # fmt: skip
    kinds = Counter(facts.channels for facts in images)
    for channels, count in kinds.most_common():
        yield "channels", f"{listing(channels, NAMED)} ({counted(count, 'image')})"
        alike = [facts for facts in images if facts.channels == channels]
        for index, name in enumerate(channels[:NAMED]):
            low, high = (
                np.median([getattr(facts, key)[index] for facts in alike])
                for key in ("low", "high")
            )
            least = min(facts.minimum[index] for facts in alike)
            most = max(facts.maximum[index] for facts in alike)
            yield (
                f"  {name}",
                f"values {least:.5g} to {most:.5g}; "
                f"typical image {low:.5g} to {high:.5g} (percentiles 1 and 99.8)",
            )


def _label_lines(labels: Sequence[LabelFacts]) -> Iterator[tuple[str, str]]:
    if not labels:
        return
    counts = np.array([len(facts.areas) for facts in labels])
    total = int(counts.sum())
    empty = int((counts == 0).sum())
    yield (
        "objects",
        f"{total}; an image has {np.median(counts):.0f} in the median, {counts.min()} to "
        f"{counts.max()}; without any: {counted(empty, 'label')}",
    )
    if total:
        areas = np.concatenate([facts.areas for facts in labels])
        low, middle, high = np.percentile(areas, (25, 50, 75))
        yield "area, px", f"median {middle:.0f}, half of them {low:.0f} to {high:.0f}"
        touching = sum(facts.touching for facts in labels)
        yield "touching", f"{touching / total:.0%} of the objects share an edge with another"
    yield (
        "foreground",
        f"{np.mean([facts.foreground for facts in labels]):.1%} of the px in the mean",
    )
    unknown = float(np.mean([facts.unknown for facts in labels]))
    if unknown:
        yield "unknown", f"{unknown:.1%} of the px in the mean"


def _counted(values: Iterator[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common())
