"""Contract 2: the package, a folder that holds a student and all that belongs to running it.

``package.json`` says what is in the folder; docs/packages.md is its description in words. Whatever
stands in a package is taken for untrusted: names may not leave the folder, nothing is unpickled,
no code is run, sizes are bounded, and a file is used only when its checksum is right.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from abbe.errors import AbbeError, PackageError
from abbe.files import sha256_of_file, write_json
from abbe.object_types import types_in
from abbe.runtime.package.input import Normalisation, Part, Positive, Standardised
from abbe.runtime.package.tasks import PACKAGE_TASKS, Traits

FORMATS = (1, 2, 3, 4, 5, 6)
"""Those that are read; the last is what is written."""
DESCRIPTION = "package.json"

LARGEST_FILE = 4 << 30
"""Bytes; a package that declares more is refused before anything is read."""

MOST_REGION_CLASSES = 255
"""Class numbers of pixels are kept as uint8."""

Role = Literal[
    "onnx",
    "openvino_xml",
    "openvino_bin",
    "int8_xml",
    "int8_bin",
    "encoder_onnx",
    "encoder_xml",
    "encoder_bin",
    "encoder_int8_xml",
    "encoder_int8_bin",
    "decoder_onnx",
    "decoder_xml",
    "decoder_bin",
    "weights",
    "test_image",
    "expected",
    "card",
    "training_images",
]
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "xml": (".xml",),
    "bin": (".bin",),
    "weights": (".safetensors",),
    "image": (".png", ".tif", ".tiff"),
    "expected": (".npy", ".npz", ".png", ".tif", ".tiff"),
    "card": (".md",),
    "images": (".txt",),
}
"""What a file may be called, by the last part of its role."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Figures = dict[Label, int | float | str | bool | None]


class PackageFile(Part):
    """One file of the package; ``path`` is relative to its folder, with forward slashes."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=LARGEST_FILE)]

    @model_validator(mode="after")
    def _inside(self) -> "PackageFile":
        path = PurePosixPath(self.path)
        strange = any(character in self.path for character in "\\:\0")
        if path.is_absolute() or ".." in path.parts or strange:
            raise ValueError(f"the path '{self.path}' leads out of the package")
        return self


class Thresholds(Part):
    """Where probabilities are cut; chosen on validation images, never on test images."""

    mask: Fraction = 0.5
    """Least foreground probability of a pixel of the binary mask."""
    foreground: Fraction = 0.5
    """The same for instances."""
    boundary: Fraction = 0.5
    """Boundary probability from which on a pixel parts instances."""
    chosen_on: Literal["validation", "training", "default"] = "default"


class InstanceRule(Part):
    """What is outlined: instances in maps, or the connected areas of each class.

    See `abbe.runtime.instances_from_maps` and `abbe.runtime.writing.areas.find_areas`.
    """

    rule: Literal["watershed", "components"] = "watershed"
    minimum_area: Annotated[int, Field(ge=1, le=1 << 30)] = 15
    """px of the package's pixel size; smaller objects are removed."""


class Engine(Part):
    """How the package runs where nothing else is said."""

    engine: Literal["openvino", "onnxruntime"] = "openvino"
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """None: as many as the machine has."""


class Lineage(Part):
    """Where the student comes from, and whose licences travel with it."""

    teacher: Text
    """Name of the teacher; "none" where the student saw labels only."""
    teacher_weights_sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = (
        None
    )
    weights_licence: Text
    """Licence of the teacher's weights, and of the encoder weights that training began from."""
    training_data_licence: Text
    """Licence of what the teacher was trained on."""
    dataset: Text
    """What the student was trained on."""
    dataset_licence: Text
    recipe: Text
    run: Text
    """Name of the run folder."""
    prompt_mode: Text | None = None
    sees_labels: bool = False
    """The teacher was shown ground truth (oracle prompts)."""
    stand_in: bool = False
    """The teacher takes the place of a model that could not be had."""
    simulated: bool = False
    """The images are simulated."""
    notes: tuple[Text, ...] = ()


