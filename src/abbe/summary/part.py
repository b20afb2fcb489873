"""What the types of ``summary.json`` are made of."""

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Number = Annotated[
    float | None,
    BeforeValidator(lambda value: None if value is None or not math.isfinite(value) else value),
]
"""A finite number; None where it is not defined."""
Bounds = tuple[Number, Number]


class Part(BaseModel):
    """A part of the file. What this version does not know of it is passed over."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")
