"""Templates of pages that are one file and load nothing."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A page as text; a value that a template misses is an error, and text is escaped."""
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    return _files().get_template(template).render(style=style, **values)


@cache
def _files() -> Environment:
    """One for all pages of a process: it keeps its templates compiled."""
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
