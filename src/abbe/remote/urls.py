"""URLs: which texts are some, and how they are printed without what is secret in them."""

import os
import re
from pathlib import PurePath

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "https", "http")
"""What can be read; all but the last two can be written to, too."""

_SCHEME = "|".join(SCHEMES)
_URL = re.compile(rf"({_SCHEME}):/{{1,2}}(?=[^/])")
# What stands before the @ of az and abfs is a container, unless there is a colon in it.
_LOGIN = re.compile(
    rf"\b(https?:/{{1,2}})[^\s/@'\"]+@|\b((?:{_SCHEME}):/{{1,2}})[^\s/@'\":]*:[^\s/@'\"]*@"
)
# Names in s3 and gs may hold question marks.
_QUERY = re.compile(r"\b((?:https?|az|abfss?):/{1,2}[^\s?'\"<>]+\?)(?!\*\*\*)[^\s'\"<>)]+")


def url_of(place: str | os.PathLike[str]) -> str | None:
    """The URL that a text or path means; None for what lies on this machine.

    pathlib makes one slash of two: ``Path("s3://lab/a.tif")`` is taken for the URL that it was.
    """
    text = place.as_posix() if isinstance(place, PurePath) else os.fspath(place)
    found = _URL.match(text)
    return None if found is None else f"{found[1]}://{text[found.end() :]}"


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether a text or path is a URL that is read through fsspec."""
    return url_of(place) is not None


_shown_as: dict[str, str] = {}


def show_as(folder: str, url: str) -> None:
    """Have a folder of this machine, that stands for a URL, printed as that."""
    _shown_as[folder] = url


def told(text: str) -> str:
    """A text for people: folders that stand for URLs are these, and nothing in it is secret."""
    for folder, url in _shown_as.items():
        text = text.replace(folder, url)
    return masked(text)


def masked(text: str) -> str:
    """A text whose URLs hold no password, no token and no signature.

    >>> masked("https://ann:word@host/a.tif?X-Amz-Signature=0a1b is not there")
    'https://***@host/a.tif?*** is not there'
    >>> masked("s3://lab/a.tif")
    's3://lab/a.tif'
    """
    without = _LOGIN.sub(lambda found: f"{found[1] or found[2]}***@", text)
    return _QUERY.sub(r"\1***", without)
