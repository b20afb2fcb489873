"""What exports of every task share: where the student comes from, and images to check it on."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

import abbe
from abbe import config, students
from abbe.caveats import caveats_of
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.exporting.comparison import Images, ParityImage
from abbe.exporting.networks.int8 import CALIBRATION_SIDE
from abbe.exporting.parity.promptable import Pictures
from abbe.exporting.request import ExportRequest
from abbe.imaging import Scaling, normalise, open_image, scaling_in_words
from abbe.runs import build
from abbe.runs.export_inputs.stated import scores_by_subgroup, stated
from abbe.runs.folder import Run
from abbe.runs.pixel_sizes import common
from abbe.runtime.package import Lineage, Normalisation, Standardised
from abbe.runtime.predictors.channels import channels_for
from abbe.students.encoders import imagenet_licence
from abbe.students.promptable import trunk_name_of
from abbe.students.standardisation import described
from abbe.students.unet import encoder_name_of
from abbe.summary import RunSummary, Teacher
from abbe.tasks.calibration import CLASSES
from abbe.tasks.task import Task

_KEPT = {
    "calibration", "data", "teacher_channels", "teacher_saw_labels", "models", "gain", "retention",
    "retention_ci95", "evidence",
}  # fmt: skip
NOT_STATED = "not stated"
"""What data sets say whose licence is not known."""
LOOKED_AT = 256
"""Training images whose pixel size is looked at."""


@dataclass(frozen=True)
class Source:
    """A finished run that becomes a package.

    Attributes:
        run: The run.
        task: What its student is for.
        experiment: Its own.
        dataset: Its images.
        request: What is asked for.
        name: Of the package.
    """

    run: Run
    task: Task
    experiment: config.Experiment
    dataset: Dataset
    request: ExportRequest
    name: str


class ExportInput(NamedTuple):
    """What the writer of packages takes.

    Attributes:
        student: The network, in evaluation mode on the CPU.
        facts: Keys of the package's description.
        images: What engines are calibrated and compared on.
    """

    student: nn.Module
    facts: dict[str, Any]
    images: Images | Pictures


@dataclass(frozen=True)
class TaskExport:
    """How students of a task become packages.

    Attributes:
        read: From the run to what the writer takes.
        unsupported: Options that do not fit the task: by name, why.
    """

    read: Callable[[Source], ExportInput]
    unsupported: Mapping[str, str] = field(default_factory=dict)


_TELLS_CLASSES = (
    "is written for students that find objects; this one tells classes apart. Leave it out: the "
    "package's model.onnx is what other programs read"
)
NOT_OF_CLASSES: Mapping[str, str] = {
    "halo": "is for students that find objects; leave it out",
    "bioimageio": _TELLS_CLASSES,
    "torchscript": _TELLS_CLASSES,
}
"""Options that do not fit students that tell classes apart."""


def origin(source: Source, learned: Mapping[str, Any]) -> dict[str, Any]:
    """What a package of any task says of itself and of where it comes from."""
    run = source.run
    return {
        "abbe": abbe.__version__,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip("-._")[:100] or "package",
        "title": run.summary.title,
        "lineage": lineage(source, learned),
        "training": kept(run.summary)
        | ({} if taught(run) else {"network": run.network})
        | stated(source.request)
        | _subgroups(source),
    }


def _subgroups(source: Source) -> dict[str, Any]:
    tests = list(source.dataset.split("test")) if source.request.subgroups else []
    found = scores_by_subgroup(source.run, tests, source.request.subgroups)
    return {"subgroups": found} if found else {}


def taught(run: Run) -> bool:
    """Whether the network that is handed over is the student, and no baseline of it."""
    return run.network == "student"


def kept(summary: RunSummary) -> dict[str, Any]:
    """What of a run's summary goes with the package, and what to doubt: no names of images."""
    found = summary.model_dump(mode="json", include=_KEPT, exclude_unset=True)
    for key in ("image_notes", "label_notes"):
        found.get("data", {}).pop(key, None)
    return {**found, "warnings": caveats_of(summary.model_copy(update={"left_out": []}))}


def temperature_of(run: Run, outputs: Sequence[str] = ()) -> tuple[float, ...]:
    """Of the network that is handed over: one for each output, or one for classes; none if unknown.

    An output without one keeps its probabilities.
    """
    known = run.summary.calibration.get(run.network, {})
    names = outputs or (CLASSES,)
    if not any(name in known for name in names):
        return ()
    return tuple(known[name].temperature if name in known else 1.0 for name in names)


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


def lineage(source: Source, learned: Mapping[str, Any]) -> Lineage:
    """Where the student comes from, with every licence that is known or stated.

    Raises:
        ConfigError: A licence is stated that the run knows, or of weights that there are not.
    """
    run, request, summary = source.run, source.request, source.run.summary
    teacher = summary.teacher if taught(run) else None
    licences = []
    if teacher is not None:
        for each in teacher.parts or [teacher]:
            licences.append(f"teacher {each.teacher}: {each.weights_licence}")
    teacher = teacher or Teacher()
    licences += _encoder_licence(source, learned["encoder_weights"])
    return Lineage(
        teacher=teacher.teacher or "none",
        teacher_weights_sha256=_sha256(teacher.weights_sha256),
        weights_licence="; ".join(licences) or "none: trained from scratch without a teacher",
        training_data_licence=teacher.training_data_licence or "none",
        dataset=learned["trained_on"],
        dataset_licence=_data_licence(learned["data_licence"], request.data_licence),
        recipe=learned["recipe"],
        run=run.folder.resolve().name,
        prompt_mode=teacher.prompt_mode,
        sees_labels=teacher.sees_labels,
        stand_in=teacher.stand_in,
        simulated=bool(learned["simulated"] or teacher.simulated),
        notes=(*teacher.notes, *_instead(run), *request.notes),
    )


