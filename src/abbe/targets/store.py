"""Read a target store."""

import os
from collections.abc import Iterator

import numpy as np

from abbe.errors import StoreError
from abbe.in_words import counted
from abbe.notebooks import card, coloured, grey
from abbe.remote import as_path, as_remote
from abbe.targets.arrays import MapArray
from abbe.targets.entries import IDENTITY, Entry, View
from abbe.targets.index import read_index, read_provenance
from abbe.targets.kinds import KINDS, from_stored

LARGEST_SHOWN = 4_000_000
"""px of an answer that is shown in a notebook."""


class TargetStore:
    """The targets of one teacher, as they were when the store was opened.

    Picklable, and safe to use after a fork; a store that is being written can be read, and holds
    the images recorded so far.

    Args:
        path: the store's folder, or its URL: maps are then read one by one, without a copy.

    Raises:
        StoreError: it is no target store, is damaged, or has a format version unknown here.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path)
        self.provenance = read_provenance(self.path)
        self._views: dict[str, dict[View, Entry]] = {}
        for entry in read_index(self.path)[0]:
            self._views.setdefault(entry.id, {})[entry.view] = entry
        self._arrays: dict[str, MapArray] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The images, in the order they were taught."""
        return tuple(self._views)

    @property
    def empty_ids(self) -> tuple[str, ...]:
        """The images on which the teacher found nothing, in any of their views."""
        return tuple(
            id for id, views in self._views.items() if all(entry.empty for entry in views.values())
        )

    def __repr__(self) -> str:
        what = f"{counted(len(self), 'image')}, taught by {self.provenance.teacher}"
        return f"TargetStore('{self.path}', {what})"

    def _repr_html_(self) -> str:
        """The store in a notebook: a headline, its figures, and what was found in one image."""
        kinds = sorted({kind for entry in self for kind in entry.maps})
        figures = {
            "images": f"{len(self):,}, {len(self.empty_ids):,} of them empty",
            "maps": ", ".join(kinds) or "none",
            "channels seen": ", ".join(self.provenance.channels),
            "licence of the weights": self.provenance.weights_licence,
        }
        return card(f"Answers of {self.provenance.teacher}", figures, self._picture())

    def _picture(self) -> np.ndarray | None:
        """What was found in the first image where anything was, unless it is very large."""
        for entry in self:
            height, width = entry.shape
            if entry.view != IDENTITY or entry.empty or height * width > LARGEST_SHOWN:
                continue
            if "instances" in entry.maps:
                return coloured(self.read(entry.id, "instances"))
            if "probability" in entry.maps:
                return grey(self.read(entry.id, "probability")[0])
        return None

    def __fspath__(self) -> str:
        remote = as_remote(self.path)
        return os.fspath(self.path) if remote is None else remote.url

    def __len__(self) -> int:
        return len(self._views)

    def __contains__(self, id: object) -> bool:
        return id in self._views

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, all views of an image together."""
        for views in self._views.values():
            yield from views.values()

    def views(self, id: str) -> tuple[View, ...]:
        """The views in which the teacher saw an image."""
        return tuple(self._views_of(id))

    def entry(self, id: str, *, view: View = IDENTITY) -> Entry:
        """What is recorded of one view of an image.

        Raises:
            StoreError: the image, or this view of it, is not in the store.
        """
        views = self._views_of(id)
        if view not in views:
            raise StoreError(
                f"{self.path}: '{id}' is not there as {view}; its views are "
                + "; ".join(map(str, views))
            )
        return views[view]

    def kinds(self, id: str, *, view: View = IDENTITY) -> set[str]:
        """The kinds of map there are of an image."""
        return set(self.entry(id, view=view).maps)

    def read(self, id: str, kind: str, *, raw: bool = False, view: View = IDENTITY) -> np.ndarray:
        """One map; (K, H, W), or (H, W) for instances; height and width are those of the view.

        Args:
            id: the image.
            kind: ``probability`` float32 in [0, 1], ``instances`` int32, ``embedding`` or
                ``logits`` float32.
            raw: as stored instead: uint8 = round(255 p), uint32, float16.
            view: what part of the image.

        Raises:
            StoreError: there is no such map, or it is damaged; names image and file.
        """
        place = self.entry(id, view=view).maps.get(kind)
        if place is None:
            there = ", ".join(sorted(self.kinds(id, view=view))) or "none"
            raise StoreError(f"{self.path}: '{id}' has no {kind}; it has: {there}")
        try:
            values = self._array(place.array, kind).read(place.row)
        except StoreError as error:
            raise StoreError(f"{kind} of '{id}': {error}") from None
        return values if raw else from_stored(kind, values)

    def _views_of(self, id: str) -> dict[View, Entry]:
        try:
            return self._views[id]
        except KeyError:
            raise StoreError(f"{self.path}: '{id}' is not in this target store") from None

    def _array(self, name: str, kind: str) -> MapArray:
        if name not in self._arrays:
            array = MapArray(self.path, name)
            dtype, axes = KINDS[kind]
            if array.dtype != np.dtype(dtype) or len(array.map_shape) != len(axes):
                raise StoreError(
                    f"{self.path / name}: {array.dtype} maps of {array.map_shape}, but {kind} is "
                    f"{dtype} with axes ({', '.join(axes)})"
                )
            self._arrays[name] = array
        return self._arrays[name]
