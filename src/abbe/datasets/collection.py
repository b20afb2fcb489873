"""Data sets: named records, each an image that can be opened and perhaps a label."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.imaging import Image, matching, open_image, read_labels
from abbe.imaging.labels.checks import equals_image
from abbe.imaging.pictures.thumbnail import thumbnail
from abbe.in_words import NAMED, counted, listing
from abbe.notebooks import card

SPLITS = ("train", "val", "test")
LABEL_IS_IMAGE = "the label has the same pixels as the image: name the folder of the masks"
Split = Literal["train", "val", "test"]


class ImageSource(Protocol):
    """Something that opens an image: a small frozen dataclass, so that it can be pickled."""

    def open(self) -> Image:
        """The lazy image; no pixels are read yet."""
        ...


class LabelSource(Protocol):
    """Something that reads a label: a small frozen dataclass, so that it can be pickled."""

    def read(self) -> NDArray[np.int32]:
        """The label, (H, W): 0 is background, 1, 2, … are instances, −1 is unknown."""
        ...


@dataclass(frozen=True)
class FileImage:
    """An image in a file or an OME-Zarr folder."""

    path: Path
    channels: tuple[str, ...] | None = None
    pixel_size: float | None = None
    override_pixel_size: float | None = None

    def open(self) -> Image:
        """Open the file; arguments are those of `open_image`."""
        return open_image(
            self.path,
            channels=self.channels,
            pixel_size=self.pixel_size,
            override_pixel_size=self.override_pixel_size,
        )


@dataclass(frozen=True)
class OneChannel:
    """An image whose one channel goes by another name."""

    source: ImageSource
    name: str

    def open(self) -> Image:
        """The image; where it has more channels after all, these keep their names."""
        image = self.source.open()
        return image.with_channels((self.name,)) if len(image.channels) == 1 else image


def _called(image: ImageSource, name: str) -> ImageSource:
    if isinstance(image, FileImage):  # it stays one: more is known of it
        return replace(image, channels=(name,))
    return OneChannel(image, name)


@dataclass(frozen=True)
class FileLabel:
    """A label in a file: instances, or a binary mask whose connected parts become instances.

    ``ignore`` is a number that means unknown; see `read_labels`.
    """

    path: Path
    ignore: int | None = None

    def read(self) -> NDArray[np.int32]:
        """The label, (H, W)."""
        return read_labels(self.path, ignore=self.ignore)


@dataclass(frozen=True)
class Record:
    """One image of a data set, with what is known about it.

    ``label`` is None where the image is unlabelled, ``split`` is None before splits are assigned.
    ``group`` names what must stay on one side of a split (a patient, slide or video); None means
    that the image stands alone. ``columns`` holds every column of the data set's own table; an
    image's class is in the column ``class``. ``types`` is a second label of the same size that says
    of each pixel which of the data set's classes it is: 1, 2, … in their order, 0 for none, −1 for
    unknown.
    """

    id: str
    image: ImageSource
    label: LabelSource | None = None
    split: str | None = None
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    types: LabelSource | None = None

    @property
    def unit(self) -> str:
        """The group, or the image itself where it has none: what splits and resampling move."""
        return self.id if self.group is None else self.group

    @property
    def annotated(self) -> bool:
        """Whether its pixels are known: which object each is of, or which class."""
        return self.label is not None or self.types is not None

    def without_labels(self) -> "Record":
        """The record with its label, its pixels' types and its class taken off."""
        columns = {key: value for key, value in self.columns.items() if key != "class"}
        return replace(self, label=None, types=None, columns=columns)


