"""Images prepared for training once: decoded pixels, normalisation limits, targets."""

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from abbe.datasets.collection import Record, label_of
from abbe.errors import AbbeWarning, InputError, StoreError
from abbe.imaging import PERCENTILE, Image, Region, Scaling, matching, normalise
from abbe.targets import TargetStore

MEMORY_LIMIT = 4 << 30
"""Bytes of decoded pixels and targets that are kept in memory; beyond it, both are read crop by
crop."""


DARK = 1 / 8
"""Images whose brightest pixel is below are warned of: 12 bits in a 16-bit file are 1/16."""


@dataclass(frozen=True)
class StoredTarget:
    """A target that is read whenever a part of it is wanted, as an array would be.

    Attributes:
        store, id, kind: which map it is.
        shape: (K, H, W) of probabilities, (H, W) of instances.
    """

    store: TargetStore
    id: str
    kind: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> np.ndarray:
        return _raw_target(self.store, self.id, self.kind)[part]


@dataclass(frozen=True)
class Prepared:
    """A record ready for training.

    Attributes:
        id: the record's id.
        pixels: (C, H, W) in the file's own type, or the lazy image where memory is short.
        channels: names of the C channels.
        limits: (C, 2) what becomes 0 and 1 in the whole image.
        shape: height and width in px.
        pixel_size: µm, where it is known.
        label: (H, W) instances, −1 where unknown; None without a label.
        probability: (K, H, W) uint8 target, or where to read it; None without one.
        instances: (H, W) int32 target instances, where the teacher gives those instead.
        target_weight: how much the target counts, 1 in the mean of all images; None where all
            count alike.
        category: number of the image's class; −1 without one.
        types: (H, W) of each pixel the number of its object's type, from 1; others are not known.
            None where nothing is.
    """

    id: str
    pixels: np.ndarray | Image
    channels: tuple[str, ...]
    limits: np.ndarray
    shape: tuple[int, int]
    pixel_size: float | None = None
    label: np.ndarray | None = None
    probability: np.ndarray | StoredTarget | None = None
    instances: np.ndarray | StoredTarget | None = None
    target_weight: float | None = None
    category: int = -1
    types: np.ndarray | None = None

    @property
    def has_target(self) -> bool:
        """Whether the teacher left something to learn from."""
        return self.probability is not None or self.instances is not None

    def crop(self, region: Region) -> np.ndarray:
        """Normalised pixels of a region inside the image, (C, h, w) float32 in [0, 1]."""
        if isinstance(self.pixels, Image):
            # What a reader keeps, such as the whole of a PNG, goes with the copy.
            pixels = copy.copy(self.pixels).read(region, self.channels)
        else:
            pixels = self.pixels[:, region.top : region.bottom, region.left : region.right]
        return normalise(pixels, self.limits)

    def whole(self) -> np.ndarray:
        """All of the image, normalised, (C, H, W) float32 in [0, 1]."""
        return self.crop(Region(0, 0, *self.shape))


def prepare(
    records: Iterable[Record],
    channels: Sequence[str],
    *,
    scaling: Scaling = PERCENTILE,
    targets: TargetStore | None = None,
    types: Sequence[str] = (),
    classes: Sequence[str] = (),
    memory_limit: int = MEMORY_LIMIT,
) -> list[Prepared]:
    """Decode images, labels and targets once.

    Args:
        records: what to prepare, in order.
        channels: the channels to keep.
        scaling: how pixels become values from 0 to 1.
        targets: the teacher's outputs; records that it lacks or calls empty get no target.
        types: names of the types of objects to learn, by which pixels are numbered anew.
        classes: names of the data set's classes, which number them now.
        memory_limit: bytes of pixels and targets to hold; the rest stays on disk.

    Raises:
        InputError: a channel is missing, a label differs in size from its image, or pixels do not
            go with ``scaling``.
        StoreError: a target was made from other pixels or has another size than the image, or
            some targets are maps and others instances.
    """
    prepared, held, brightest = [], 0, 0.0
    for record in records:
        image = record.image.open()
        pixels = image.read(channels=channels)
        item = Prepared(
            id=record.id,
            pixels=pixels if held + pixels.nbytes <= memory_limit else copy.copy(image),
            channels=tuple(channels),
            limits=scaling.limits(pixels, image.source),
            shape=image.shape,
            pixel_size=image.pixel_size,
            label=label_of(record, image),
            types=types_of(record, image, types, classes) if types else None,
        )
        held += pixels.nbytes if item.pixels is pixels else 0
        if (found := _read_target(record.id, image, targets)) is not None:
            kind, target = found
            if held + target.nbytes <= memory_limit:
                held += target.nbytes
            else:
                assert targets is not None
                target = StoredTarget(targets, record.id, kind, target.shape)
            item = replace(item, **{kind: target})
        if scaling.kind != "percentile":
            brightest = max(brightest, float(normalise(_brightest(pixels), item.limits).max()))
        prepared.append(item)
    if prepared and scaling.kind != "percentile" and brightest < DARK:
        warnings.warn(
            f"the brightest pixel of {len(prepared)} images is {brightest:.1%} of what their type "
            f"can hold, so the network sees them almost black (12-bit values in 16-bit files?): "
            "--student.normalisation percentile stretches them",
            AbbeWarning,
            stacklevel=2,
        )
    if targets is not None:
        _require_one_kind(prepared, targets)
    return prepared


