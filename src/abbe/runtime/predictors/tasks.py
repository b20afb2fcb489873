"""From a package of any task to the predictor that runs it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Unpack

from abbe.imaging import AS_THEY_SAY, Reading
from abbe.runtime.job import Predictor
from abbe.runtime.package import Package, read_package
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.tiling.workers import prompted_workers, shapes_in_files, useful_workers


def open_predictor(
    package: Package | str | os.PathLike[str], **options: Unpack[RunOptions]
) -> Predictor:
    """Make a package ready to run on images; a promptable one also needs prompts (`Job`).

    Args:
        package: The package or its folder.
        options: engine, precision, threads, tile, workers, device: see `RunOptions`.

    Raises:
        ConfigError: Tile, engine or precision do not fit the package.
        PackageError: It is damaged.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    module, _, function = package.description.traits.predictor.partition(":")
    return getattr(import_module(module), function)(package, **options)


def open_predictor_for(
    package: Package,
    images: Iterable[Path],
    reading: Reading = AS_THEY_SAY,
    **options: Unpack[RunOptions],
) -> Predictor:
    """The same, where it is known which images are to come: few tiles get more threads each.

    Args:
        package: The package.
        images: Files.
        reading: How the user has files read.
        options: engine, precision, threads, tile, workers, device: see `RunOptions`.

    Raises:
        ConfigError, PackageError: As `open_predictor`.
    """
    if options.get("workers") is None:
        description = package.description
        shapes = shapes_in_files(images, description, reading)
        if description.traits.prompted:
            options["workers"] = prompted_workers(shapes)
        else:
            options["workers"] = useful_workers(shapes, options.get("tile") or description.tile)
    return open_predictor(package, **options)
