"""Tables that say the type of each object of a mask, and the maps that follow from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abbe.errors import ConfigError, InputError
from abbe.files.tables import read_csv
from abbe.imaging import inner_boundary
from abbe.object_types import type_maps


@dataclass(frozen=True)
class TypeTables:
    """Tables ``ID.csv`` with the columns label and class.

    Attributes:
        folder: where they lie.
        classes: the types in order.
    """

    folder: Path
    classes: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the maps."""
        return ("foreground", "boundary", *type_maps(self.classes))

    def maps(self, id: str, labels: np.ndarray, mask: Path) -> np.ndarray:
        """(2 + K, H, W) float32: foreground, boundary, and where objects of each type are.

        Beside pixels that nobody knows, which are below 0 in the labels, there is no boundary.

        Raises:
            InputError: the table is missing or damaged, names a class that is none, or lacks an
                object of the mask.
        """
        types = self._read(id, int(labels.max(initial=0)), mask)
        objects = np.maximum(labels, 0)
        if lacking := np.setdiff1d(objects, np.append(np.flatnonzero(types), 0)).tolist():
            raise InputError(
                f"{self.folder / id}.csv: says nothing of object {lacking[0]} of {mask.name}"
                f" ({len(lacking)} are missing). A line for each object is needed"
            )
        shapes = objects > 0, inner_boundary(labels)
        kinds = (types[objects] == number for number in range(1, len(self.classes) + 1))
        return np.stack([*shapes, *kinds]).astype(np.float32)

    def _read(self, id: str, most: int, mask: Path) -> np.ndarray:
        """(most + 1,) the number of each object's type, from 1; 0 where none is said."""
        path = self.folder / f"{id}.csv"
        if not path.is_file():
            raise InputError(f"{path}: the table of types of {mask.name} is missing")
        types = np.zeros(most + 1, np.int64)
        for line, row in enumerate(read_csv(path)[1], start=2):
            label, name = row.get("label", ""), row.get("class", "").removeprefix("'")
            if not label.isdigit() or not 1 <= int(label) <= most:
                raise InputError(
                    f"{path}, line {line}: '{label}' in the column label is no object of "
                    f"{mask.name}, whose objects are numbered 1 to {most}"
                )
            if name not in self.classes:
                raise InputError(
                    f"{path}, line {line}: '{name}' in the column class is none of "
                    f"{', '.join(self.classes)}"
                )
            types[int(label)] = self.classes.index(name) + 1
        return types


def type_tables(folder: Path, classes: Sequence[str] | str) -> TypeTables:
    """The tables in a folder; classes may be one text with commas.

    Raises:
        InputError: there is no such folder.
        ConfigError: fewer than two classes are named.
    """
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    if len(classes) < 2:
        raise ConfigError(
            "types: name what the tables' column class may hold, such as classes: tumour, other"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of tables of types")
    return TypeTables(folder, tuple(classes))
