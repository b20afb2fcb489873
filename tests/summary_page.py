"""Makes docs/summary.md from the types in abbe.summary: ``python tests/summary_page.py``."""

from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from abbe import summary

PAGE = Path(__file__).parents[1] / "docs" / "summary.md"
HEAD = """# summary.json

What a run, its evaluation on other data, or a label-efficiency curve came to. `abbe.summary` alone
writes and reads the file; reports, packages and Python read what it gives
(`abbe.summary.read_summary(folder)`). Keys that nobody gave are left out, and what is not defined
is null. `format` is {format}; files of earlier versions, which have no such key, are read too.

This page is made of the types in `src/abbe/summary/`: `python tests/summary_page.py`.
"""


def page() -> str:
    """The whole page: a table for each part of the file."""
    parts: dict[str, type[BaseModel]] = {}
    for whole in (summary.RunSummary, summary.CurveSummary):
        _gather(whole, parts)
    tables = [_table(name, part) for name, part in parts.items()]
    return "\n".join([HEAD.format(format=summary.FORMAT), *tables])


def _gather(part: type[BaseModel], parts: dict[str, type[BaseModel]]) -> None:
    parts[part.__name__] = part
    for field in part.model_fields.values():
        for inner in _models_in(field.annotation):
            if inner.__name__ not in parts:
                _gather(inner, parts)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _table(name: str, part: type[BaseModel]) -> str:
    doc = " ".join((part.__doc__ or "").split())
    rows = [
        f"| `{key}` | {_words(field.annotation)} | {' '.join((field.description or '').split())} |"
        for key, field in part.model_fields.items()
    ]
    return "\n".join([f"## {name}", "", doc, "", "| key | type | what it says |", "|---|---|---|",
                      *rows, ""])  # fmt: skip


def _words(annotation: object) -> str:
    """``dict[str, Score]`` → dict[str, Score], as a reader of JSON would say it."""
    if annotation is type(None):
        return "null"
    arguments = get_args(annotation)
    if not arguments:
        return getattr(annotation, "__name__", repr(annotation))
    origin = getattr(annotation, "__origin__", None)
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _words(arguments[0])
    if origin in (dict, list, tuple):
        return f"{origin.__name__}[{', '.join(map(_words, arguments))}]"
    if origin is None or str(origin) == "typing.Union":
        return " or ".join(map(_words, arguments))
    return " or ".join(map(repr, arguments))  # Literal


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
