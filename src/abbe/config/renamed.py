"""Keys of an experiment file by the names that earlier versions gave them: still read."""

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
