"""Write what was found to files: outlines for QuPath, measurements for spreadsheets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from abbe.errors import InputError
from abbe.imaging.pictures.legend import class_colour
from abbe.napari.finding import Found, Search, measured
from abbe.runtime.predictors.prompted import as_field
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.writing.geojson import FeatureProperties, write_geojson
from abbe.runtime.writing.outlines import outlines
from abbe.runtime.writing.table import write_table

TABLE, OUTLINES = ".csv", ".geojson"


def fingerprint(labels: np.ndarray) -> str:
    """Tells whether labels were edited since."""
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()


def files_of(folder: Path, name: str, search: Search) -> list[Path]:
    """The files that `save` writes: one table, and outlines for each slice.

    Args:
        folder: where they go.
        name: of the layer; letters that no file has become "_".
        search: what was searched.
    """
    stem = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(" .") or "objects"
    return [
        folder / f"{stem}{TABLE}",
        *(folder / f"{stem}{ending}{OUTLINES}" for ending, _, _ in _slices(search)),
    ]


def save(
    folder: Path,
    name: str,
    search: Search,
    found: Found,
    labels: np.ndarray,
    *,
    edited: bool,
    own: Collection[Path] = (),
) -> list[Path]:
    """Write the objects of a labels layer.

    Args:
        folder: where files go; it is made if it is missing.
        name: of the layer.
        search: what was searched.
        found: what was found, whose table is written unless labels were edited.
        labels: of the layer as it is now, of the shape of ``found.labels``.
        edited: whether they are others than were found; they are then measured anew.
        own: files that may be written over.

    Returns:
        The files. Objects of a package that tells types keep theirs while they keep their number.

    Raises:
        InputError: a file is there already, labels are negative, or the folder cannot be written.
    """
    files = files_of(folder, name, search)
    if taken := [path for path in files if path.exists() and path not in own]:
        raise InputError(f"{taken[0]}: is there already. Choose another folder, or move the file")
    if labels.min(initial=0) < 0:
        raise InputError(f"{name}: labels are 0 or above; this layer has {labels.min()}")
    labels = labels.astype(np.int32, copy=False)
    table = _with_types(measured(search, labels), found.table) if edited else found.table
    classes = search.package.description.classes
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_table(files[0], table)
        for path, (_, place, told) in zip(files[1:], _slices(search), strict=True):
            one = as_field(labels[place], int(labels[place].max(initial=0)))
            write_geojson(
                path,
                outlines(one, Inline(), 1),
                pixel_size=search.pixel_size,
                classification=classes[0] if len(classes) == 1 else None,
                properties_of=_class_of(table, classes),
                table=_of_slice(table, told),
            )
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}). Choose another folder"
        ) from error
    return files


def _with_types(
    table: dict[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The table with the types of objects that still have the number they were found with.

    Objects that were drawn since have no class, and 0 for the probability of each.
    """
    if "class" not in found:
        return table
    columns = ["class", *(name for name in found if name.startswith("probability_"))]
    _, here, there = np.intersect1d(table["label"], found["label"], return_indices=True)
    for name in columns:
        table[name] = np.zeros(len(table["label"]), found[name].dtype)  # text: ""
        table[name][here] = found[name][there]
    return table


def _class_of(
    table: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Callable[[int], FeatureProperties | None] | None:
    """From an object's number to its class and colour; None where objects have no types."""
    if "class" not in table:
        return None
    named = dict(zip(table["label"].tolist(), table["class"].tolist(), strict=True))

    def told(number: int) -> FeatureProperties | None:
        name = named[number]
        return FeatureProperties(name, class_colour(classes.index(name))) if name else None

    return told


def _of_slice(table: dict[str, np.ndarray], slices: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The rows of one slice, without the columns that say which it is."""
    own = np.ones(len(table["label"]), bool)
    for name, at in slices.items():
        own &= table[name] == at
    return {name: values[own] for name, values in table.items() if name not in slices}


def _slices(search: Search) -> Iterator[tuple[str, tuple[int, ...], dict[str, int]]]:
    """Of each slice what is added to names, its place in the result, and what the table says."""
    channel = search.channels[0]
    names = [channel.layer.axis_labels[axis] for axis in channel.axes[:-2]]
    for number, position in enumerate(search.positions):
        place = tuple(int(at) for at in np.unravel_index(number, search.shape[:-2]))
        ending = "".join(f".{name}{at}" for name, at in zip(names, position, strict=True))
        told = {f"slice {name}": at for name, at in zip(names, position, strict=True)}
        yield ending, place, told
