"""What a package's description says of how pixels reach its network."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from abbe.imaging import Scaling

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """A part of the description: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Normalisation(Part):
    """How stored pixels become the values from 0 to 1 that the network takes.

    ``percentile``: 0 at the lower, 1 at the upper percentile, clipped. Percentiles (0 to 100) are
    those of the whole image as stored, each channel by itself; of kind ``tile_percentile``, those
    of each tile, as though it were an image of its own. ``range`` and ``none`` (format 4) look at
    no image: see `abbe.imaging.Scaling`.
    """

    kind: Literal["percentile", "tile_percentile", "range", "none"] = "percentile"
    low: Annotated[float, Field(ge=0, le=100)] = 1.0
    high: Annotated[float, Field(ge=0, le=100)] = 99.8

    @property
    def scaling(self) -> Scaling:
        """What is done to an image, or to a tile as though it were one."""
        kind = "percentile" if self.kind == "tile_percentile" else self.kind
        return Scaling(kind, self.low, self.high)

    @property
    def words(self) -> str:
        """For people: what becomes 0 and 1."""
        if self.kind == "range":
            return "what the pixel type holds, such as 0 to 255, becomes 0 to 1"
        if self.kind == "none":
            return "values lie in 0 to 1 as they are"
        part = "tile" if self.kind == "tile_percentile" else "image"
        return f"percentiles {self.low:g} to {self.high:g} of each {part} and channel become 0 to 1"


class Standardised(Part):
    """What the network itself does to images from 0 to 1, first of all: (image − mean) / std.

    It is told for information; whoever runs the network must not do it again.
    """

    mean: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=256)]
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _alike(self) -> "Standardised":
        if len(self.mean) != len(self.std):
            raise ValueError("standardised: mean and std need as many values as each other")
        return self
