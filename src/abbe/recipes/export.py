"""A finished run becomes a package."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import abbe
from abbe import config, students
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError, InputError
from abbe.exporting.bioimageio import check_request, write_bioimageio
from abbe.exporting.folder import check_free, check_new_file
from abbe.exporting.int8 import CALIBRATION_SIDE
from abbe.exporting.parity import LARGEST_SIDE, Budget, ProofImage
from abbe.exporting.prove import Int8
from abbe.exporting.torchscript import write_torchscript
from abbe.exporting.write import Images, Settings, write_package
from abbe.imaging import normalise, percentile_limits
from abbe.recipes import build
from abbe.recipes.export_promptable import RECIPE, export_promptable
from abbe.recipes.run_folder import Run, open_run, require_maps
from abbe.runtime.package import InstanceRule, Lineage, Normalisation, Package, Thresholds

TILE = 512
SMALLEST_HALO = 64
EXAMPLE_SIDE = 256
"""px of the package's test image."""


def export_run(
    run: Run | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    data_path: Path | None = None,
    int8: Int8 = "auto",
    budget: Budget | None = None,
    budget_ms: float | None = None,
    tile: Sequence[int] = (),
    halo: int | None = None,
    threads: int | None = None,
    images: int = 48,
    calibration_images: int = 128,
    bioimageio: Path | None = None,
    torchscript: Path | None = None,
    authors: Sequence[str] = ("unknown",),
    licence: str | None = None,
    say: Callable[[str], None] = print,
) -> Package:
    """Export the student of a finished run, and prove that the package answers alike.

    Args:
        run: The run, or its folder.
        out: The package, a folder to make; None for ``package`` in the run's folder.
        dataset: The images, for a run whose data set was given from Python.
        data_path: Where the images are now, if they were moved.
        int8: "auto" keeps an int8 network that stays within the budget, "required" fails without
            one, "none" tries none.
        budget: How much Dice and PQ may be lost.
        budget_ms: Most milliseconds of a tile: engine, precision, tile and threads are chosen to
            meet it with the least loss.
        tile: Sides of tiles to time, px; the package's tile.
        halo: Margin of a tile, px; None for the extent of the largest objects.
        threads: Threads to run with; None for all cores.
        images: Proof images, evenly taken from the validation images, else from the test images.
        calibration_images: Training images from which int8 ranges are measured.
        bioimageio: Also write a bioimage.io package, a .zip file.
        torchscript: Also write TorchScript, a .pt file, and put it into the bioimage.io package.
        authors: Names for the bioimage.io package.
        licence: Its SPDX name.
        say: Told of each step, in a line.

    Raises:
        InputError: The run is not finished, its weights or images are missing.
        ConfigError: ``out`` is taken, or nothing meets the time budget.
        PackageError: The package would lose more than the budget.
    """
    run = run if isinstance(run, Run) else open_run(run)
    require_maps(run)
    out = Path(out) if out is not None else run.folder / "package"
    check_free(out)
    if bioimageio is not None:
        check_request(bioimageio, licence)
    if torchscript is not None:
        check_new_file(torchscript, ".pt", "--torchscript")
    for option, value in (("images", images), ("calibration-images", calibration_images)):
        if value < 1:
            raise ConfigError(f"--{option} {value}: at least one image is needed")
    experiment = config.load(run.folder / "config.yaml")
    if run.summary["recipe"] == RECIPE:
        _refuse_for_promptable(int8, budget_ms, tile, halo, bioimageio, torchscript)
        dataset = dataset or _dataset(experiment, run, data_path)
        split, proof = _proof_records(dataset, images)
        return export_promptable(run, out, proof, split, lineage, threads, say)
    network, learned = students.load(run.student)
    dataset = dataset or _dataset(experiment, run, data_path)
    build.check_channels(dataset, learned["channels"], "the student")
    split, proof = _proof_records(dataset, images)
    calibration = _spread(list(dataset.split("train")), calibration_images)
    if not calibration and int8 != "none":
        raise InputError(
            f"data set '{dataset.name}' has no training image left, from which int8 ranges could "
            "be measured. Give --data-path, or --int8 none"
        )
    channels = learned["channels"]
    proof_images = [_proof_image(record, channels) for record in proof]
    halo = halo if halo is not None else _halo(proof_images, network.divisor)
    facts = {
        **describe(run, experiment, learned, out.name),
        "architecture": network.architecture,
        "channels": tuple(channels),
        "divisor": network.divisor,
        "outputs": network.outputs,
        "tile": max(TILE, 4 * halo) if not tile else tile[0],
        "halo": halo,
    }
    package = write_package(
        out,
        network,
        run.student,
        facts,
        Images(
            proof_images,
            split,
            [_pixels(record, channels, CALIBRATION_SIDE) for record in calibration],
            _example(proof, channels),
        ),
        Settings(int8, budget or Budget(), budget_ms, tuple(tile), threads),
        say,
    )
    if torchscript is not None:
        write_torchscript(network, torchscript, network.in_channels, network.divisor)
        say(f"TorchScript: {torchscript}")
    if bioimageio is not None:
        write_bioimageio(
            package, bioimageio, authors=authors, licence=licence, torchscript=torchscript
        )
        say(f"bioimage.io package, which passes bioimageio.core's test: {bioimageio}")
    return package