@dataclass(frozen=True, repr=False)
class Dataset:
    """A named, ordered collection of records that share their channels.

    ``notes`` are worth knowing; ``problems`` are what was amiss when the records were listed
    (`check` reports them, with what only reading the pixels shows). ``classes`` are the values that
    the column ``class`` may have, or what the numbers in ``types`` mean, in order. ``left_out``
    says by name of files that should have given records and could not be used, why not.

    Raises:
        InputError: Two records have the same id, a split is not train, val or test, or a class is
            none of ``classes``.
    """

    name: str
    records: tuple[Record, ...]
    channels: tuple[str, ...]
    simulated: bool = False
    licence: str = "not stated"
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for record in self.records:
            if record.id in seen:
                raise InputError(f"data set '{self.name}': two images have the id '{record.id}'")
            if record.split is not None and record.split not in SPLITS:
                raise InputError(
                    f"data set '{self.name}': image '{record.id}' has the split "
                    f"'{record.split}'; allowed are {', '.join(SPLITS)}"
                )
            own = record.columns.get("class", "")
            if self.classes and own and own not in self.classes:
                raise InputError(
                    f"data set '{self.name}': image '{record.id}' has the class '{own}', which is "
                    f"not in the list of classes: {', '.join(self.classes)}"
                )
            seen.add(record.id)

    def __repr__(self) -> str:
        channels = listing(self.channels, NAMED)
        return f"Dataset('{self.name}', {self._counted()}, channels {channels})"

    def _repr_html_(self) -> str:
        """The data set in a notebook: a headline, its figures, and one of its images."""
        splits = {name: len(self.split(name)) for name in SPLITS}
        figures = {
            "images": self._counted(),
            "channels": listing(self.channels, NAMED),
            "splits": ", ".join(f"{name} {count:,}" for name, count in splits.items() if count)
            or "not assigned",
            "licence": self.licence,
        }
        headline = f"{self.name} (simulated)" if self.simulated else self.name
        shown = next(iter(self.labelled or self), None)
        if shown is None:
            return card(headline, figures)
        try:
            image = shown.image.open()
            picture = thumbnail(image, label_of(shown, image))
        except InputError as error:
            return card(headline, {**figures, "first image": error})
        return card(headline, figures, picture)

    def _counted(self) -> str:
        return f"{counted(len(self), 'image')}, {len(self.annotated):,} labelled"

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, id: str) -> Record:
        try:
            return self._by_id[id]
        except KeyError:
            raise InputError(f"data set '{self.name}' has no image '{id}'") from None

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    @cached_property
    def _by_id(self) -> dict[str, Record]:
        return {record.id: record for record in self.records}

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(record.id for record in self.records)

    @property
    def labelled(self) -> "Dataset":
        """The records that have a label."""
        return self.having(record for record in self.records if record.label is not None)

    @property
    def annotated(self) -> "Dataset":
        """The records whose pixels are known, by a label or by types."""
        return self.having(record for record in self.records if record.annotated)

    @property
    def unlabelled(self) -> "Dataset":
        """The records that have no label."""
        return self.having(record for record in self.records if record.label is None)

    def having(self, records: Iterable[Record]) -> "Dataset":
        """The same data set with other records."""
        return replace(self, records=tuple(records))

    def without(self, names: Collection[str]) -> "Dataset":
        """The same data set without images and files of these names, as far as it has them."""
        rest = {name: why for name, why in self.left_out.items() if name not in names}
        records = tuple(record for record in self.records if record.id not in names)
        return replace(self, records=records, left_out=rest)

    def where(self, **columns: str) -> "Dataset":
        """The records whose columns have these values, such as ``where(kind="fluo")``.

        Several values of a column are separated by commas: ``where(kind="fluo,grey_bright")``.

        The channels are those of the records that are left: a folder may hold colour and grey.

        Raises:
            InputError: No record has such a column, none has one of the values, or none has those
                of all columns.
        """
        for name in columns:
            if self.records and not any(name in record.columns for record in self.records):
                known = sorted({known for record in self.records for known in record.columns})
                raise InputError(
                    f"data set '{self.name}' has no column '{name}'; "
                    f"its columns are: {', '.join(known) or 'none'}"
                )
        wanted = {name: self._wanted(name, values) for name, values in columns.items()}
        chosen = tuple(
            record
            for record in self.records
            if all(record.columns.get(name) in values for name, values in wanted.items())
        )
        if self.records and not chosen:
            raise self._without_such(columns)
        channels = channels_of(chosen) if chosen else self.channels
        return replace(self, records=chosen, channels=channels)

    def _wanted(self, column: str, values: str) -> tuple[str, ...]:
        """Each of the values, which some record must have; a value may hold a comma itself."""
        known = {record.columns.get(column) for record in self.records}
        if values in known:
            return (values,)
        parts = tuple(part.strip() for part in values.split(","))
        for part in parts:
            if self.records and part not in known:
                raise self._without_such({column: part})
        return parts

    def _without_such(self, columns: Mapping[str, str]) -> InputError:
        wanted = ", ".join(f"{name} = {value}" for name, value in columns.items())
        return InputError(
            f"data set '{self.name}' has no image with {wanted}; {self._values_of(columns)}"
        )

    def _values_of(self, columns: Iterable[str]) -> str:
        """What the columns do hold, for a message."""
        parts: list[str] = []
        for name in columns:
            values = sorted({record.columns.get(name, "") for record in self.records})
            more = ", …" if len(values) > 10 else ""
            parts.append(f"column '{name}' holds: {', '.join(values[:10])}{more}")
        return "; ".join(parts)

    def split(self, name: Split) -> "Dataset":
        """The records of one split; empty where there are none.

        Raises:
            InputError: ``name`` is not train, val or test.
        """
        if name not in SPLITS:
            raise InputError(f"there is no split '{name}'; allowed are {', '.join(SPLITS)}")
        return self.having(record for record in self.records if record.split == name)

    def seen_as(self, wanted: Iterable[str]) -> "Dataset":
        """The same data set, its one channel called as the only one that is wanted; a note says so.

        It stays as it is where the names fit already, or where there is more than one channel.
        """
        names = tuple(dict.fromkeys(wanted))
        if matching(self.channels, names) in (None, names):
            return self
        note = f"the one channel of its images, {self.channels[0]}, is taken for {names[0]}"
        records = tuple(replace(r, image=_called(r.image, names[0])) for r in self.records)
        return replace(self, records=records, channels=names, notes=(*self.notes, note))

    def with_splits(self, splits: Mapping[str, str]) -> "Dataset":
        """The same data set with the split of each id in ``splits``; the others get None.

        Raises:
            InputError: ``splits`` names an image that is not there, or an unknown split.
        """
        for id in splits:
            self[id]
        return self.having(replace(record, split=splits.get(record.id)) for record in self.records)


def channels_of(records: Iterable[Record]) -> tuple[str, ...]:
    """The channels of the first image that opens; only headers are read.

    Damaged images before it are passed over here, because `check` names them all.

    Raises:
        InputError: There is no image, or none opens (the first one's message).
    """
    first: InputError | None = None
    for record in records:
        try:
            return record.image.open().channels
        except InputError as error:
            first = first or error
    raise first or InputError("a data set needs at least one image")


def label_of(record: Record, image: Image) -> NDArray[np.int32] | None:
    """The record's label, (H, W) as its image; None without one.

    Raises:
        InputError: It differs in size from the image, is the image itself, or cannot be read.
    """
    if record.label is None:
        return None
    label = record.label.read()
    if label.shape != image.shape:
        raise InputError(
            f"{record.id}: the label is {label.shape[0]} x {label.shape[1]} px but the image "
            f"{image.shape[0]} x {image.shape[1]}: export the label at the image's size"
        )
    if equals_image(label, image):
        raise InputError(f"{record.id}: {LABEL_IS_IMAGE}")
    return label
