"""What Abbe sees in a data set, and every problem in it (``abbe data check``)."""

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from abbe.cluster import open_cluster
from abbe.datasets.class_check import (
    class_lines,
    class_problems,
    is_of_classes,
    region_lines,
    region_pixels,
    region_problems,
)
from abbe.datasets.classes import class_counts
from abbe.datasets.collection import SPLITS, Dataset, Record
from abbe.datasets.crops import recommended_crop
from abbe.datasets.folder import listing
from abbe.datasets.inspection import (
    ImageFacts,
    Inspection,
    LabelFacts,
    Problem,
    RegionFacts,
    Severity,
    inspect,
    inspect_on_workers,
)
from abbe.datasets.splits import assign_splits, split_groups
from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging import (
    contact_sheet,
)
from abbe.imaging.pictures.thumbnail import LONGEST, thumbnail

SHEET_IMAGES = 24
MOST_KINDS = 8  # a column with more different values is not counted out


@dataclass(frozen=True)
class CheckReport:
    """What was found: `text` for the console, `to_json` for programs, `contact_sheet` to look at.

    ``images`` and ``labels`` hold what could be read, by id.
    """

    dataset: Dataset
    images: dict[str, ImageFacts]
    labels: dict[str, LabelFacts]
    problems: tuple[Problem, ...]
    regions: dict[str, RegionFacts] = field(default_factory=dict)

    @property
    def crop(self) -> tuple[int, str] | None:
        """The side of a training crop that is recommended, px, and why; None without an image."""
        if not self.images:
            return None
        areas = [area for facts in self.labels.values() for area in facts.areas]
        diameter = float(np.median(2 * np.sqrt(np.array(areas) / np.pi))) if areas else None
        return recommended_crop(diameter, min(min(each.shape) for each in self.images.values()))

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that would stop or spoil a run; warnings are allowed."""
        return all(problem.severity != "error" for problem in self.problems)

    def text(self) -> str:
        """The report as lines of at most about 100 characters."""
        lines = [f"{self.dataset.name}: {len(self.dataset)} images"]
        lines += [f"  {name:<13} {value}" for name, value in self._facts()]
        lines += [f"  note          {note}" for note in self.dataset.notes]
        lines += [
            f"  note          {of}{'s' if len(ids) > 1 else ''} {listing(ids, 3)}: {note}"
            for (of, note), ids in self._read_notes().items()
        ]
        for problem in self.problems:
            mark = "ERROR  " if problem.severity == "error" else "warning"
            count = f" ({len(problem.where)})" if len(problem.where) > 1 else ""
            lines.append(f"{mark} {problem.what}{count}")
            lines += [f"          {id}: {detail}" if id else f"          {detail}"
                      for id, detail in problem.where[:5]]  # fmt: skip
            if len(problem.where) > 5:
                lines.append(f"          … and {len(problem.where) - 5} more")
        if not self.problems:
            lines.append("no problem found")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same as plain values, with every problem and the facts of each image."""
        return {
            "name": self.dataset.name,
            "simulated": self.dataset.simulated,
            "licence": self.dataset.licence,
            "ok": self.ok,
            "summary": dict(self._facts()),
            "splits": {
                name: {"images": len(part), "labelled": len(part.labelled)}
                | ({"classes": class_counts(part)} if self.dataset.classes else {})
                for name, part in _parts(self.dataset)
            },
            "crop": None
            if self.crop is None
            else dict(zip(("side", "why"), self.crop, strict=True)),
            "regions": region_pixels(self.dataset, self.regions) if self.regions else {},
            "notes": list(self.dataset.notes),
            "read_notes": [
                {"of": of, "note": note, "where": ids}
                for (of, note), ids in self._read_notes().items()
            ],
            "problems": [
                {
                    "severity": problem.severity,
                    "what": problem.what,
                    "where": [{"id": id or None, "detail": detail} for id, detail in problem.where],
                }
                for problem in self.problems
            ],
            "images": {
                id: asdict(facts)
                | {"label": asdict(self.labels[id]) if id in self.labels else None}
                | {"regions": asdict(self.regions[id]) if id in self.regions else None}
                for id, facts in self.images.items()
            },
        }

    def contact_sheet(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture (PNG) of up to 24 images, spread over the set, with label outlines.

        Raises:
            InputError: No image could be read.
        """
        readable = [record for record in self.dataset if record.id in self.images]
        if not readable:
            raise InputError(f"data set '{self.dataset.name}' has no readable image to show")
        count = min(SHEET_IMAGES, len(readable))
        chosen = [readable[index] for index in np.linspace(0, len(readable) - 1, count).astype(int)]
        sheet = contact_sheet(
            [self._picture(record) for record in chosen],
            [self._caption(record) for record in chosen],
        )
        target = Path(path)
        with atomic_path(target) as temporary:
            sheet.save(temporary, format="PNG")
        return target

    def _read_notes(self) -> dict[tuple[str, str], list[str]]:
        """What was done when images and labels were read, with the ids of those."""
        found: dict[tuple[str, str], list[str]] = {}
        for of, all_facts in (("image", self.images), ("label", self.labels)):
            for id, facts in all_facts.items():
                for note in facts.notes:
                    found.setdefault((of, note), []).append(id)
        return found

    def _fits(self, id: str) -> bool:
        """Whether there is a readable label of the image's size."""
        facts = self.labels.get(id) or self.regions.get(id)
        return facts is not None and facts.shape == self.images[id].shape

    def _picture(self, record: Record) -> np.ndarray:
        label = record.label if self._fits(record.id) else None
        return thumbnail(record.image.open(), None if label is None else label.read())

    def _caption(self, record: Record) -> str:
        if record.label is None:
            objects = record.columns.get("class") or "no label"
        elif not self._fits(record.id):
            objects = "label unusable"
        elif record.id not in self.labels:
            objects = "classes of regions"
        else:
            count = len(self.labels[record.id].areas)
            objects = "1 object" if count == 1 else f"{count} objects"
        shape = self.images[record.id].shape
        part = "(middle shown)" if max(shape) > LONGEST else ""
        parts = [record.id, record.split or "", objects, part]
        return " · ".join(part for part in parts if part)

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Name and value of each line of the report."""
        if self.dataset.simulated:
            yield "simulated", "yes: nothing here was measured on real tissue"
        yield "licence", self.dataset.licence
        yield "splits", ", ".join(_count_of(name, part) for name, part in _parts(self.dataset))
        yield from class_lines(self.dataset)
        groups = {record.group for record in self.dataset if record.group is not None}
        if groups:
            yield "groups", str(len(groups))
        yield from _kinds(self.dataset)
        yield from _image_lines(list(self.images.values()))
        yield from _label_lines(list(self.labels.values()))
        yield from region_lines(self.dataset, self.regions)
        if self.crop is not None:
            side, why = self.crop
            yield "crop", f"{side} px is recommended: {why} (--training.crop {side})"


def check(
    dataset: Dataset,
    *,
    crop: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    divide: Callable[[Dataset], object] | None = None,
    inspections: Iterable[Inspection] | None = None,
) -> CheckReport:
    """Read every image and label, and gather all problems; it never stops at the first.

    Args:
        dataset: Any; what its reader noticed (`Dataset.problems`) is reported too.
        crop: Side in px of training crops; smaller images are reported.
        divide: Draws splits as a run would; `assign_splits` where None and the set has none.
        progress: Called after each image with the number done and the number of all.
        inspections: What was found in each record, where workers have looked.
    """
    if inspections is None:
        inspections = (inspect(record, crop) for record in dataset)
    gone_through: list[Inspection] = []
    for done, found in enumerate(inspections, start=1):
        gone_through.append(found)
        if progress is not None:
            progress(done, len(dataset))
    return _report(dataset, gone_through, divide)


def check_on_cluster(
    cluster: str,
    dataset: Dataset,
    *,
    crop: int | None = None,
    divide: Callable[[Dataset], object] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> CheckReport:
    """`check`, by workers; the report is the same.

    Args:
        cluster: Such as "local:4"; see `abbe.cluster.open_cluster`.
        dataset, crop, divide: As `check` takes them.
        say: Told of the workers, in lines.
    """
    with open_cluster(cluster, say) as workers:
        scratch = Path(tempfile.mkdtemp(prefix=".abbe-check-", dir=Path.cwd()))
        found = inspect_on_workers(dataset, crop, workers, scratch)
    return check(dataset, divide=divide, inspections=found)


def _report(
    dataset: Dataset,
    inspections: Sequence[Inspection],
    divide: Callable[[Dataset], object] | None,
) -> CheckReport:
    """What all inspections come to."""
    images = {found.record.id: found.image for found in inspections if found.image is not None}
    labels = {found.record.id: found.label for found in inspections if found.label is not None}
    regions = {found.record.id: found.regions for found in inspections if found.regions is not None}
    gathered: dict[tuple[Severity, str], list[tuple[str, str]]] = defaultdict(list)
    for found in inspections:
        for finding in found.findings:
            gathered[finding.severity, finding.what].append((found.record.id, finding.detail))
    problems = [
        Problem(severity, what, tuple(where)) for (severity, what), where in gathered.items()
    ]
    problems += _form_problems(dataset, images)
    problems += _duplicates(dataset, images)
    problems += _split_problems(dataset)
    problems += region_problems(dataset, regions)
    problems += _undivided(dataset, divide)
    if is_of_classes(dataset):
        problems += class_problems(dataset)
    if dataset.left_out:
        where = tuple(("", reason) for reason in dataset.left_out)
        problems.append(Problem("error", "a file cannot be used and is left out", where))
    problems += [Problem("warning", "found while listing", (("", it),)) for it in dataset.problems]
    problems.sort(key=lambda problem: problem.severity)  # errors first
    return CheckReport(dataset, images, labels, tuple(problems), regions)


def _undivided(dataset: Dataset, divide: Callable[[Dataset], object] | None) -> Iterator[Problem]:
    """That splits cannot be drawn, which a run would do first of all."""
    if divide is None:
        if any(record.split for record in dataset):
            return
        divide = assign_splits
    try:
        divide(dataset)
    except InputError as error:
        if split_groups(dataset):
            return  # a problem of its own
        detail = (
            f"{error}. Nothing can be trained on it: add images or groups. A run can be tested on "
            "all of it (abbe evaluate), and tiles without labels can be learned from"
        )
        yield Problem(
            "warning", "the set cannot be split to train, validate and test", (("", detail),)
        )


def _form_problems(dataset: Dataset, images: dict[str, ImageFacts]) -> Iterator[Problem]:
    """Channels, types and pixel sizes that are not the same everywhere."""
    others = tuple(
        (id, ", ".join(facts.channels))
        for id, facts in images.items()
        if facts.channels != dataset.channels
    )
    if others:
        what = (
            f"channels are not {', '.join(dataset.channels)} as in the first image; "
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


def _duplicates(dataset: Dataset, images: dict[str, ImageFacts]) -> Iterator[Problem]:
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
        elif not len(part.labelled) and name != "train" and not is_of_classes(dataset):
            detail = "nothing can be scored on it"
            yield Problem("warning", f"no {name} image has a label", (("", detail),))


def _parts(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
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
    return f"{name} {len(part)} ({len(part.labelled)} labelled)"


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
        yield "channels", f"{', '.join(channels)} ({count} images)"
        alike = [facts for facts in images if facts.channels == channels]
        for index, name in enumerate(channels):
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
        f"{counts.max()}; {empty} labels have none",
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
