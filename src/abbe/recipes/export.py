"""A finished run becomes a package."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from abbe import config, students
from abbe.datasets import Dataset, Record
from abbe.errors import ConfigError
from abbe.exporting.bioimageio import check_request, write_bioimageio
from abbe.exporting.comparison import Budget, Images, ProofImage
from abbe.exporting.folder import check_free, check_new_file
from abbe.exporting.parity import LARGEST_SIDE
from abbe.exporting.prove import Int8
from abbe.exporting.torchscript import write_torchscript
from abbe.exporting.unfinished import Unfinished
from abbe.exporting.write import write_package
from abbe.files import sha256_of_file
from abbe.imaging import Scaling
from abbe.recipes.export_common import (
    Request,
    calibration_pixels,
    calibration_records,
    dataset_of,
    input_of,
    lineage,
    middle,
    origin,
    pixels_of,
    proof_records,
)
from abbe.recipes.export_promptable import RECIPE, export_promptable
from abbe.runs import build
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runtime.package import InstanceRule, Package, Thresholds
from abbe.tasks import labelled as task_data

IMAGES = 48
"""Proof images, where nothing else is said."""
MOST_THREADS = 1024
"""A package's description holds no more."""
SMALLEST_HALO = 64
EXAMPLE_SIDE = 256
"""px of the package's test image."""
UNKNOWN = ("unknown",)
"""Authors, where none is named."""


