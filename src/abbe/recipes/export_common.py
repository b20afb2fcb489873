"""What exports of every task share: where the student comes from, and images to prove it on."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import abbe
from abbe import config
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.exporting.comparison import Budget
from abbe.exporting.int8 import CALIBRATION_SIDE
from abbe.exporting.prove import Int8
from abbe.exporting.write import Settings
from abbe.imaging import Scaling, normalise, scaling_in_words
from abbe.runs.folder import Run
from abbe.runtime.package import Lineage, Normalisation, Standardised
from abbe.runtime.tiling.grid import SAME_SCALE
from abbe.students.standardisation import described

_KEPT = ("data", "teacher_sees", "models", "gain", "retention", "retention_ci95", "warnings")


TILE = 1024
"""Side of the network's windows, px, where nothing else is said."""
CONTEXT = 64
"""px at a window's cut edges that are thrown away; docs/deploy.md has what that does to maps."""


@dataclass(frozen=True)
class Request:
    """What is asked of an export, beside the run and where it goes.

    Attributes:
        int8: "auto" keeps an int8 network that stays within the budget, "required" fails without
            one, "none" tries none.
        budget: How much may be lost.
        budget_ms: Most milliseconds of a tile; None: no time is asked for.
        tile: Sides of tiles to time, px; empty: the package's own.
        halo: px around a tile's core in which objects are looked for; None for what suits them.
        context: px at a window's cut edges that are thrown away; None for `CONTEXT`.
        threads: Threads to run with; None for all cores.
        images: Proof images, at most; None for what suits the task.
        calibration_images: Training images from which int8 ranges are measured.
        pixel_size: In µm, where the run does not know it.
    """

    int8: Int8 = "auto"
    budget: Budget = field(default_factory=Budget)
    budget_ms: float | None = None
    tile: tuple[int, ...] = ()
    halo: int | None = None
    context: int | None = None
    threads: int | None = None
    images: int | None = None
    calibration_images: int = 128
    pixel_size: float | None = None

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

    def tiling(self, divisor: int) -> dict[str, int]:
        """The keys ``tile`` and ``context`` of a package that answers for pixels."""
        context = math.ceil(CONTEXT / divisor) * divisor if self.context is None else self.context
        tile = self.tile[0] if self.tile else math.ceil(TILE / divisor) * divisor
        return {"tile": tile, "context": context}

    @property
    def settings(self) -> Settings:
        """What of it the writer of packages is told."""
        return Settings(self.int8, self.budget, self.budget_ms, self.tile, self.threads)


