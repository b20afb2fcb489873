"""Looks into one record and lists everything that is wrong with it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import fastremap
import numpy as np
from numpy.typing import NDArray

from abbe.cluster import Died, Workers
from abbe.cluster.in_order import in_order
from abbe.datasets.class_pictures import TypesFile
from abbe.datasets.collection import (
    LABEL_IS_IMAGE,
    Dataset,
    FileImage,
    FileLabel,
    LabelSource,
    Record,
)
from abbe.datasets.object_masks import MaskFiles, MaskFolder, RunLengths
from abbe.errors import AbbeError, InputError
from abbe.imaging import Image, Region
from abbe.imaging.labels.checks import doubts, equals_image
from abbe.imaging.labels.files import notes_on_labels, read_label_file
from abbe.imaging.normalisation import percentiles
from abbe.progress import bar

STRIP_BYTES = 64 << 20  # pixels in memory at a time, so that a slide can be checked too
SPECK = 3  # px: an object of at most this area is more likely a slip of the pen
SAMPLE_SIDE = 512  # px: percentiles are taken on a grid of at most this side in each strip

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one record; ``what`` is the same for all of its kind."""

    severity: Severity
    what: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """One kind of problem, and what it is for each image that has it ("" for the whole set)."""

    severity: Severity
    what: str
    where: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ImageFacts:
    """An image's form and its values. ``low`` and ``high``: percentiles 1 and 99.8 by channel."""

    shape: tuple[int, int]
    channels: tuple[str, ...]
    dtype: str
    pixel_size: float | None
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelFacts:
    """A label's objects. ``areas`` in px; ``foreground`` is the share of the known px.

    ``notes`` of image and label say what was done or taken for granted when they were read.
    """

    shape: tuple[int, int]
    areas: tuple[int, ...]
    foreground: float
    unknown: float
    touching: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegionFacts:
    """A picture of classes: its size, and how many pixels each number has, −1 for unknown."""

    shape: tuple[int, int]
    pixels: Mapping[int, int]


@dataclass
class Inspection:
    """What was found in one record."""

    record: Record
    image: ImageFacts | None = None
    label: LabelFacts | None = None
    regions: RegionFacts | None = None
    findings: list[Finding] = field(default_factory=list)


def inspect(record: Record, crop: int | None = None) -> Inspection:
    """Read a record's image and label; what cannot be read becomes a finding.

    Args:
        record: Its sources are opened here.
        crop: Side in px of the pieces that training will cut out; smaller images are reported.
    """
    result = Inspection(record)
    image = None
    try:
        image = record.image.open()
        result.image = measure_image(image)
    except (AbbeError, MemoryError) as error:
        result.findings.append(Finding("error", "image cannot be read", _reason(error)))
    if record.types is not None:
        try:
            result.regions = measure_regions(record.types.read())
        except (AbbeError, MemoryError) as error:
            what = "picture of classes cannot be read"
            result.findings.append(Finding("error", what, _reason(error)))
    if record.label is not None and record.label != record.types:
        try:
            result.label = _measure_source(
                record.label, image if result.image else None, result.findings
            )
        except (AbbeError, MemoryError) as error:
            result.findings.append(Finding("error", "label cannot be read", _reason(error)))
    if result.image is not None:
        result.findings.extend(_image_findings(result.image, crop))
    if result.image is not None and result.label is not None:
        result.findings.extend(_label_findings(result.image, result.label))
    if result.image is not None and result.regions is not None:
        result.findings.extend(_size_findings(result.image, result.regions.shape))
    if result.label is not None and result.regions is not None:
        result.findings.extend(_type_findings(record))
    return result


def _type_findings(record: Record) -> list[Finding]:
    """Of an image whose objects have types: whether the picture of types names any of them."""
    assert record.label is not None
    assert record.types is not None
    objects, types = record.label.read() > 0, record.types.read() > 0
    if objects.shape != types.shape or not objects.any() or (objects & types).any():
        return []
    if types.any():
        where = "the picture of types marks other places than the label"
        return [Finding("error", "types name no object", where)]
    return [Finding("warning", "objects have no type", "they teach where objects are, and no type")]


