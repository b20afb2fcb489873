"""The packages of a service: found by name, opened before the first request."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from abbe.errors import ConfigError
from abbe.runtime.job import Predictor
from abbe.runtime.package import read_package
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.predictors.tasks import open_predictor
from abbe.service.asked import RESULTS

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<place>.+)")
"""Places may have = in them, too, but not before anything that a name has not."""


def open_packages(places: Sequence[str], **options: Unpack[RunOptions]) -> Mapping[str, Predictor]:
    """Packages that are ready to run, by the names under which they are asked for.

    Args:
        places: Folders, names of packages that come with Abbe, "hf:OWNER/NAME"; or NAME=PLACE to
            have one called otherwise than it calls itself.
        options: How all of them are run.

    Raises:
        ConfigError: Two have one name, or an option does not fit one.
        PackageError: There is no package, or it is damaged.
    """
    found = {}
    for each in places:
        named = _NAMED.fullmatch(each)
        place = named["place"] if named else each
        package = read_package(place)
        name = named["name"] if named else package.description.name
        if name in found:
            raise ConfigError(
                f"--api {each}: there is a package '{name}' already. Call one of them otherwise: "
                f"--api {name} {name}-2={place}"
            )
        found[name] = package
    return {name: open_predictor(package, **options) for name, package in found.items()}


def describe(name: str, predictor: Predictor) -> dict[str, Any]:
    """What clients are told of a package."""
    told = predictor.package.description
    return {
        "name": name,
        "title": told.title,
        "task": told.task,
        "channels": list(told.channels),
        "pixel_size": told.pixel_size,
        "classes": list(told.classes),
        "prompted": told.traits.prompted,
        "answers": [name for name, result in RESULTS.items() if result in predictor.results],
        "abbe": told.abbe,
        "engine": predictor.engine.engine,
        "precision": predictor.engine.precision,
    }