class PackageDescription(Part):
    """Everything in ``package.json``.

    Networks take ``image`` (B, C, H, W) float32 in [0, 1] (see ``normalisation``), the channels in
    the order of ``channels``, H and W multiples of ``divisor``. They give logits: (B, K, H, W) one
    map for each of ``outputs`` (segmentation) or of ``classes`` (regions), or (B, K) one for each
    of ``classes`` (classification). A promptable package has an encoder and a decoder of its own.
    """

    format: Literal[1, 2, 3, 4, 5, 6] = 6
    abbe: Label
    """Version of Abbe that wrote the package."""
    name: Name
    title: Text
    task: Literal["segmentation", "classification", "promptable", "regions"]
    architecture: Label
    channels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=256)]
    three_channels: Literal["fill_last", "grey", "colour"] | None = None
    """How the channels become the colour picture that a promptable network sees."""
    pixel_size: Positive | None
    """µm per px that the student was trained at; images are resampled to it. None: used as is."""
    object_diameter: Positive | None = None
    """Median equivalent diameter of the objects that the student was trained on, in px that the
    network sees; what the diameter of a user's objects is compared with. None: not known."""
    normalisation: Normalisation = Normalisation()
    standardised: Standardised | None = None
    """What the network does next, by itself; None: nothing."""
    image_size: tuple[Annotated[int, Field(ge=1, le=8192)], ...] | None = None
    """(H, W) to which every image is resized (classification, promptable); None: any size."""
    divisor: Annotated[int, Field(ge=1, le=1024)]
    tile: Annotated[int, Field(ge=1, le=8192)]
    """Side of the network's windows, px; a multiple of the divisor."""
    halo: Annotated[int, Field(ge=0, le=4096)]
    """px around a tile's core in which its objects are looked for, a multiple of the divisor;
    objects that fit it are found whole."""
    context: Annotated[int, Field(ge=0, le=4096)] | None = None
    """px at a window's cut edges that the network sees for the sake of the rest, a multiple of the
    divisor. None (all there was before format 3): as many as the halo has."""
    outputs: tuple[Label, ...] = ()
    """Names of the K logit maps, in order; one is "foreground". Of a package that tells types of
    objects apart one is "type:NAME" for each of ``classes``."""
    thresholds: Thresholds = Thresholds()
    instances: InstanceRule = InstanceRule()
    classes: tuple[Label, ...] = ()
    temperature: tuple[Positive, ...] = ()
    """By which logits are divided where probabilities are told, so that they mean what they say:
    one for each of ``outputs``, or one for all ``classes``. None: they are as the network gives
    them. Objects, masks and classes are found without."""
    files: dict[Role, PackageFile]
    engine: Engine = Engine()
    parity: dict[Label, Figures] = Field(default_factory=dict)
    """By "engine/precision", such as "openvino/int8": what running it so costs against eager."""
    timings: dict[Label, Figures] = Field(default_factory=dict)
    """By "engine/precision, tile, threads": how long a tile took where the package was made."""
    lineage: Lineage
    training: dict[Label, JsonValue] = Field(default_factory=dict)
    """Figures of the run: metrics of student, twin and teacher, gain, retention."""

    @property
    def traits(self) -> Traits:
        """What follows from the task for whatever runs the package."""
        return PACKAGE_TASKS[self.task]

    @property
    def logit_names(self) -> tuple[str, ...]:
        """What the K logits stand for: names of maps, or of classes that exclude each other."""
        return self.outputs if self.traits.finds_objects else self.classes

    @property
    def margin(self) -> int:
        """px of a window that are thrown away at its cut edges."""
        if self.context is not None:
            return self.context
        return self.halo or (self.divisor if self.traits.of_pixels else 0)

    @model_validator(mode="after")
    def _consistent(self) -> "PackageDescription":
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("channels: a channel stands twice")
        if self.normalisation.low >= self.normalisation.high:
            raise ValueError("normalisation: low must be below high")
        margin = self.halo if self.context is None else self.context
        if any(side % self.divisor for side in (self.tile, self.halo, margin)):
            raise ValueError(
                f"tile {self.tile}, halo {self.halo} and context {margin} px must be multiples of "
                f"the divisor ({self.divisor})"
            )
        if 2 * margin >= self.tile:
            name = "halo" if self.context is None else "context"
            raise ValueError(f"tile {self.tile}, {name} {margin} px: nothing is left of a tile")
        if self.image_size is not None and len(self.image_size) != 2:
            raise ValueError("image_size: give height and width")
        for role, file in self.files.items():
            suffixes = SUFFIXES[role if role in SUFFIXES else role.rsplit("_", 1)[-1]]
            if PurePosixPath(file.path).suffix not in suffixes:
                raise ValueError(f"files.{role}: '{file.path}' must end in {', '.join(suffixes)}")
        paths = [file.path for file in self.files.values()]
        if len(set(paths)) != len(paths):
            raise ValueError("files: one path stands for two roles")
        self._check_task()
        self._check_format()
        return self

    def _check_task(self) -> None:
        traits = self.traits
        if traits.finds_objects and "foreground" not in self.outputs:
            raise ValueError("outputs: a segmentation package gives a map called 'foreground'")
        if len(set(self.outputs)) != len(self.outputs) or len(set(self.classes)) != len(
            self.classes
        ):
            raise ValueError("outputs, classes: names must differ")
        if (types := types_in(self.outputs)) and types != self.classes:
            raise ValueError(
                f"outputs, classes: the maps are of the types {', '.join(types)}, and classes are "
                f"{', '.join(self.classes) or 'none'}; both must name the same, in one order"
            )
        if traits.tells_classes and len(self.classes) < 2:
            raise ValueError(f"classes: a {self.task} package names at least two")
        if traits.tells_areas and (self.outputs or len(self.classes) > MOST_REGION_CLASSES):
            raise ValueError(
                f"outputs, classes: a regions package gives no maps but classes, at most "
                f"{MOST_REGION_CLASSES}"
            )
        if (self.instances.rule == "components") != traits.tells_areas:
            raise ValueError("instances.rule: components goes with regions, and they with it")
        one = "openvino_xml" in self.files or "int8_xml" in self.files
        needed = ("encoder_onnx", "decoder_onnx") if traits.prompted else ("onnx",) * (not one)
        for role in needed:
            if role not in self.files:
                raise ValueError(f"files.{role}: a {self.task} package needs it")
        if traits.prompted and self.image_size is None:
            raise ValueError("image_size: a promptable package needs one")
        for xml in [role for role in self.files if role.endswith("_xml")]:
            if xml.removesuffix("_xml") + "_bin" not in self.files:
                raise ValueError(f"files.{xml}: its weights (_bin) are missing")

    def _check_format(self) -> None:
        by_tile = self.normalisation.kind == "tile_percentile"
        if by_tile and (self.traits.of_pixels or self.traits.prompted):
            raise ValueError("normalisation.kind: tile_percentile goes with classification only")
        if self.format == 1 and (by_tile or self.traits.tells_areas):
            raise ValueError("format: 1 knows neither regions nor tile_percentile; 2 does")
        if self.format < 3 and self.context is not None:
            raise ValueError(f"format: {self.format} knows no context; 3 does")
        unscaled = self.normalisation.kind in ("range", "none")
        if self.format < 4 and (unscaled or self.standardised is not None):
            raise ValueError(
                f"format: {self.format} knows neither the normalisations range and none nor "
                "standardised; 4 does"
            )
        wanted = len(self.outputs) if self.traits.finds_objects else 1
        if self.temperature and (self.traits.prompted or len(self.temperature) != wanted):
            raise ValueError(
                "temperature: there is one for each of outputs, or one for all classes; a "
                "promptable package has none"
            )
        if self.format < 6 and self.temperature:
            raise ValueError(f"format: {self.format} knows no temperature; 6 does")
        if self.format < 5 and self.object_diameter is not None:
            raise ValueError(f"format: {self.format} knows no object_diameter; 5 does")


