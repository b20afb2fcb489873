"""In whose stains a package sees H&E: those of its own example, or of an image of the user's."""

from __future__ import annotations

import os
from pathlib import Path

from abbe.errors import ConfigError
from abbe.imaging import open_image
from abbe.imaging.stain import Stains, stains_of_image
from abbe.runtime.package import Package

OF_PACKAGE = "package"
"""What to say for the package's own example."""


def stain_of(package: Package, like: str | os.PathLike[str] | None) -> Stains | None:
    """The stains that images are to be seen in; None where nothing is said.

    Args:
        package: What is run.
        like: "package" for its test image, or an image.

    Raises:
        ConfigError: The package is promptable, does not see red, green and blue, or has no test
            image.
        InputError: The image cannot be read, or is no H&E.
    """
    if like is None:
        return None
    described = package.description
    if described.traits.prompted or set(described.channels) != {"red", "green", "blue"}:
        raise ConfigError(
            "--stain-like: is for packages that see red, green and blue and find by themselves; "
            f"this one sees {', '.join(described.channels)}"
            + (" and is shown each object" if described.traits.prompted else "")
        )
    if os.fspath(like) != OF_PACKAGE:
        return stains_of_image(open_image(like))
    if not package.has("test_image"):
        raise ConfigError(
            "--stain-like package: this package has no test image. Give an image that it was "
            "trained on: --stain-like FILE"
        )
    return stains_of_image(
        open_image(Path(package.file("test_image")), channels=described.channels)
    )
