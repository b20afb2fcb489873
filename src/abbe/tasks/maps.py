"""Maps of objects: what networks and stored answers say of an image, and where to cut."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from abbe import scoring, students
from abbe.datasets import Dataset, Record, spread
from abbe.datasets.collection import Split
from abbe.errors import InputError
from abbe.imaging import Image, Region, Scaling, normalise
from abbe.object_types import type_maps, types_in
from abbe.runtime.postprocess.instances import instances_from_maps
from abbe.runtime.tiling.rescaling import reader, seen_at, to_shape
from abbe.summary import OBJECTS, Thresholds
from abbe.targets import TargetStore

THRESHOLD_IMAGES = 48
"""Thresholds are chosen on so many labelled images, the first of `abbe.datasets.spread`; their maps
fit in memory."""


@dataclass(frozen=True)
class Maps:
    """What a model says of one image: probabilities, or instances outright; each (H, W)."""

    foreground: np.ndarray
    boundary: np.ndarray | None = None
    instances: np.ndarray | None = None
    types: np.ndarray | None = None
    """(K, H, W) of objects' types, where they are told apart."""
    type_names: tuple[str, ...] = ()
    bare: bool = False
    """Whether there are instances alone; the foreground is drawn from them, and cannot be cut."""

    def mask(self, thresholds: Thresholds) -> np.ndarray:
        """Foreground, bool."""
        return self.foreground >= thresholds.mask

    def objects(self, thresholds: Thresholds, minimum_area: int) -> np.ndarray:
        """Instances, int32."""
        if self.instances is not None:
            return self.instances
        return instances_from_maps(
            self.foreground,
            self.boundary,
            threshold=thresholds.foreground,
            boundary_threshold=thresholds.boundary,
            minimum_area=minimum_area,
        )


class Model(Protocol):
    """Anything that can be scored."""

    def has(self, record: Record) -> bool:
        """Whether there is an answer for this image."""
        ...

    def predict(self, record: Record) -> Maps:
        """The answer for this image."""
        ...


class _Kept:
    """A network's first answers: thresholds, temperatures, scores and examples ask for them again.

    They stay in this process: a copy for another one begins with none.
    """

    MOST = 1 << 25
    """Bytes of all maps."""

    def __init__(self) -> None:
        self._maps: dict[str, tuple[object, Maps]] = {}
        self._room = self.MOST

    def of(self, record: Record, answer: Callable[[], Maps]) -> Maps:
        """The answer for a record, which is asked for where it is not kept."""
        image, maps = self._maps.get(record.id, (None, None))
        if maps is None or image is not record.image:
            maps = answer()
            size = sum(each.nbytes for each in vars(maps).values() if isinstance(each, np.ndarray))
            if image is None and size <= self._room:
                self._room -= size
                self._maps[record.id] = record.image, maps
        return maps

    def __reduce__(self) -> tuple[type["_Kept"], tuple[()]]:
        return _Kept, ()


@dataclass(frozen=True)
class NetworkModel:
    """A network, the channels it reads, and how their pixels become values from 0 to 1."""

    network: students.UNet
    outputs: tuple[str, ...]
    input_channels: tuple[str, ...]
    scaling: Scaling
    pixel_size: float | None
    """µm per px that it was trained at; images are resampled to it. None: not known."""
    _kept: _Kept = field(default_factory=_Kept, init=False, compare=False, repr=False)

    def has(self, record: Record) -> bool:
        """A network answers for every image."""
        return True

    def predict(self, record: Record) -> Maps:
        """Normalise the image as in training, resample it, and run the network on it.

        Asked for again, an image has the same arrays again, so the network must not be trained on.

        Raises:
            InputError: the image has no pixel size where the network has one, or another by far.
        """
        return self._kept.of(record, lambda: self.predict_image(record.image.open()))

    def predict_image(self, image: Image) -> Maps:
        """As `predict`."""
        maps = to_shape(students.predict(self.network, self.seen(image)), image.shape)
        return maps_of_outputs(maps, self.outputs)

    def seen(self, image: Image) -> np.ndarray:
        """(C, h, w) float32 of an image: its channels, normalised, at the network's pixel size.

        Raises:
            InputError: the image has no pixel size where the network has one, or another by far.
        """
        grid = seen_at(image, self.pixel_size)
        if not grid.scaled:
            pixels = image.read(channels=self.input_channels)
            return normalise(pixels, self.scaling.limits(pixels, image.source))
        limits = self.scaling.image_limits(image, self.input_channels)
        return reader(image, self.input_channels, limits, grid)(Region(0, 0, *grid.shape))


