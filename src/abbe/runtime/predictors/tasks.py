"""From a package of any task to what runs it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Unpack

from abbe.imaging import AS_THEY_SAY, Reading
from abbe.runtime.job import Ready
from abbe.runtime.package import Package, read_package
from abbe.runtime.predictors.opening import Running
from abbe.runtime.tiling.workers import prompted_workers, shapes_in_files, useful_workers

_HOME: Mapping[str, tuple[str, str]] = {
    "segmentation": ("abbe.runtime.predictors.instances", "predictor"),
    "regions": ("abbe.runtime.predictors.regions", "region_predictor"),
    "classification": ("abbe.runtime.predictors.classification", "class_predictor"),
    "promptable": ("abbe.runtime.predictors.prompted", "prompted_predictor"),
}
"""By task, the module and the function that make a package ready; imported when asked for."""


def ready_for(package: Package | str | os.PathLike[str], **running: Unpack[Running]) -> Ready:
    """Make a package ready to run on images; a promptable one also needs prompts (`Job`).

    Args:
        package: The package or its folder.
        running: engine, precision, threads, tile, workers: see `Running`.

    Raises:
        ConfigError: Tile, engine or precision do not fit the package.
        PackageError: It is damaged.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    module, function = _HOME[package.description.task]
    return getattr(import_module(module), function)(package, **running)


def ready_for_files(
    package: Package,
    images: Iterable[Path],
    reading: Reading = AS_THEY_SAY,
    **running: Unpack[Running],
) -> Ready:
    """The same, where it is known which images are to come: few tiles get more threads each.

    Args:
        package: The package.
        images: Files.
        reading: How the user has files read.
        running: engine, precision, threads, tile, workers: see `Running`.

    Raises:
        ConfigError, PackageError: As `ready_for`.
    """
    if running.get("workers") is None:
        description = package.description
        shapes = shapes_in_files(images, description, reading)
        if description.task == "promptable":
            running["workers"] = prompted_workers(shapes)
        else:
            running["workers"] = useful_workers(shapes, running.get("tile") or description.tile)
    return ready_for(package, **running)
