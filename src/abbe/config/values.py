"""Kinds of values that several sections hold."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from abbe.remote.alike import as_path, plain

Fraction = Annotated[float, Field(ge=0, le=1)]
Place = Annotated[Path, BeforeValidator(plain), AfterValidator(as_path), PlainSerializer(str)]
"""A file or folder of this machine, or behind a URL."""
Switch = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads a bare off as false."""
Option = Annotated[
    bool | int | float | str,
    BeforeValidator(lambda value: {"true": True, "false": False}.get(str(value), value)),
]
"""On the command line true is as good as True."""