@dataclass(frozen=True)
class Package:
    """A package on disk, which stands for its folder wherever a path is wanted.

    Files are checked when they are asked for.
    """

    folder: Path
    description: PackageDescription

    def __repr__(self) -> str:
        told = self.description
        return f"Package('{self.folder}', {told.task}, channels {', '.join(told.channels)})"

    def _repr_html_(self) -> str:
        from abbe.imaging import open_image  # a mask is wanted sooner than a picture
        from abbe.imaging.pictures.thumbnail import thumbnail
        from abbe.notebooks import card

        told = self.description
        size = "images as they are" if told.pixel_size is None else f"{told.pixel_size:g} µm"
        figures = {
            "task": told.task,
            "channels": ", ".join(told.channels),
            "pixel size": size,
            "files": f"{sum(file.bytes for file in told.files.values()) / 1e6:.1f} MB",
        }
        if not self.has("test_image"):
            return card(told.title, figures)
        try:
            picture = thumbnail(open_image(self.file("test_image"), channels=told.channels), None)
        except AbbeError as error:
            return card(told.title, {**figures, "test image": error})
        return card(told.title, figures, picture)

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def has(self, role: Role) -> bool:
        """Whether the package declares a file of this role."""
        return role in self.description.files

    def file(self, role: Role) -> Path:
        """The path of a file, once its size and checksum are found right.

        Raises:
            PackageError: It is not declared, missing, a link out of the folder, or not what
                was packed.
        """
        declared = self.description.files.get(role)
        if declared is None:
            raise PackageError(f"{self.folder}: the package has no file for '{role}'")
        path = self.folder / declared.path
        if not path.is_file():
            raise PackageError(
                f"{path}: the package names this file ({role}), but it is missing. "
                "Copy or export the package again"
            )
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise PackageError(f"{path}: this link leads out of the package; it is not followed")
        size = path.stat().st_size
        if size != declared.bytes or sha256_of_file(path) != declared.sha256:
            raise PackageError(
                f"{path}: this is not the file that was packed "
                f"({size:,} bytes; {declared.bytes:,} and a checksum are declared). "
                "Copy or export the package again"
            )
        return path


def write_description(folder: str | os.PathLike[str], description: PackageDescription) -> None:
    """Write ``package.json``, atomically: the last file of a package to be written."""
    write_json(Path(folder) / DESCRIPTION, description.model_dump(mode="json"))


def describe_file(folder: str | os.PathLike[str], path: str) -> PackageFile:
    """What the description says of a file that lies in the folder; ``path`` is relative to it."""
    file = Path(folder) / path
    return PackageFile(path=path, sha256=sha256_of_file(file), bytes=file.stat().st_size)
