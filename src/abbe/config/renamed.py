"""Keys of an experiment file by other names that are read: earlier ones, and short ones."""

from collections.abc import Mapping
from typing import Any

from abbe.errors import ConfigError

RENAMED = {
    "student.sees": "student.input_channels",
    "teacher.sees": "teacher.input_channels",
}
"""Today's name of a key by the earlier one, in the same section."""


def with_new_names(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values of an experiment file by today's names, and a note for each that was renamed.

    >>> with_new_names({"student": {"sees": ["nucleus"]}})
    ({'student': {'input_channels': ['nucleus']}}, ['student.sees is student.input_channels today'])

    Raises:
        ConfigError: a key stands there under both names.
    """
    current, notes = dict(values), []
    for old, new in RENAMED.items():
        section, earlier = old.split(".")
        name = new.split(".")[1]
        held = current.get(section)
        if not isinstance(held, Mapping) or earlier not in held:
            continue
        if name in held:
            raise ConfigError(f"{old}: {new} says the same today. Take {old} out")
        current[section] = {name if key == earlier else key: held[key] for key in held}
        notes.append(f"{old} is {new} today")
    return current, notes


def with_teachers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an experiment file with ``teachers: [a.zarr, b.zarr]`` as keys of ``teacher``.

    >>> with_teachers({"teachers": ["a.zarr", "b.zarr"]})
    {'teacher': {'kind': 'store', 'path': 'a.zarr', 'also': ['b.zarr']}}

    Raises:
        ConfigError: it is no list of stores, or ``teacher`` names one, too.
    """
    if "teachers" not in values:
        return dict(values)
    current = dict(values)
    places = current.pop("teachers")
    if not isinstance(places, list | tuple) or not places:
        raise ConfigError(
            f"teachers: must list target stores, such as [a.zarr, b.zarr] (it is {places!r})"
        )
    teacher = current.get("teacher") or {}
    if not isinstance(teacher, Mapping) or {"kind", "path", "also"} & teacher.keys():
        raise ConfigError("teachers: names them all. Take teacher.kind, path and also out")
    first, *others = (str(place) for place in places)
    also = {"also": others} if others else {}
    current["teacher"] = {"kind": "store", "path": first, **also, **teacher}
    return current
