"""What was probably meant: a known name, or a file, that is like one that is not there."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MOST_FILES = 5000
"""Of a folder, how many names are looked at: comparing takes about 10 µs each."""


def meant(word: str, known: Iterable[str]) -> str:
    """A sentence that ends a message about an unknown name; empty where none is like it.

    >>> meant("cmdk", ["cmkd", "rckd", "supervised"])
    " Did you mean 'cmkd'?"
    >>> meant("unet_resnet-18", ["unet-resnet18", "unet-resnet50"])
    " Did you mean 'unet-resnet18'?"
    >>> meant("tree", ["cmkd"])
    ''
    """
    found = nearest(word, known)
    return "" if found is None else f" Did you mean '{found}'?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name most like ``word``, whatever its case, hyphens and underscores; None: none is."""
    from difflib import get_close_matches  # here, since every start of the command line comes by

    plain = {_plain(name): name for name in known}
    found = get_close_matches(_plain(word), plain, 1, cutoff=0.65)
    return plain[found[0]] if found else None


def meant_beside(path: str | os.PathLike[str], names: Iterable[str] = ()) -> str:
    """A sentence that ends a message about a path that is not there; empty where it is, too.

    Of ``tisue/images`` the first part that is not there was mistyped: ``tissue/images``.

    Args:
        path: what was given.
        names: that might have been meant instead, such as those of packages; files go first.
    """
    if (told := getattr(path, "told_missing", None)) is not None:
        return told()  # of what lies behind a URL
    given = Path(path)
    if os.path.exists(given):
        return ""
    lacking = given
    while lacking.parent != lacking and not os.path.exists(lacking.parent):
        lacking = lacking.parent
    found = nearest(lacking.name, _inside(lacking.parent))
    if found is None:
        return meant(os.fspath(path), names)
    instead = lacking.with_name(found)
    whole = instead / given.relative_to(lacking)
    chosen = whole if os.path.exists(whole) else instead
    return f" Did you mean {chosen}{os.sep if os.path.isdir(chosen) else ''}?"


def _inside(folder: Path) -> list[str]:
    """Names in a folder, but for hidden ones; none where it may not be looked into."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, MOST_FILES) if entry.name[0] != "."]
    except OSError:
        return []


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
