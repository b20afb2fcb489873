"""Kinds of values that several sections hold."""

from typing import Annotated

from pydantic import BeforeValidator, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Switch = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads a bare off as false."""
Option = Annotated[
    bool | int | float | str,
    BeforeValidator(lambda value: {"true": True, "false": False}.get(str(value), value)),
]
"""On the command line true is as good as True."""