def inspect_on_workers(
    dataset: Dataset, crop: int | None, workers: Workers, scratch: Path
) -> list[Inspection]:
    """What `inspect` finds in each record of a data set, by workers, in the set's order.

    Args:
        dataset: The data set.
        crop: As `inspect` takes it.
        workers: Who look.
        scratch: A new folder that they see under the same name; it is removed.

    Raises:
        ClusterError: The scheduler has gone, or a worker does not see the client's folder.
    """
    items = {record.id: record for record in dataset}
    with bar("check", len(items)) as moving:
        found = in_order(workers, scratch, partial(inspect, crop=crop), items, moving.advance)
    return [
        _deadly(record, each) if isinstance(each, Died) else each
        for record, each in zip(dataset, found, strict=True)
    ]


def _deadly(record: Record, died: Died) -> Inspection:
    finding = Finding("error", "image cannot be read", died.words("this image"))
    return Inspection(record, findings=[finding])


def _reason(error: Exception) -> str:
    return "there is too little memory for it" if isinstance(error, MemoryError) else str(error)


def measure_image(image: Image) -> ImageFacts:
    """Range, percentiles and checksum of an image, read strip by strip.

    Raises:
        InputError: The image is damaged, or holds NaN or infinite values.
    """
    digest = hashlib.sha256(f"{image.dtype.str} {image.shape} {len(image.channels)}".encode())
    minima: list[NDArray] = []
    maxima: list[NDArray] = []
    samples: list[NDArray] = []
    for strip in _strips(image):
        digest.update(np.ascontiguousarray(strip).data)
        minima.append(strip.min(axis=(1, 2)))
        maxima.append(strip.max(axis=(1, 2)))
        step = max(1, -(-max(strip.shape[1:]) // SAMPLE_SIDE))
        samples.append(strip[:, ::step, ::step].reshape(len(strip), 1, -1))
    limits = percentiles(np.concatenate(samples, axis=2))
    return ImageFacts(
        shape=image.shape,
        channels=image.channels,
        dtype=str(image.dtype),
        pixel_size=image.pixel_size,
        minimum=_floats(np.min(minima, axis=0)),
        maximum=_floats(np.max(maxima, axis=0)),
        low=_floats(limits[:, 0]),
        high=_floats(limits[:, 1]),
        sha256=digest.hexdigest(),
        notes=image.notes,
    )


def image_notes(dataset: Dataset) -> dict[str, list[str]]:
    """What was done or taken for granted when images were opened, with the ids of the images.

    Only headers are read, of images in files of their own; others have no notes.
    """
    files = ((r.id, r.image) for r in dataset if isinstance(r.image, FileImage))
    return _noted((id, lambda image=image: image.open().notes) for id, image in files)


def label_notes(dataset: Dataset) -> dict[str, list[str]]:
    """The same of labels, and of pictures of classes, in files of their own."""
    files = (
        (record.id, source.path)
        for record in dataset
        for source in (record.label, record.types)
        if isinstance(source, FileLabel | TypesFile)
    )
    return _noted((id, lambda path=path: notes_on_labels(path)) for id, path in files)


def _noted(read: Iterable[tuple[str, Callable[[], tuple[str, ...]]]]) -> dict[str, list[str]]:
    """Ids by note; what cannot be read is named where it is needed, and by `check`."""
    found: dict[str, list[str]] = {}
    for id, notes in read:
        with suppress(InputError):
            for note in notes():
                found.setdefault(note, []).append(id)
    return found


def measure_label(labels: NDArray[np.int32]) -> LabelFacts:
    """Object areas, and how many objects share an edge with another one."""
    values, counts = fastremap.unique(labels, return_counts=True)
    objects = values > 0
    known = int(labels.size - counts[values < 0].sum())
    return LabelFacts(
        shape=(labels.shape[0], labels.shape[1]),
        areas=tuple(int(count) for count in counts[objects]),
        foreground=float(counts[objects].sum() / max(known, 1)),
        unknown=1 - known / labels.size,
        touching=len(_touching(labels)),
    )


def measure_regions(classes: NDArray[np.int32]) -> RegionFacts:
    """Count the pixels of each number."""
    values, counts = np.unique(classes, return_counts=True)
    height, width = classes.shape
    pixels = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    return RegionFacts((height, width), pixels)


def _touching(labels: NDArray[np.int32]) -> set[int]:
    found: set[int] = set()
    for first, second in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        border = (first != second) & (first > 0) & (second > 0)
        found.update(np.unique(first[border]).tolist(), np.unique(second[border]).tolist())
    return found


def _strips(image: Image) -> Iterator[NDArray]:
    height, width = image.shape
    row_bytes = width * len(image.channels) * image.dtype.itemsize
    rows = max(1, STRIP_BYTES // row_bytes)
    for top in range(0, height, rows):
        yield image.read(Region(top, 0, min(top + rows, height), width))


def _measure_source(
    source: LabelSource, image: Image | None, findings: list[Finding]
) -> LabelFacts:
    if isinstance(source, FileLabel):
        read = read_label_file(source.path, ignore=source.ignore)
        findings += [Finding("warning", what, detail) for what, detail in doubts(read.values)]
        if image is not None and equals_image(read.labels, image):
            findings.append(Finding("error", "label cannot be used", LABEL_IS_IMAGE))
        return replace(measure_label(read.labels), notes=read.notes)
    if not isinstance(source, MaskFolder | MaskFiles | RunLengths):
        return measure_label(source.read())
    masks = source.read_masks()
    if masks.overlapping:
        detail = f"{masks.overlapping} px; they go to the smaller object"
        findings.append(Finding("warning", "masks of objects overlap", detail))
    if masks.empty:
        findings.append(
            Finding("warning", "mask file without an object", ", ".join(masks.empty[:3]))
        )
    return measure_label(masks.labels)


def _image_findings(image: ImageFacts, crop: int | None) -> Iterator[Finding]:
    zero = [
        name
        for name, low, high in zip(image.channels, image.minimum, image.maximum, strict=True)
        if low == high == 0
    ]
    flat = [
        name
        for name, low, high in zip(image.channels, image.minimum, image.maximum, strict=True)
        if low == high != 0
    ]
    if zero and len(zero) == len(image.channels):
        yield Finding("warning", "image is zero everywhere", "nothing can be learnt from it")
    elif zero:
        yield Finding("warning", "a channel is zero everywhere", ", ".join(zero))
    if flat:
        yield Finding("warning", "a channel has the same value everywhere", ", ".join(flat))
    sparse = [
        name
        for at, name in enumerate(image.channels)
        if image.low[at] == image.high[at] and image.minimum[at] < image.maximum[at]
    ]
    if sparse:
        yield Finding(
            "warning",
            "a channel is flat but for a few pixels",
            f"{', '.join(sparse)}; it is rescaled from its lowest to its highest value",
        )
    if crop is not None and min(image.shape) < crop:
        yield Finding(
            "warning",
            "image is smaller than the crop",
            f"{image.shape[0]}×{image.shape[1]} px, crop {crop} px; it will be padded",
        )


def _label_findings(image: ImageFacts, label: LabelFacts) -> Iterator[Finding]:
    yield from _size_findings(image, label.shape)
    if label.unknown == 1:
        yield Finding("warning", "label is unknown everywhere", "it teaches nothing")
    elif not label.areas:
        yield Finding(
            "warning", "label has no object", "right if there is none; else remove the file"
        )
    specks = sum(area <= SPECK for area in label.areas)
    if specks:
        yield Finding(
            "warning",
            f"label has objects of at most {SPECK} px",
            f"{specks} of {len(label.areas)}",
        )


def _size_findings(image: ImageFacts, shape: tuple[int, int]) -> Iterator[Finding]:
    if shape != image.shape:
        yield Finding(
            "error",
            "label and image differ in size",
            f"image {image.shape[0]}×{image.shape[1]} px, label {shape[0]}×{shape[1]} px",
        )


def _floats(values: NDArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
