"""The network that teaches and the one that learns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from abbe.config.section import Section
from abbe.config.values import Option, Place
from abbe.object_types import type_maps
from abbe.registry import ENCODERS, TEACHERS, traits_of

PROMPTABLE = (
    "promptable-resnet50",
    "promptable-resnet18",
    "promptable-mobilenetv3-large",
    "promptable-tiny-vit-5m",
    "promptable-repvit-m0.9",
    "promptable-repvit-m1",
    "promptable-mobilesam",
)
if TYPE_CHECKING:
    NamedArchitecture = str
    TeacherKind = str
else:
    NamedArchitecture = Literal[(*(f"unet-{name}" for name in ENCODERS), *PROMPTABLE)]
    TeacherKind = Literal[("none", *TEACHERS, "store")]
TimmArchitecture = Annotated[str, Field(pattern=r"^(unet|promptable)-timm-\w[\w.]*$")]
"""On any encoder of timm's with the usual strides, such as unet-timm-regnety_004."""
Width = Annotated[int, Field(ge=1, le=1024)]
Output = Literal["foreground", "boundary"]
TypeName = Annotated[str, Field(min_length=1, max_length=100)]


class Teacher(Section):
    """Where the targets come from."""

    kind: TeacherKind = "none"
    """masks of any program; onnx; bioimageio; torch module; an earlier Abbe run; a package of
    Abbe's; SAM's family; cellpose and cellsam where they are installed; a target store."""
    path: Place | None = None
    """Folder, file, package, run or target store, by kind; for torch, package.module:factory, which
    runs with --trust-code only; for package, its folder or name (nuclei); for sam, a file, a folder
    or a Hugging Face id; for cellpose and cellsam, a model's name or file."""
    input_channels: tuple[str, ...] | None = None
    """Channels the teacher reads, in its order; all of the image's where omitted."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Further arguments of its function in abbe.teachers, for example tile: 512."""
    also: tuple[Place, ...] = ()
    """Further teachers: stores, runs, packages, ONNX files. The student learns the mean of all
    their maps, each weighed by labelled validation images, and less where they disagree.
    ``teachers: [a.zarr, b.zarr]`` in a file says the same of stores."""
    tta: bool = False
    """Ask about each image eight times, turned and mirrored, and take the mean of the maps."""
    live: bool = False
    """Run the teacher inside the training loop instead of storing its maps (torch, run and sam)."""
    trust: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0
    """How much its maps count: 1 in full, 0 not at all (labels alone). auto: as labelled validation
    images say of it and of a network that labels alone have taught, which is trained first."""

    @model_validator(mode="after")
    def _path_fits_kind(self) -> "Teacher":
        if self.kind != "none" and self.path is None:
            raise ValueError(f"kind '{self.kind}' needs a path: give --teacher.path")
        if self.kind == "none" and (self.also or self.tta):
            raise ValueError("also and tta need a teacher: give --teacher.kind and its path")
        if self.live and (self.also or self.tta):
            raise ValueError("live: one teacher as it is runs live. Leave also and tta out")
        if self.tta and not self.also and traits_of(self.kind).keeps_answers:
            raise ValueError(
                f"tta: a teacher of kind '{self.kind}' has answered already. Leave tta out here, "
                "and give it where the answers are made (abbe teach --teacher.tta)"
            )
        if self.live and not traits_of(self.kind).live:
            *most, last = (kind for kind in TEACHERS if traits_of(kind).live)
            raise ValueError(f"live: true works with kind {', '.join(most)} or {last} only")
        return self


class Student(Section):
    """The network that is trained."""

    architecture: NamedArchitecture | TimmArchitecture = "unet-resnet18"
    """One of those named, or unet-timm-NAME or promptable-timm-NAME for an encoder of timm's."""
    input_channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("auto",)
    """Channels the student reads. auto: red, green and blue of colour images, else the nucleus, for
    which the only channel of others is taken. Runs keep the choice."""
    outputs: tuple[Output, ...] = ("foreground", "boundary")
    """foreground alone, or with the boundary map that separates touching objects."""
    types: tuple[TypeName, ...] = ()
    """Types of objects that are told apart, such as those of nuclei: names of the data set's
    classes (data.types and data.classes; pannuke and nucls have theirs), or auto for all of them.
    Runs keep the choice."""
    depth: Annotated[int, Field(ge=3, le=5)] = 5
    """How often a U-Net's encoder halves the resolution; its deeper layers are left out. 4 is
    enough for objects of 10 to 50 px, and much smaller."""
    decoder_widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=5)] | None = None
    """Channels of a U-Net's decoder blocks, the coarsest first: as many as depth, or one fewer to
    end at half the resolution. 256 128 64 32 16 are usual; 64 32 16 16 (depth 4) are light."""
    encoder_weights: Literal["choose", "random", "imagenet"] | Path = "choose"
    """imagenet (downloaded by timm), a file in timm's layout, a student's file, a package or its
    name (nuclei), or random. There is no default."""
    encoder_mean: tuple[float, ...] | None = None
    """What the encoder wants subtracted from images in [0, 1], one value a channel or one for all;
    what its weights were trained with where omitted (timm's pretrained_cfg)."""
    encoder_std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """What they are then divided by."""
    normalisation: Literal["auto", "percentile", "range", "none"] = "auto"
    """How pixels become 0 to 1. percentile: 1 to 99.8 of each image and channel; range: divided by
    what the pixel type holds (8-bit: 255); none: they lie there already; auto: range for 8-bit
    pictures (colours, or grey ones that are not dark), else percentile. Runs keep the choice."""

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of all its maps: its outputs, then one for each type."""
        return (*self.outputs, *type_maps(self.types))

    @model_validator(mode="after")
    def _weights_chosen(self) -> "Student":
        if self.encoder_weights == "choose":
            raise ValueError(
                "encoder_weights must be chosen: 'imagenet' (downloaded through timm), the path "
                "of a weight file, or 'random' (trains from scratch, usually worse), for example "
                "--student.encoder-weights imagenet"
            )
        if "foreground" not in self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs are [foreground] or [foreground, boundary]")
        if len(set(self.types)) != len(self.types):
            raise ValueError("types: a name stands twice")
        if self.decoder_widths and not self.depth - 1 <= len(self.decoder_widths) <= self.depth:
            raise ValueError(
                f"decoder_widths: depth {self.depth} wants {self.depth} of them, or "
                f"{self.depth - 1} to end at half the image's resolution"
            )
        if (self.encoder_mean is None) != (self.encoder_std is None):
            raise ValueError("encoder_mean and encoder_std go together: give both or neither")
        if len(self.encoder_mean or ()) != len(self.encoder_std or ()) or self.encoder_mean == ():
            raise ValueError(
                "encoder_mean and encoder_std need as many values as each other, one for each "
                "channel or one for all, for images from 0 to 1: such as 0.5 and 0.5"
            )
        return self

    @property
    def begun_at_random(self) -> "Student":
        """The same without the weights, and without what those want done to images."""
        nothing = {"encoder_mean": None, "encoder_std": None}
        return self.model_copy(update={"encoder_weights": "random", **nothing})


EARLIER_INPUT: dict[str, Any] = {
    "normalisation": "percentile",
    "encoder_mean": (0.0,),
    "encoder_std": (1.0,),
}
"""What runs did that were begun before these keys of the student's existed."""