def _refuse_for_promptable(
    int8: Int8,
    budget_ms: float | None,
    tile: Sequence[int],
    halo: int | None,
    bioimageio: Path | None,
    torchscript: Path | None,
) -> None:
    """Refuse what a promptable package does not have."""
    asked = {
        "--int8 required": int8 == "required",
        "--budget-ms": budget_ms is not None,
        "--tile": bool(tile),
        "--halo": halo is not None,
        "--bioimageio": bioimageio is not None,
        "--torchscript": torchscript is not None,
    }
    for option, given in asked.items():
        if given:
            raise ConfigError(
                f"{option}: not for a promptable package, which is fp32 and sees each image whole. "
                "Leave it out"
            )


def describe(
    run: Run, experiment: config.Experiment, learned: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """What the package says of its origin, and how its maps are cut."""
    summary = run.summary
    thresholds = summary["thresholds"]["student"]
    kept = ("data", "teacher_sees", "models", "gain", "retention", "retention_ci95", "warnings")
    return {
        "abbe": abbe.__version__,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "package",
        "title": summary["title"],
        "task": "segmentation",
        "pixel_size": learned["pixel_size"],
        "normalisation": Normalisation(),
        "thresholds": Thresholds(**thresholds),
        "instances": InstanceRule(minimum_area=max(1, experiment.evaluation.minimum_area)),
        "lineage": lineage(run, learned),
        "training": {key: summary[key] for key in kept if key in summary},
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


def _dataset(experiment: config.Experiment, run: Run, moved_to: Path | None) -> Dataset:
    data = experiment.data
    if moved_to is not None:
        data = data.model_copy(update={"path": moved_to})
    try:
        return build.build_dataset(data)
    except (InputError, ConfigError) as error:
        raise InputError(
            f"{run.folder}: the images of this run cannot be found any more, and a package is "
            f"proven on them. {error}\nSay where they are with --data-path"
        ) from error


def _proof_records(dataset: Dataset, most: int) -> tuple[str, list[Record]]:
    for split in ("val", "test"):
        records = list(dataset.split(split))
        if records:
            labelled = [record for record in records if record.label is not None]
            return split, _spread(labelled or records, most)
    raise InputError(
        f"data set '{dataset.name}' has neither validation nor test images, on which the package "
        "could be proven. Give --data-path"
    )


def _spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most so many of them, evenly spaced."""
    if len(records) <= most:
        return list(records)
    return [records[round(place)] for place in np.linspace(0, len(records) - 1, most)]


def _proof_image(record: Record, channels: Sequence[str]) -> ProofImage:
    pixels = _pixels(record, channels, LARGEST_SIDE)
    if record.label is None:
        return ProofImage(record.id, pixels)
    return ProofImage(record.id, pixels, _middle(record.label.read(), LARGEST_SIDE))


def _pixels(record: Record, channels: Sequence[str], side: int) -> np.ndarray:
    """The middle of an image, normalised by the percentiles of the whole of it."""
    pixels = record.image.open().read(channels=tuple(channels))
    return normalise(_middle(pixels, side), percentile_limits(pixels))


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[..., top : top + side, left : left + side]


def _example(records: Sequence[Record], channels: Sequence[str]) -> np.ndarray:
    """As stored: the middle of the proof image that has the most labelled px there."""

    def labelled(record: Record) -> int:
        if record.label is None:
            return 0
        return int(np.count_nonzero(_middle(record.label.read(), EXAMPLE_SIDE) > 0))

    record = max(records, key=labelled)
    return _middle(record.image.open().read(channels=tuple(channels)), EXAMPLE_SIDE)


def _halo(images: Sequence[ProofImage], divisor: int) -> int:
    """The extent of the largest labelled objects (99th percentile), in whole divisors."""
    extents = [
        max(part.stop - part.start for part in box)
        for image in images
        if image.label is not None
        for box in ndimage.find_objects(np.maximum(image.label, 0))
        if box is not None
    ]
    extent = float(np.percentile(extents, 99)) if extents else SMALLEST_HALO
    return math.ceil(max(extent, SMALLEST_HALO) / divisor) * divisor