def _encoder_licence(source: Source, weights: str) -> list[str]:
    """Of the weights that training began from; none of random ones."""
    given, architecture = source.request.encoder_licence, source.experiment.student.architecture
    known = None
    if weights == "imagenet":
        own = trunk_name_of if students.is_promptable(architecture) else encoder_name_of
        known = imagenet_licence(own(architecture))
    if given is not None and (known or weights == "random"):
        raise ConfigError(
            f"--encoder-licence: training began from no file of encoder weights but '{weights}'"
            f"{f', and timm states their licence, {known}' if known else ''}. Leave it out"
        )
    if weights == "random":
        return []
    licence = known or given or "licence not stated"
    if weights == "imagenet":
        return [f"encoder: timm's ImageNet weights ({licence}; ImageNet's own terms)"]
    return [f"encoder: {Path(weights).name}, {licence}"]


def _instead(run: Run) -> tuple[str, ...]:
    """What the card says where a baseline is handed over in the student's place."""
    if taught(run):
        return ()
    return (
        f"This is the run's {run.network} network, which no teacher taught, and not its student: "
        "gain and retention are the student's.",
    )


def _data_licence(known: str, given: str | None) -> str:
    if given is not None and known not in (NOT_STATED, given):
        raise ConfigError(
            f"--data-licence {given}: the run knows it, {known}. The option states what a run "
            "does not know: leave it out"
        )
    return given or known


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
        return build(data).seen_as(experiment.student.input_channels)
    except (InputError, ConfigError) as error:
        raise InputError(
            f"{run.folder}: the images of this run cannot be found any more, and a package is "
            f"checked on them. {error}\nSay where they are with --data-path"
        ) from error


def parity_records(source: Source, most: int) -> tuple[str, list[Record]]:
    """The split that a package is checked on, and its images, at most so many unless asked for.

    Those with a label where there are some, of the validation images, else of the test images.

    Raises:
        InputError: There are none.
    """
    most = source.request.images or most
    for split in ("val", "test"):
        records = list(source.dataset.split(split))
        if records:
            return split, spread(source.task.labelled(records) or records, most)
    raise InputError(
        f"data set '{source.dataset.name}' has neither validation nor test images, on which the "
        "package could be checked. Give --data-path"
    )


def calibration_records(dataset: Dataset, request: ExportRequest) -> list[Record]:
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
    dataset: Dataset, channels: Sequence[str], scaling: Scaling, request: ExportRequest
) -> list[np.ndarray]:
    """The middle of training images, (C, H, W) float32, from which int8 ranges are measured.

    Raises:
        InputError: There is none, and an int8 network may be wanted.
    """
    records = calibration_records(dataset, request)
    return [pixels_of(record, channels, scaling, CALIBRATION_SIDE) for record in records]


def parity_image(
    record: Record, channels: Sequence[str], scaling: Scaling, side: int
) -> ParityImage:
    """The middle of an image as the network sees it, with its label where there is one."""
    label = None if record.label is None else middle(record.label.read(), side)
    return ParityImage(record.id, pixels_of(record, channels, scaling, side), label)


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


def stored(record: Record, channels: Sequence[str], side: int) -> np.ndarray:
    """The middle of an image as stored."""
    return middle(record.image.open().read(channels=tuple(channels)), side)


def example_of(
    request: ExportRequest, channels: Sequence[str], side: int, usual: Callable[[], np.ndarray]
) -> np.ndarray:
    """The package's test image, (C, H, W) as stored, its middle of at most ``side`` px.

    Args:
        request: May name one.
        channels: That the student sees.
        side: In px.
        usual: Makes one where none is named.

    Raises:
        InputError: It cannot be read or lacks a channel.
    """
    if request.example is None:
        return usual()
    image = open_image(request.example)
    return middle(image.read(channels=channels_for(image, tuple(channels))), side)


def task_facts(
    source: Source, learned: Mapping[str, Any], train: Sequence[Record]
) -> dict[str, Any]:
    """What packages that tell classes apart say of themselves, and check of the data set.

    Raises:
        InputError: The data set lacks a channel that the student sees.
        ConfigError: The pixel size that is stated is not the run's.
    """
    build.check_channels(source.dataset, learned["channels"], "the student")
    size = common(record.image.open().pixel_size for record in spread(train, LOOKED_AT))
    facts = origin(source, learned)
    return facts | {
        "lineage": _with_pretraining(facts["lineage"], source.run),
        "channels": tuple(learned["channels"]),
        "pixel_size": source.request.stated(learned.get("pixel_size") or size),
    }


def _with_pretraining(lineage: Lineage, run: Run) -> Lineage:
    """The lineage with the tiles that the encoder was pretrained on, and their licence."""
    path = run.folder / "encoder.safetensors"
    if not path.exists():
        return lineage
    facts = students.encoder_facts(path)["facts"]
    tiles = f"{facts['trained_on']} (pretraining)"
    note = f"The encoder was pretrained ({facts['pretraining']}) on {facts['tiles']:,} tiles."
    return lineage.model_copy(
        update={
            "dataset": f"{lineage.dataset}; {tiles}",
            "dataset_licence": f"{lineage.dataset_licence}; {tiles}: {facts['data_licence']}",
            "simulated": lineage.simulated or facts["simulated"],
            "notes": (*lineage.notes, note),
        }
    )
