"""What a request asks for, and the job that this is for `abbe.runtime`."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from abbe.errors import AbbeError
from abbe.imaging import Reading
from abbe.runtime.batch.many import check_outlining
from abbe.runtime.job import Job, Outlining, Result
from abbe.runtime.package import Package
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.tiling.cutting import check_diameter, check_scale
from abbe.service.limits import Refusal

Answer = Literal[
    "json", "geojson", "png", "tiff", "table", "probability", "overview", "dicom-seg", "dicom-ann",
]  # fmt: skip
RESULTS: dict[Answer, Result] = {
    "json": "table", "geojson": "geojson", "png": "labels", "tiff": "labels", "table": "table",
    "probability": "probability", "overview": "overview", "dicom-seg": "dicom-seg",
    "dicom-ann": "dicom-ann",
}  # fmt: skip
"""The result of `abbe predict` that an answer is, or is made of."""
MOST_PROMPTS = 10_000
"""Objects that one request asks for."""
_MOST_POINTS = 1000

Size = Annotated[FiniteFloat, Field(gt=0)]
_OPTION = re.compile(r"--([a-z][a-z-]*)")
_OWN_NAMES = {"results": "answer"}


class Asked(BaseModel):
    """The query of a request."""

    model_config = ConfigDict(extra="forbid")

    answer: Answer = Field(
        "json",
        description="json: what was found, in numbers. geojson: outlines, for QuPath. png, tiff: "
        "labels, one number an object (of regions: a class); png up to 65,535. table: CSV. "
        "probability: the maps as TIFF, 255 = certain. overview: a picture. Of DICOM "
        "images also dicom-seg, and of slides dicom-ann.",
    )
    name: str = Field(
        "",
        max_length=1000,
        description="The file's name, where the body is the image: its ending "
        "tells some formats apart (npz, NDPI).",
    )
    channels: list[str] = Field(
        [], max_length=1000, description="Names of all the image's channels, in order."
    )
    pixel_size: Size | SkipJsonSchema[None] = Field(
        None, description="µm per px, where the image does not say."
    )
    override_pixel_size: Size | SkipJsonSchema[None] = Field(
        None, description="µm per px, whatever the image says."
    )
    diameter: Literal["auto"] | Size | SkipJsonSchema[None] = Field(
        None, description="px across of the image's objects, instead of a pixel size; or auto."
    )
    simplify: Annotated[FiniteFloat, Field(ge=0)] = Field(
        0.0, description="px by which outlines may leave the pixels' edges."
    )
    minimum_area: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = Field(
        None, description="Of regions: px below which an area is not outlined."
    )
    class_name: str | SkipJsonSchema[None] = Field(
        None, max_length=200, description="Class of all objects in outlines."
    )
    all_tiles: bool = Field(
        False, description="Of slides: compute glass, ink and blur, too, which are left out else."
    )

    def job(self, package: Package, prompts: "Prompts | None") -> Job:
        """The job for one image.

        Args:
            package: What is to run.
            prompts: What was sent beside the image.

        Raises:
            Refusal: With the status 400: it does not fit the package.
        """
        prompted = package.description.traits.prompted
        if prompted and prompts is None:
            raise Refusal(
                400, "prompts: a promptable package must be shown each object: send "
                "multipart/form-data with the parts 'image' and 'prompts'",
            )  # fmt: skip
        if prompts is not None and not prompted:
            raise Refusal(400, "prompts: this package finds objects by itself; leave them out")
        result = RESULTS[self.answer]
        outlining = Outlining(self.simplify, self.minimum_area, self.class_name)
        try:
            check_scale(self.pixel_size, self.override_pixel_size, self.diameter)
            check_diameter(package.description, self.diameter is not None)
            check_outlining(package, outlining, (result,))
        except AbbeError as error:
            raise Refusal(400, in_own_words(str(error))) from error
        across = self.diameter if self.diameter in (None, "auto") else float(self.diameter)
        reading = Reading(
            tuple(self.channels) or None, self.pixel_size, self.override_pixel_size, across
        )
        asked = None if prompts is None else prompts.objects()
        return Job(
            (result,), reading, prompts=None if asked is None else lambda id, shape: asked,
            outlining=outlining, all_tiles=self.all_tiles,
        )  # fmt: skip


class Prompt(BaseModel):
    """One object: a box, or points inside and outside of it, in px of the image."""

    model_config = ConfigDict(extra="forbid")

    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)] | None = None
    """x0, y0, x1, y1."""
    points: Annotated[
        list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]],
        Field(max_length=_MOST_POINTS),
    ] = []
    labels: Annotated[list[Literal[0, 1]], Field(max_length=_MOST_POINTS)] = []
    """1 inside the object, 0 outside, for each point; all inside where left out."""

    @model_validator(mode="after")
    def _whole(self) -> "Prompt":
        if self.box is None and not self.points:
            raise ValueError("give a box or points")
        if self.labels and len(self.labels) != len(self.points):
            raise ValueError(f"{len(self.points)} points and {len(self.labels)} labels")
        return self


class Prompts(BaseModel):
    """What a promptable package is asked for: an object each."""

    model_config = ConfigDict(extra="forbid")

    prompts: Annotated[list[Prompt], Field(max_length=MOST_PROMPTS)]

    def objects(self) -> list[ObjectPrompt]:
        """The same as `abbe.runtime` takes them."""
        return [
            ObjectPrompt(
                f"prompt {number}",
                None if each.box is None else tuple(each.box),
                [tuple(point) for point in each.points],
                list(each.labels) or [1] * len(each.points),
            )
            for number, each in enumerate(self.prompts, start=1)
        ]


def read_prompts(text: str | bytes) -> Prompts:
    """The prompts of a request: a JSON list, or an object with that list as ``prompts``.

    Raises:
        Refusal: With the status 400: it is none.
    """
    try:
        if text.lstrip()[:1] in ("[", b"["):
            text = b'{"prompts":' + (text.encode() if isinstance(text, str) else text) + b"}"
        return Prompts.model_validate_json(text)
    except ValidationError as error:
        raise Refusal(400, first_problem(error.errors(), "prompts")) from error


def first_problem(problems: Sequence[Any], whole: str) -> str:
    """What is wrong first of what pydantic found, without what was given.

    Args:
        problems: pydantic's or FastAPI's ``errors()``.
        whole: What to name where nothing in it is.
    """
    first = problems[0]
    parts = first["loc"]
    if parts[:1] == ("query",):
        parts = parts[1:2]  # what follows names the types that it is none of
    place = ".".join(map(str, parts))
    return f"{place or whole}: {str(first['msg']).removeprefix('Value error, ')}"


def in_own_words(text: str) -> str:
    """A message with options of the command line called as the query's keys are."""

    def key(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        return _OWN_NAMES.get(name, name)

    return _OPTION.sub(key, text)
