"""What is asked of an export, in one place: for the command line, for Python and for the writer."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abbe.errors import ConfigError
from abbe.imaging.units import possible
from abbe.runtime.tiling.grid import SAME_SCALE

Int8 = Literal["auto", "required", "none"]
TILE = 1024
"""Side of the network's windows, px, where nothing else is said."""
CONTEXT = 64
"""px at a window's cut edges that are thrown away; docs/deploy.md has what that does to maps."""
MOST_THREADS = 1024
"""A package's description holds no more."""
UNKNOWN = ("unknown",)
"""Authors, where none is named."""


@dataclass(frozen=True)
class Budget:
    """How much may be lost over the images of the parity check; 0.002 is 0.2 points.

    Attributes:
        dice: Of a segmentation's mask, or as mean over the classes of regions.
        pq: Panoptic quality of a segmentation's instances.
        mean_iou: As mean over the classes of regions.
        accuracy: Share of images whose class is right; of a segmentation with types of objects, of
            objects that have the student's type.
        probability: Of a classification: how far the probability that changes most has moved, as
            mean over the images.
    """

    dice: float = 0.002
    pq: float = 0.01
    mean_iou: float = 0.005
    accuracy: float = 0.005
    probability: float = 0.02


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is asked of an export, whatever the task; each option is one of the command line."""

    int8: Int8 = "auto"
    """auto: keep an int8 network that stays within the budget; required: fail without one."""
    pixel_size: float | None = None
    """µm per px of the training images, where the run does not know it."""
    budget_dice: float = Budget.dice
    """Most mean Dice that an engine may lose (0.002 is 0.2 points)."""
    budget_pq: float = Budget.pq
    """Most mean panoptic quality that an engine may lose."""
    budget_mean_iou: float = Budget.mean_iou
    """Of regions: most IoU, mean over classes, that an engine may lose."""
    budget_accuracy: float = Budget.accuracy
    """Of classes, and of types of objects: most accuracy that an engine may lose."""
    budget_probability: float = Budget.probability
    """Of a classification: how far an image's probabilities may move, as mean over the images."""
    budget_ms: float | None = None
    """Most milliseconds of a tile: choose engine, precision, tile and threads that meet it."""
    tile: tuple[int, ...] = ()
    """Sides of the network's windows in px, 1024; several are tried with --budget-ms."""
    halo: int | None = None
    """px around a tile in which its objects are looked for; the largest's extent where omitted."""
    context: int | None = None
    """px at a window's edges that only lend the rest their context; 64 where omitted, or
    256 of the students whose names end with -local."""
    threads: int | None = None
    """Processor threads to run with; OMP_NUM_THREADS or all cores where omitted."""
    images: int | None = None
    """Validation images of the parity check; 48, or 500 of a classification."""
    calibration_images: int = 128
    """Training images from which the ranges of int8 are measured."""
    compact: bool = False
    """A third of the size: ONNX weights stored in 16 bits and computed in 32, and no OpenVINO
    network beside ONNX and int8, for OpenVINO reads ONNX."""
    engine: Literal["openvino", "onnxruntime"] | None = None
    """For edge devices: the network of this engine alone, in one precision (of OpenVINO the fastest
    within the budget); the package's size and memory are told."""
    example: Path | None = None
    """The image that the package shows and is tested on; a part of a validation image where
    omitted."""
    data_licence: str | None = None
    """Licence of the training images, such as CC0-1.0, where the run does not know it."""
    encoder_licence: str | None = None
    """Licence of the file of encoder weights that training began from."""
    notes: tuple[str, ...] = ()
    """Sentences to stand in the package's card, beside its lineage."""
    intended_use: str | None = None
    """For the card: what the package is meant for, and by whom; "not stated" where omitted."""
    not_tested_on: tuple[str, ...] = ()
    """For the card: what it was never tried on, such as "frozen sections" "scanners of B"."""
    data_version: str | None = None
    """For the card: version of the training data."""
    teacher_version: str | None = None
    """For the card: version of the teacher."""
    subgroups: tuple[str, ...] = ()
    """For the card: columns of the data set's table, such as site or scanner; test scores are told
    for each of their values."""
    bioimageio: Path | None = None
    """Also write a bioimage.io package, a .zip file, and test it."""
    torchscript: Path | None = None
    """Also write TorchScript, a .pt file, for QuPath and deepImageJ."""
    authors: tuple[str, ...] = UNKNOWN
    """Names for the bioimage.io package."""
    licence: str | None = None
    """Its licence, an SPDX name such as MIT."""

    @property
    def budget(self) -> Budget:
        """How much may be lost."""
        names = [field.name for field in dataclasses.fields(Budget)]
        return Budget(**{name: getattr(self, f"budget_{name}") for name in names})

    def check(self) -> None:
        """Refuse what would fail only once the work is done.

        Raises:
            ConfigError: Naming the option.
        """
        for option, value in (
            ("images", self.images),
            ("calibration-images", self.calibration_images),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"--{option} {value}: at least one image is needed")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(
                f"--threads {self.threads}: give 1 to {MOST_THREADS}, or leave it out"
            )
        if self.pixel_size is not None and not possible(self.pixel_size):
            raise ConfigError(
                f"--pixel-size {self.pixel_size:g}: no pixel is so wide. Give µm, such as 0.5"
            )
        if self.budget_ms is not None and not 0 < self.budget_ms < math.inf:
            raise ConfigError(
                f"--budget-ms {self.budget_ms:g}: give milliseconds above 0, or leave it out"
            )
        for name, most in dataclasses.asdict(self.budget).items():
            if not most >= 0:  # as a negation, so that NaN is refused
                option = name.replace("_", "-")
                raise ConfigError(f"--budget-{option} {most:g}: give what may be lost, 0 or more")
        if self.engine == "onnxruntime" and self.int8 == "required":
            raise ConfigError(
                "--int8 required: ONNX Runtime runs packages in fp32. Give --engine openvino, or "
                "leave --int8 out"
            )
        if self.engine == "openvino" and (self.bioimageio or self.compact):
            option = "--bioimageio" if self.bioimageio else "--compact"
            raise ConfigError(
                f"{option}: needs the ONNX network, which --engine openvino leaves out. Give "
                "--engine onnxruntime, or none"
            )
        named = self.licence is not None or tuple(self.authors) != UNKNOWN
        if self.bioimageio is None and named:
            raise ConfigError(
                "--licence, --authors: are written into the bioimage.io package. Give its file, "
                "--bioimageio NAME.zip, or leave them out"
            )

    def refuse(self, unsupported: Mapping[str, str]) -> None:
        """Refuse options that do not fit the task: by name, why.

        Raises:
            ConfigError: One of them was given.
        """
        for name, why in unsupported.items():
            if getattr(self, name) not in (None, ()):
                raise ConfigError(f"--{name.replace('_', '-')}: {why}")

    def stated(self, known: float | None) -> float | None:
        """The package's pixel size in µm, of which the run knows ``known``.

        Raises:
            ConfigError: It knows another than is stated.
        """
        if known is None or self.pixel_size is None:
            return known or self.pixel_size
        if abs(known / self.pixel_size - 1) > SAME_SCALE:
            raise ConfigError(
                f"--pixel-size {self.pixel_size:g}: the run's images have {known:g} µm. The option "
                "states what a run does not know: leave it out"
            )
        return known

    def tiling(self, divisor: int, reach: int = CONTEXT) -> dict[str, int]:
        """The keys ``tile`` and ``context`` of a package that answers for pixels.

        Args:
            divisor: Both are multiples of it.
            reach: The usual context, px; of smaller tiles no more than a quarter, or `CONTEXT`.
        """
        tile = self.tile[0] if self.tile else math.ceil(TILE / divisor) * divisor
        usual = max(CONTEXT, min(reach, tile // 4))
        context = math.ceil(usual / divisor) * divisor if self.context is None else self.context
        return {"tile": tile, "context": context}

    def as_json(self) -> dict[str, Any]:
        """Plain values: what the same request has, and no other."""
        return {key: str(value) for key, value in dataclasses.asdict(self).items()}
