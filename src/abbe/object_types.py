"""Types of objects: how the maps of a network that tells them apart are called."""

from collections.abc import Iterable

PREFIX = "type:"
"""What stands before a type's name in that of its map."""


def type_maps(names: Iterable[str]) -> tuple[str, ...]:
    """The names of the maps of these types.

    >>> type_maps(["tumour", "other"])
    ('type:tumour', 'type:other')
    """
    return tuple(f"{PREFIX}{name}" for name in names)


def types_in(maps: Iterable[str]) -> tuple[str, ...]:
    """The types among the names of maps, in order.

    >>> types_in(["foreground", "boundary", "type:tumour"])
    ('tumour',)
    """
    return tuple(name.removeprefix(PREFIX) for name in maps if name.startswith(PREFIX))


def shape_maps(maps: Iterable[str]) -> tuple[str, ...]:
    """The names of the others: foreground and boundary."""
    return tuple(name for name in maps if not name.startswith(PREFIX))