def origin(run: Run, learned: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a package of any task says of itself and of where it comes from."""
    return {
        "abbe": abbe.__version__,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "package",
        "title": run.summary["title"],
        "lineage": lineage(run, learned),
        "training": kept(run.summary),
    }


def kept(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's summary goes with the package: no names of images."""
    found = {key: summary[key] for key in _KEPT if key in summary}
    data = {key: value for key, value in found.get("data", {}).items() if key != "image_notes"}
    return {**found, "data": data} if "data" in found else found


def input_of(run: Run, learned: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """The keys of a package that say how images reach the network, and what it does itself.

    Raises:
        InputError: The student was trained on images scaled in a way that is not known here.
    """
    scaling = scaling_in_words(learned.get("normalisation"), str(run.student))
    own = described(network)
    return {
        "normalisation": Normalisation(kind=scaling.kind, low=scaling.low, high=scaling.high),
        "standardised": None if own is None else Standardised.model_validate(own),
    }


def lineage(run: Run, learned: Mapping[str, Any]) -> Lineage:
    """Where the student comes from, with every licence that is known."""
    summary = run.summary
    teacher = summary["teacher"] or {}
    licences = []
    if teacher:
        licences.append(f"teacher {teacher['teacher']}: {teacher['weights_licence']}")
    encoder = learned["encoder_weights"]
    if encoder == "imagenet":
        licences.append("encoder: timm's ImageNet weights (Apache-2.0; ImageNet's own terms)")
    elif encoder != "random":
        licences.append(f"encoder: {Path(encoder).name}, licence not stated")
    return Lineage(
        teacher=teacher.get("teacher", "none"),
        teacher_weights_sha256=_sha256(teacher.get("weights_sha256")),
        weights_licence="; ".join(licences) or "none: trained from scratch without a teacher",
        training_data_licence=teacher.get("training_data_licence", "none"),
        dataset=learned["trained_on"],
        dataset_licence=learned["data_licence"],
        recipe=learned["recipe"],
        run=run.folder.resolve().name,
        prompt_mode=teacher.get("prompt_mode"),
        sees_labels=bool(teacher.get("sees_labels")),
        stand_in=bool(teacher.get("stand_in")),
        simulated=bool(learned["simulated"] or teacher.get("simulated")),
        notes=tuple(teacher.get("notes", ())),
    )


def _sha256(value: str | None) -> str | None:
    return value if value and re.fullmatch("[0-9a-f]{64}", value) else None


def dataset_of(
    experiment: config.Experiment,
    run: Run,
    moved_to: Path | None,
    build: Callable[[config.Data], Dataset],
) -> Dataset:
    """The images of a run, wherever they are now, with the student's names for their channels.

    Raises:
        InputError: They cannot be found.
    """
    data = experiment.data
    if moved_to is not None:
        data = data.model_copy(update={"path": moved_to})
    try:
        return build(data).seen_as(experiment.student.sees)
    except (InputError, ConfigError) as error:
        raise InputError(
            f"{run.folder}: the images of this run cannot be found any more, and a package is "
            f"proven on them. {error}\nSay where they are with --data-path"
        ) from error


def proof_records(
    dataset: Dataset, most: int, labelled: Callable[[Iterable[Record]], list[Record]]
) -> tuple[str, list[Record]]:
    """The split that a package is proven on, and at most so many of its images.

    Those with a label where there are some, of the validation images, else of the test images.

    Raises:
        InputError: There are none.
    """
    for split in ("val", "test"):
        records = list(dataset.split(split))
        if records:
            return split, spread(labelled(records) or records, most)
    raise InputError(
        f"data set '{dataset.name}' has neither validation nor test images, on which the package "
        "could be proven. Give --data-path"
    )


def calibration_records(dataset: Dataset, request: Request) -> list[Record]:
    """Training images, from which int8 ranges are measured.

    Raises:
        InputError: There is none, and an int8 network may be wanted.
    """
    records = spread(list(dataset.split("train")), request.calibration_images)
    if not records and request.int8 != "none":
        raise InputError(
            f"data set '{dataset.name}' has no training image left, from which int8 ranges could "
            "be measured. Give --data-path, or --int8 none"
        )
    return records


def calibration_pixels(
    dataset: Dataset, channels: Sequence[str], scaling: Scaling, request: Request
) -> list[np.ndarray]:
    """The middle of training images, (C, H, W) float32, from which int8 ranges are measured.

    Raises:
        InputError: There is none, and an int8 network may be wanted.
    """
    records = calibration_records(dataset, request)
    return [pixels_of(record, channels, scaling, CALIBRATION_SIDE) for record in records]


def spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most so many of them, evenly spaced."""
    if len(records) <= most:
        return list(records)
    return [records[round(place)] for place in np.linspace(0, len(records) - 1, most)]


def pixels_of(record: Record, channels: Sequence[str], scaling: Scaling, side: int) -> np.ndarray:
    """The middle of an image in [0, 1], where limits are those of the whole of it."""
    image = record.image.open()
    pixels = image.read(channels=tuple(channels))
    return normalise(middle(pixels, side), scaling.limits(pixels, image.source))


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of an array (…, H, W), at most so many px a side."""
    height, width = pixels.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[..., top : top + side, left : left + side]
