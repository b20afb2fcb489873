"""Counts and faults in messages: 1 image, 2 images; what many images have in common stands once."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice

NAMED = 20
"""Images with the same fault, or channels, that a message names before it counts the rest."""


def counted(count: object, noun: str) -> str:
    """A whole number with its noun.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listing(names: Iterable[str], limit: int = 5) -> str:
    """The first few names and how many more there are.

    >>> listing("abcd", 2)
    'a, b and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def faults(reasons: Mapping[str, str], most: int | None = None) -> list[str]:
    """Lines on what is wrong with images, a fault that several share only once.

    Args:
        reasons: by the image's name, which the reason may hold, too.
        most: different faults that are told; all where None.

    >>> faults({"a.png": "a.png: it is empty", "b.png": "b.png: it is empty", "c.png": "it is cut"})
    ['  a.png: it is empty', '    and so 1 more: b.png', '  c.png: it is cut']
    """
    alike: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(_without(name, reason), []).append(name)
    lines: list[str] = []
    for names in islice(alike.values(), most):
        first = names[0]
        said = reasons[first]
        lines.append(f"  {said}" if said.startswith(first) else f"  {first}: {said}")
        if names[1:]:
            lines.append(f"    and so {len(names) - 1:,} more: {listing(names[1:], NAMED)}")
    rest = list(alike.values())[len(alike) if most is None else most :]
    if rest:
        lines.append(f"  … and {counted(sum(map(len, rest)), 'image')} more")
    return lines


def _without(name: str, reason: str) -> str:
    """The reason with … for the image's name, the first time that it stands there as a word.

    A folder on the way to the file, and a part of a folder's name, are other words.

    >>> _without("7", "/run-7/7/7.png is cut")
    '/run-7/7/….png is cut'
    """
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w/\\-])", "…", reason, count=1)