def export_run(
    run: Run | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    data_path: Path | None = None,
    pixel_size: float | None = None,
    int8: Int8 = "auto",
    budget: Budget | None = None,
    budget_ms: float | None = None,
    tile: Sequence[int] = (),
    halo: int | None = None,
    context: int | None = None,
    threads: int | None = None,
    images: int | None = None,
    calibration_images: int = 128,
    bioimageio: Path | None = None,
    torchscript: Path | None = None,
    authors: Sequence[str] = UNKNOWN,
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
        budget: How much may be lost.
        budget_ms: Most milliseconds of a tile: engine, precision, tile and threads are chosen to
            meet it with the least loss.
        tile: Sides of tiles to time, px; the package's tile.
        halo: px around a tile's core in which objects are looked for; None for the extent of the
            largest objects.
        context: px at a window's cut edges that the network sees for the sake of the rest; None
            for 64.
        threads: Threads to run with; None for all cores.
        images: Proof images, evenly taken from the validation images, else from the test images;
            None for 48, or 500 of a classification.
        calibration_images: Training images from which int8 ranges are measured.
        pixel_size: In µm, for a run that does not know at which its student was trained; images
            are resampled to it when the package runs.
        bioimageio: Also write a bioimage.io package, a .zip file.
        torchscript: Also write TorchScript, a .pt file, and put it into the bioimage.io package.
        authors: Names for the bioimage.io package.
        licence: Its SPDX name.
        say: Told of each step, in a line.

    Raises:
        InputError: The run is not finished, its weights or images are missing.
        ConfigError: ``out`` is taken, an option is out of its range or does not fit the run, or
            nothing meets the time budget.
        PackageError: The package would lose more than the budget.
    """
    run = run if isinstance(run, Run) else open_run(run)
    require_student(run)
    out = Path(out) if out is not None else run.folder / "package"
    budget = budget or Budget()
    if bioimageio is None and (licence is not None or tuple(authors) != UNKNOWN):
        raise ConfigError(
            "--licence, --authors: are written into the bioimage.io package. Give its file, "
            "--bioimageio NAME.zip, or leave them out"
        )
    _check_numbers(images, calibration_images, threads, budget_ms, budget)
    request = Request(
        int8=int8,
        budget=budget,
        budget_ms=budget_ms,
        tile=tuple(tile),
        halo=halo,
        context=context,
        threads=threads,
        images=images,
        calibration_images=calibration_images,
        pixel_size=pixel_size,
    )
    experiment = read_experiment(run.folder)
    _check_data_path(data_path, experiment.data.kind, dataset)
    package, unfinished = None, None
    if beside := [path for path in (bioimageio, torchscript) if path is not None]:
        named = {"beside": beside, "authors": list(authors), "licence": licence}
        weights = {"student": sha256_of_file(run.student)}
        unfinished = Unfinished(out, {**dataclasses.asdict(request), **named, **weights})
        package = unfinished.package()
    if package is None:
        check_free(out)
    if run.summary["recipe"] == RECIPE:
        _refuse_for_promptable(request, bioimageio, torchscript)
        dataset = dataset or dataset_of(experiment, run, data_path, build.build_dataset)
        split, proof = proof_records(dataset, images or IMAGES, _labelled)
        calibration = calibration_records(dataset, request)
        return export_promptable(run, out, proof, split, lineage, request, say, calibration)
    if run.summary["recipe"] == "rckd":
        from abbe.recipes.export_task import export_task

        _refuse_for_classes(request, bioimageio, torchscript)
        task = experiment.fine_tuning.task
        dataset = dataset or dataset_of(
            experiment, run, data_path, lambda data: task_data.task_dataset(data, task)
        )
        return export_task(run, out, experiment, dataset, request, say)
    network, learned = students.load(run.student)
    if package is None:
        if bioimageio is not None:
            check_request(bioimageio, licence)
        if torchscript is not None:
            check_new_file(torchscript, ".pt", "--torchscript")
        dataset = dataset or dataset_of(experiment, run, data_path, build.build_dataset)
        if unfinished is not None:
            unfinished.begin()
        package = _export_objects(run, out, experiment, network, learned, dataset, request, say)
    else:
        say(f"{out}: was made by the same call; what was to follow it is written now")
    if torchscript is not None and not torchscript.exists():
        write_torchscript(network, torchscript, network.in_channels, network.divisor)
        say(f"TorchScript: {torchscript}")
    if bioimageio is not None and not bioimageio.exists():
        write_bioimageio(
            package, bioimageio, authors=authors, licence=licence, torchscript=torchscript
        )
        say(f"bioimage.io package, which passes bioimageio.core's test: {bioimageio}")
    if unfinished is not None:
        unfinished.end()
    return package


def _check_numbers(
    images: int | None,
    calibration_images: int,
    threads: int | None,
    budget_ms: float | None,
    budget: Budget,
) -> None:
    """Refuse numbers that would fail only once the work is done."""
    for option, value in (("images", images), ("calibration-images", calibration_images)):
        if value is not None and value < 1:
            raise ConfigError(f"--{option} {value}: at least one image is needed")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"--threads {threads}: give 1 to {MOST_THREADS}, or leave it out")
    if budget_ms is not None and not 0 < budget_ms < math.inf:
        raise ConfigError(f"--budget-ms {budget_ms:g}: give milliseconds above 0, or leave it out")
    for name, most in dataclasses.asdict(budget).items():
        if not most >= 0:  # as a negation, so that NaN is refused
            option = name.replace("_", "-")
            raise ConfigError(f"--budget-{option} {most:g}: give what may be lost, 0 or more")


def _check_data_path(data_path: Path | None, kind: str, dataset: Dataset | None) -> None:
    """Refuse a place of images that is not there, or that would not be looked at."""
    if data_path is None:
        return
    if dataset is not None:
        raise ConfigError(f"--data-path {data_path}: the data set itself is given. Leave it out")
    if kind == "simulated":
        raise ConfigError(
            f"--data-path {data_path}: this run's images are simulated, and made again for the "
            "export. Leave it out"
        )
    if not data_path.exists():
        raise ConfigError(f"--data-path {data_path}: there is no such folder. Check the path")


def _export_objects(
    run: Run,
    out: Path,
    experiment: config.Experiment,
    network: students.UNet,
    learned: dict[str, Any],
    dataset: Dataset,
    request: Request,
    say: Callable[[str], None],
) -> Package:
    """Export a student that finds objects by foreground and boundary."""
    channels = learned["channels"]
    build.check_channels(dataset, channels, "the student")
    split, proof = proof_records(dataset, request.images or IMAGES, _labelled)
    seen = input_of(run, learned, network)
    scaling = seen["normalisation"].scaling
    calibration = calibration_pixels(dataset, channels, scaling, request)
    proof_images = [_proof_image(record, channels, scaling) for record in proof]
    halo = request.halo if request.halo is not None else _halo(proof_images, network.divisor)
    thresholds = run.summary["thresholds"]["student"]
    facts = {
        **origin(run, learned, out.name),
        "task": "segmentation",
        "architecture": network.architecture,
        "channels": tuple(channels),
        "pixel_size": request.stated(learned["pixel_size"]),
        **seen,
        "divisor": network.divisor,
        "outputs": network.outputs,
        "thresholds": Thresholds(**thresholds),
        "instances": InstanceRule(minimum_area=max(1, experiment.evaluation.minimum_area)),
        "halo": halo,
        **request.tiling(network.divisor),
    }
    images = Images(proof_images, split, calibration, _example(proof, channels))
    return write_package(out, network, run.student, facts, images, request.settings, say)


def _labelled(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.label is not None]


def _refuse_for_promptable(
    request: Request, bioimageio: Path | None, torchscript: Path | None
) -> None:
    """Refuse what a promptable package does not have."""
    asked = {
        "--budget-ms": request.budget_ms is not None,
        "--tile": bool(request.tile),
        "--halo": request.halo is not None,
        "--context": request.context is not None,
        "--pixel-size": request.pixel_size is not None,
        "--bioimageio": bioimageio is not None,
        "--torchscript": torchscript is not None,
    }
    for option, given in asked.items():
        if given:
            raise ConfigError(
                f"{option}: not for a promptable package, which sees each image whole. Leave it out"
            )


def _refuse_for_classes(
    request: Request, bioimageio: Path | None, torchscript: Path | None
) -> None:
    """Refuse what is for students that find objects only."""
    if request.halo is not None:
        raise ConfigError("--halo: is for students that find objects; leave it out")
    for option, path in (("--bioimageio", bioimageio), ("--torchscript", torchscript)):
        if path is not None:
            raise ConfigError(
                f"{option}: is written for students that find objects; this one tells classes "
                "apart. Leave it out: the package's model.onnx is what other programs read"
            )


def _proof_image(record: Record, channels: Sequence[str], scaling: Scaling) -> ProofImage:
    pixels = pixels_of(record, channels, scaling, LARGEST_SIDE)
    if record.label is None:
        return ProofImage(record.id, pixels)
    return ProofImage(record.id, pixels, middle(record.label.read(), LARGEST_SIDE))


def _example(records: Sequence[Record], channels: Sequence[str]) -> np.ndarray:
    """As stored: the middle of the proof image that has the most labelled px there."""

    def labelled(record: Record) -> int:
        if record.label is None:
            return 0
        return int(np.count_nonzero(middle(record.label.read(), EXAMPLE_SIDE) > 0))

    record = max(records, key=labelled)
    return middle(record.image.open().read(channels=tuple(channels)), EXAMPLE_SIDE)


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