def types_of(
    record: Record, image: Image, types: Sequence[str], classes: Sequence[str]
) -> np.ndarray | None:
    """(H, W) uint8: 1 to K for the types that are named, 0 for others; None where none is known.

    Raises:
        InputError: the types differ in size from the image, or lie where no object is.
    """
    if record.types is None or record.label is None:
        return None
    found = record.types.read()
    if found.shape != image.shape:
        raise InputError(
            f"{record.id}: the types are {found.shape[0]} x {found.shape[1]} px but the image "
            f"{image.shape[0]} x {image.shape[1]}: export them at the image's size"
        )
    label = record.label.read()
    if (label > 0).any() and (found > 0).any() and not ((label > 0) & (found > 0)).any():
        raise InputError(
            f"{record.id}: none of its objects has a type: the picture of types marks other places "
            "than the label"
        )
    numbers = np.zeros(len(classes) + 2, np.uint8)  # the last stands for −1
    for number, name in enumerate(types, start=1):
        numbers[list(classes).index(name) + 1] = number
    return numbers[found]


def _brightest(pixels: np.ndarray) -> np.ndarray:
    return pixels.max((1, 2), keepdims=True)


def _require_one_kind(images: Sequence[Prepared], targets: TargetStore) -> None:
    maps = [image.id for image in images if image.probability is not None]
    instances = [image.id for image in images if image.instances is not None]
    if maps and instances:
        raise StoreError(
            f"{targets.path}: gives probability maps for some images (such as '{maps[0]}' here) "
            f"and instances for others (such as '{instances[0]}'): teach them all in one way"
        )


def _read_target(
    id: str, image: Image, targets: TargetStore | None
) -> tuple[str, np.ndarray] | None:
    """The kind of an image's target, and the target; None without one."""
    if targets is None or id not in targets or targets.entry(id).empty:
        return None
    entry = targets.entry(id)
    if entry.image_sha256 != image.sha256(_taught(image, targets)):
        raise StoreError(
            f"{targets.path}: the target of '{id}' was made from other pixels than the image has "
            "now. Teach this image again, or give the images that the teacher saw"
        )
    # Of a teacher that gives both, the soft maps say more.
    kind = "probability" if "probability" in targets.kinds(id) else "instances"
    target = _raw_target(targets, id, kind)
    if target.shape[-2:] != image.shape:
        raise StoreError(
            f"{targets.path}: the target of '{id}' is {target.shape[-2]} x {target.shape[-1]} px "
            f"but the image {image.shape[0]} x {image.shape[1]}: write a target of the image's size"
        )
    return kind, target


def _taught(image: Image, targets: TargetStore) -> tuple[str, ...]:
    """The image's channels that the teacher saw; it may have called the only one otherwise."""
    channels = targets.provenance.channels
    return matching(image.channels, channels) or channels


def _raw_target(targets: TargetStore, id: str, kind: str) -> np.ndarray:
    """As stored, but for instances, whose numbers stand beside labels: uint8, or int32."""
    target = targets.read(id, kind, raw=True)
    return target.astype(np.int32) if kind == "instances" else target
