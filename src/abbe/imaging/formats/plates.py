"""Plates of OME-Zarr (HCS): which fields of view they hold, and what these are called."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abbe.errors import InputError, RemoteError
from abbe.files import parse_json


def is_plate(path: Path) -> bool:
    """Whether the folder is a plate, and not an image."""
    return "plate" in _attributes(path)


def fields_of(plate: Path) -> dict[str, Path]:
    """The fields of view of a plate by name (A1_0: row A, column 1, field 0), well by well.

    Raises:
        InputError: Its metadata is damaged, or a well that it names is not there.
    """
    try:
        wells = [well["path"] for well in _attributes(plate)["plate"]["wells"]]
        fields = [
            plate / well / str(field["path"])
            for well in wells
            for field in _attributes(plate / well)["well"]["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{plate}: the plate's metadata does not say which wells and fields it has, or a well "
            f"is missing ({error!r}). Name a field of view, such as {plate / 'A' / '1' / '0'}."
        ) from error
    return {_name(field): field for field in fields}


def field_name(path: Path) -> str | None:
    """What a field of view of a plate is called; None for what is none."""
    path = path.absolute()
    return _name(path) if len(path.parts) > 3 and is_plate(path.parents[2]) else None


def _name(field: Path) -> str:
    row, column = field.parents[1].name, field.parents[0].name
    return f"{row}{column}_{field.name}"


def _attributes(folder: Path) -> Mapping[str, Any]:
    """What a zarr group says of itself; nothing where there is no group that can be read."""
    for name in ("zarr.json", ".zattrs"):
        try:
            found = parse_json((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RemoteError):  # of a bucket one may see a part alone
            continue
        attributes = found.get("attributes", {}) if name == "zarr.json" else found
        ome = attributes.get("ome")
        return ome if isinstance(ome, Mapping) else attributes
    return {}
