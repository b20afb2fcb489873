"""From a package of any task to what runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Unpack

from abbe.errors import ConfigError
from abbe.runtime.job import Ready
from abbe.runtime.package import Package, read_package
from abbe.runtime.running import Running

_HOME: Mapping[str, tuple[str, str]] = {
    "segmentation": ("abbe.runtime.prediction", "predictor"),
    "regions": ("abbe.runtime.regions", "region_predictor"),
    "classification": ("abbe.runtime.classification", "class_predictor"),
}
"""By task, the module and the function that make a package ready; imported when asked for."""


def ready_for(package: Package | str | os.PathLike[str], **running: Unpack[Running]) -> Ready:
    """Make a package ready to run on images.

    Args:
        package: The package or its folder.
        running: engine, precision, threads, tile, workers: see `Running`.

    Raises:
        ConfigError: The package is a promptable one; tile, engine or precision do not fit it.
        PackageError: It is damaged.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    task = package.description.task
    if task not in _HOME:
        raise ConfigError(
            f"{package.folder}: this is a {task} package, which must be shown each object: use "
            "abbe.PromptablePredictor, or abbe predict --prompts"
        )
    module, function = _HOME[task]
    return getattr(import_module(module), function)(package, **running)
