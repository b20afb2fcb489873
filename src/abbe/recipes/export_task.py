"""A finished run of RCKD becomes a package that tells classes of images or of pixels apart."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from abbe import config, students
from abbe.datasets import Dataset, Record, class_numbers
from abbe.errors import ConfigError
from abbe.exporting.comparison import Images, ProofImage
from abbe.exporting.region_parity import LARGEST_SIDE
from abbe.exporting.write import write_package
from abbe.imaging import Scaling, normalise
from abbe.recipes.export_common import (
    Request,
    calibration_pixels,
    input_of,
    middle,
    origin,
    pixels_of,
    proof_records,
    spread,
)
from abbe.runs import build
from abbe.runs.folder import Run
from abbe.runs.pixel_sizes import common
from abbe.runtime.package import InstanceRule, Lineage, Normalisation, Package
from abbe.tasks import labelled as task_data

CLASSIFIED, SEGMENTED = 500, 48
"""Proof images, where nothing else is said: of a classified one little is seen."""
_MEMORY, _FEWEST = 1 << 30, 16
"""Bytes of proof images of a classification, all held at once; of large ones there are fewer."""
STRIDE = 32
"""px; tiles of classifiers are multiples of it."""
LARGEST_TILE = 2048
"""px; training images that are larger are classified in tiles of this side."""
EXAMPLE_SIDE = 256
"""px of the test image of regions."""
_LOOKED_AT = 256
"""Training images whose size and pixel size are looked at."""


def export_task(
    run: Run,
    out: Path,
    experiment: config.Experiment,
    dataset: Dataset,
    request: Request,
    say: Callable[[str], None],
) -> Package:
    """Export the student of a run of RCKD, and prove that the package answers alike.

    Args:
        run: The run.
        out: The folder to make.
        experiment: The run's own.
        dataset: Its images.
        request: What is asked for.
        say: Told of each step, in a line.

    Raises:
        InputError: Weights or images are missing, or torch cannot export the network.
        ConfigError: ``out`` is taken, tiles do not fit, or nothing meets the time budget.
        PackageError: An engine loses more than the budget.
    """
    least = max(1, experiment.evaluation.minimum_area)
    describe = {"classification": _classes, "segmentation": partial(_regions, least=least)}
    read = describe[experiment.fine_tuning.task]
    network, facts, images = read(run, out.name, dataset, request)
    scaling = facts["normalisation"].scaling
    calibration = calibration_pixels(dataset, facts["channels"], scaling, request)
    seen = Images(images.proof, images.split, calibration, images.example)
    return write_package(out, network, run.student, facts, seen, request.settings, say)


class _Shown(NamedTuple):
    """Images of the proof, the split they are of, and the test image as stored."""

    proof: list[ProofImage]
    split: str
    example: np.ndarray


def _classes(
    run: Run, name: str, dataset: Dataset, request: Request
) -> tuple[nn.Module, dict[str, Any], _Shown]:
    if request.context is not None:
        raise ConfigError("--context: tiles that are classified have none; leave it out")
    network, learned = students.load_classifier(run.student)
    classifier = network.classifier if isinstance(network, students.LinearProbe) else network
    probe = ", linear probe" if classifier is not network else ""
    train = _training(dataset, "classification")
    tile = request.tile[0] if request.tile else _tile(train)
    facts = {
        **_facts(run, learned, name, train, request),
        "task": "classification",
        "architecture": f"{classifier.architecture}{probe}",
        **_by_tile(input_of(run, learned, network)),
        "divisor": divisor_of(classifier.architecture),
        "classes": classifier.classes,
        "tile": tile,
        "halo": 0,
    }
    numbers, scaling = class_numbers(dataset), facts["normalisation"].scaling
    named = partial(task_data.labelled, task="classification")
    split, proof = _proof(dataset, learned, request.images or _affordable(facts), named)
    images = [
        ProofImage(
            record.id,
            normalise(own := _stored(record, learned, tile), scaling.limits(own, record.id)),
            category=numbers.get(record.id),
        )
        for record in proof
    ]
    return network, facts, _Shown(images, split, _stored(proof[0], learned, tile))


def _regions(
    run: Run, name: str, dataset: Dataset, request: Request, *, least: int
) -> tuple[nn.Module, dict[str, Any], _Shown]:
    network, learned = students.load(run.student)
    facts = {
        **_facts(run, learned, name, _training(dataset, "segmentation"), request),
        "task": "regions",
        "architecture": network.architecture,
        **input_of(run, learned, network),
        "divisor": network.divisor,
        "classes": network.outputs,
        "instances": InstanceRule(rule="components", minimum_area=least),
        "halo": 0,
        **request.tiling(network.divisor),
    }
    named = partial(task_data.labelled, task="segmentation")
    split, proof = _proof(dataset, learned, request.images or SEGMENTED, named)
    one = network.outputs[-1] == task_data.FOREGROUND
    scaling = facts["normalisation"].scaling
    images = [_region_image(record, learned["channels"], scaling, one) for record in proof]
    return network, facts, _Shown(images, split, _stored(proof[0], learned, EXAMPLE_SIDE))


def _facts(
    run: Run,
    learned: Mapping[str, Any],
    name: str,
    train: Sequence[Record],
    request: Request,
) -> dict[str, Any]:
    """What packages of both tasks say of themselves."""
    size = common(record.image.open().pixel_size for record in train)
    facts = origin(run, learned, name)
    return facts | {
        "lineage": _with_pretraining(facts["lineage"], run),
        "channels": tuple(learned["channels"]),
        "pixel_size": request.stated(learned.get("pixel_size") or size),
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


def divisor_of(architecture: str) -> int:
    """px that the sides of what a classifier sees are multiples of.

    torch exports convolutions for any size; of Swin's windows it needs to know how many there are.
    """
    return STRIDE if "swin" in architecture else 1


def _affordable(facts: Mapping[str, Any]) -> int:
    """How many images are classified in the proof."""
    each = 4 * len(facts["channels"]) * facts["tile"] ** 2
    return min(CLASSIFIED, max(_FEWEST, _MEMORY // each))


def _training(dataset: Dataset, task: str) -> list[Record]:
    """Some of the labelled training images, evenly spaced."""
    return spread(task_data.labelled(dataset.split("train"), task), _LOOKED_AT)


def _tile(train: Sequence[Record]) -> int:
    """Side of the largest training image, in whole strides: each is one tile."""
    side = max((max(record.image.open().shape) for record in train), default=LARGEST_TILE)
    return min(math.ceil(side / STRIDE) * STRIDE, LARGEST_TILE)


def _proof(
    dataset: Dataset,
    learned: Mapping[str, Any],
    most: int,
    labelled: Callable[..., list[Record]],
) -> tuple[str, list[Record]]:
    build.check_channels(dataset, learned["channels"], "the student")
    return proof_records(dataset, most, labelled)


def _stored(record: Record, learned: Mapping[str, Any], side: int) -> np.ndarray:
    """The middle of an image as stored."""
    return middle(record.image.open().read(channels=tuple(learned["channels"])), side)


def _by_tile(seen: dict[str, Any]) -> dict[str, Any]:
    """Percentiles are those of each tile: a classifier learned from images that were tiles."""
    own: Normalisation = seen["normalisation"]
    if own.kind != "percentile":
        return seen
    return seen | {"normalisation": own.model_copy(update={"kind": "tile_percentile"})}


def _region_image(
    record: Record, channels: Sequence[str], scaling: Scaling, one: bool
) -> ProofImage:
    """An image with the class of each pixel; ``one``: whatever is labelled is of one class."""
    pixels = pixels_of(record, channels, scaling, LARGEST_SIDE)
    if record.label is None:
        return ProofImage(record.id, pixels)
    label = middle(record.label.read(), LARGEST_SIDE)
    return ProofImage(record.id, pixels, np.minimum(label, 1) if one else label)