@dataclass(frozen=True)
class StoredModel:
    """A teacher, through what it left in a target store."""

    store: TargetStore

    def has(self, record: Record) -> bool:
        """Only images that were taught have an answer."""
        return record.id in self.store.ids

    def predict(self, record: Record) -> Maps:
        """Read the maps; instances alone give a foreground of zeros and ones."""
        return self.read(record.id)

    def read(self, id: str) -> Maps:
        """As `predict`, of the image of an id."""
        kinds = self.store.kinds(id)
        instances = self.store.read(id, "instances") if "instances" in kinds else None
        if "probability" in kinds:
            maps = self.store.read(id, "probability")
            return replace(
                maps_of_outputs(maps, self.store.provenance.outputs), instances=instances
            )
        if instances is None:
            raise InputError(
                f"{self.store.path}: holds {', '.join(sorted(kinds))} of '{id}', but no "
                "probability map and no instances, so it cannot be scored as a segmentation"
            )
        return Maps((instances > 0).astype(np.float32), instances=instances, bare=True)


def maps_of_outputs(maps: np.ndarray, outputs: Sequence[str]) -> Maps:
    """Name the (K, H, W) maps of a network.

    Raises:
        InputError: none of them is called 'foreground'.
    """
    named: Mapping[str, np.ndarray] = dict(zip(outputs, maps, strict=True))
    if "foreground" not in named:
        raise InputError(
            f"a model gives {', '.join(outputs)} but no map called 'foreground': name its outputs "
            "with teacher.options, such as outputs: foreground"
        )
    names = types_in(outputs)
    types = np.stack([named[each] for each in type_maps(names)]) if names else None
    return Maps(named["foreground"], named.get("boundary"), types=types, type_names=names)


def predict(model: Model, record: Record, label: np.ndarray) -> Maps:
    """What a model says of an image whose label is known.

    Raises:
        InputError: the label has not the image's size.
    """
    maps = model.predict(record)
    if maps.foreground.shape != label.shape:
        raise InputError(
            f"{record.id}: the label is {label.shape} px but the image {maps.foreground.shape}"
        )
    return maps


def threshold_records(dataset: Dataset) -> tuple[str, list[Record]]:
    """The labelled images that choose thresholds, the same for every model, and of which split.

    They are validation images; where none of these has a label, training images must do. Never are
    they test images.

    Returns:
        ``validation``, ``training`` or ``default``, and the images: none of ``default``.
    """
    places: tuple[tuple[Split, str], ...] = (("val", "validation"), ("train", "training"))
    for split, chosen_on in places:
        labelled = dataset.split(split).labelled.records
        if labelled:
            return chosen_on, spread(labelled)[:THRESHOLD_IMAGES]
    return "default", []


def choose_thresholds(model: Model, dataset: Dataset, minimum_area: int = 16) -> Thresholds:
    """Where a model's maps are cut: at what is best on the images of `threshold_records`.

    Teacher, student and baselines are treated alike. A model without an answer for any of these
    images keeps the defaults. Of one that gives instances beside maps only the mask is cut, and of
    bare instances there is nothing to cut: ``chosen_on`` is ``objects`` then.

    Args:
        model: gives maps.
        dataset: with splits.
        minimum_area: objects below this many px are dropped, as they are when scored.
    """
    chosen_on, records = threshold_records(dataset)
    answered = [record for record in records if model.has(record)]
    labels = [record.label.read() for record in answered if record.label is not None]
    maps = [predict(model, record, label) for record, label in zip(answered, labels, strict=True)]
    if not maps:
        return Thresholds()
    soft = [(each, label) for each, label in zip(maps, labels, strict=True) if not each.bare]
    if not soft:
        return Thresholds(chosen_on=OBJECTS)
    foregrounds, truths = [each.foreground for each, _ in soft], [label for _, label in soft]
    mask = scoring.choose_threshold(foregrounds, truths)
    if any(each.instances is not None for each in maps):
        return Thresholds(mask=mask, chosen_on=chosen_on)
    boundaries = [each.boundary for each, _ in soft if each.boundary is not None]
    best = scoring.choose_instance_thresholds(
        foregrounds,
        boundaries or None,
        truths,
        thresholds=(0.35, 0.5, 0.65),
        # A student that matches probabilities is seldom sure of a line one pixel wide.
        boundary_thresholds=(0.1, 0.15, 0.2, 0.35, 0.5, 0.65),
        minimum_area=minimum_area,
    )
    return Thresholds(
        mask=mask,
        foreground=best.threshold,
        boundary=best.boundary_threshold,
        chosen_on=chosen_on,
    )
