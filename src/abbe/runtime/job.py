"""The job to do with every image, and the protocol of what does it: `Predictor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from abbe.imaging import AS_THEY_SAY, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from abbe.imaging import Image
    from abbe.runtime.package import Package
    from abbe.runtime.package.engine import Device, EngineName, Precision
    from abbe.runtime.predictors.prompt_files import ObjectPrompt, Prompts
    from abbe.runtime.tiling.timing import Timings
    from abbe.runtime.tiling.work import Work
    from abbe.runtime.writing.label_files import ZarrVersion

Result = Literal[
    "labels", "zarr", "probability", "geojson", "geojson.gz", "geoparquet", "table", "overview",
    "dicom-seg", "dicom-ann",
]  # fmt: skip
SUFFIXES: Mapping[Result, str] = {
    "labels": ".labels.tif",
    "zarr": ".labels.zarr",
    "probability": ".probability.tif",
    "geojson": ".geojson",
    "geojson.gz": ".geojson.gz",
    "geoparquet": ".geo.parquet",
    "table": ".csv",
    "overview": ".overview.png",
    "dicom-seg": ".seg.dcm",
    "dicom-ann": ".ann.dcm",
}
"""What each adds to the image's name."""

Advance = Callable[[float], None]
"""Told the share of the work that is newly done."""


@dataclass(frozen=True)
class Outlining:
    """How outlines are written.

    Attributes:
        simplify: px of the image by which an outline may leave the pixels' edges; 0 keeps these.
        minimum_area: px of the image that an area of a regions package has at least; None: what the
            package says.
        class_name: Of all objects; None: what the package says.
    """

    simplify: float = 0.0
    minimum_area: int | None = None
    class_name: str | None = None


AS_FOUND = Outlining()
OUTLINES: tuple[Result, ...] = ("geojson", "geojson.gz", "geoparquet", "dicom-ann")
"""Results that are outlines."""
DICOM: tuple[Result, ...] = ("dicom-seg", "dicom-ann")
"""Results that refer to an image in DICOM."""


@dataclass(frozen=True)
class Job:
    """The work to do with every image: results, how files are read, prompts.

    Attributes:
        results: Which files to write.
        reading: What the user says of all images.
        zarr_version: Version of OME-Zarr.
        prompts: What a promptable package is asked for; other packages take none.
        outlining: How outlines are written.
        all_tiles: Compute glass, ink and blur of slides, too.
    """

    results: tuple[Result, ...] = ("labels",)
    reading: Reading = AS_THEY_SAY
    zarr_version: ZarrVersion = "0.5"
    prompts: Prompts | None = None
    outlining: Outlining = AS_FOUND
    all_tiles: bool = False


@dataclass(frozen=True)
class Tools:
    """Threads, storage, timings and progress for the work on one image.

    Attributes:
        pool: Threads for its tiles.
        work: Where tiles are kept until the results are written.
        timings: Where to add the time of each part.
        advance: Told of progress.
        prompts: What a promptable package is asked for.
        all_tiles: Compute glass, ink and blur of a slide, too.
    """

    pool: Executor
    work: Work
    timings: Timings
    advance: Advance
    prompts: Sequence[ObjectPrompt] = ()
    all_tiles: bool = False


@dataclass(frozen=True)
class Written:
    """What ``write`` returns: how much was found, and the image's row in a table of all images.

    ``diameter`` is what the image's scale was told by, px across of its objects in the image; None
    where it was told by pixel sizes, or not at all. ``notes`` are sentences on what was done.
    """

    count: int
    answer: Any = None
    diameter: float | None = None
    notes: tuple[str, ...] = ()


Step = Literal["tiles", "seams", "numbers", "file"]


@dataclass(frozen=True)
class Block:
    """A part of the work on a large image that is done apart from the others.

    Attributes:
        rows, columns: The first and, not included, the last of its tiles.
        step: What is done: "tiles", all that needs no other block; "seams", what could not be
            computed before its neighbours had been; "numbers", the objects of the whole image;
            "file", a part of the file of labels, of which there is a grid of its own.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    step: Step = "tiles"

    def __str__(self) -> str:
        return f"{self.rows[0]}-{self.columns[0]}-{self.step}"


Blocks = Mapping[Block, frozenset[Block]]
"""Blocks in the order in which they are best given out, each with those to be done before it."""


class AnyEngine(Protocol):
    """The engine of a package: one network (`Engine`) or two (`PromptableNetworks`)."""

    @property
    def engine(self) -> EngineName:
        """The engine."""
        ...

    @property
    def precision(self) -> Precision:
        """How it computes."""
        ...

    @property
    def device(self) -> Device:
        """Where it computes."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done otherwise than the package says, in sentences for people."""
        ...


class Predictor(Protocol):
    """A package that is ready to run, whatever its task."""

    @property
    def package(self) -> Package:
        """What is run."""
        ...

    @property
    def engine(self) -> AnyEngine:
        """What runs it."""
        ...

    @property
    def tile(self) -> int:
        """Side of the network's windows, px."""
        ...

    @property
    def workers(self) -> int:
        """How many tiles or small images are in hand at a time."""
        ...

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write; the usual one first."""
        ...

    @property
    def counts(self) -> str:
        """What it counts: objects, or tiles."""
        ...

    def channels_of(self, image: Image) -> tuple[str, ...]:
        """The channels of an image that it sees.

        Raises:
            InputError: Channels are missing.
        """
        ...

    def tiles(self, image: Image) -> int:
        """How many tiles an image has.

        Raises:
            InputError: It lacks a channel or its pixel size.
        """
        ...

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """From an image's pixels to its files, named ``stem`` and a suffix.

        Raises:
            InputError: The image cannot be read.
            PackageError: The network fails.
        """
        ...

    def blocks(self, image: Image, job: Job) -> Blocks:
        """Blocks that may be computed apart; none where the image is computed whole."""
        ...

    def compute(self, image: Image, job: Job, tools: Tools, block: Block) -> None:
        """Of an image, all of a block that ``write`` would compute; it stays in ``tools.work``.

        Raises:
            InputError: The image cannot be read.
            PackageError: The network fails.
        """
        ...

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves."""
        ...

    def predict(self, image: Image, tools: Tools) -> NDArray[Any]:
        """What `abbe.predict` gives of an image."""
        ...

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Write to the folder of results what is told of all images together."""
        ...
