"""The figures of ``abbe bench`` as a picture."""

from pathlib import Path

import numpy as np

from abbe.errors import ConfigError, MissingExtraError
from abbe.files import atomic_path
from abbe.in_words import counted
from abbe.runtime.bench.speed import Bench
from abbe.runtime.tiling.timing import PARTS

SUFFIXES = (".png", ".svg")


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be written, before anything is measured.

    Raises:
        ConfigError: Its name has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--picture {path}: the name must end in {' or '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "train", "A picture of the figures") from error


def draw(result: Bench, path: Path) -> None:
    """Draw whole jobs as stacked bars: seconds a megapixel by part."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 1.2 + 0.6 * len(result.jobs)), layout="tight")
    names = list(result.jobs)[::-1]
    left = np.zeros(len(names))
    for part, colour in zip(PARTS, ("#9aa5b1", "#2f6f9f", "#e0a030", "#6a9955"), strict=True):
        values = np.array(
            [
                1000
                * result.jobs[name].seconds
                * result.jobs[name].parts[part]
                / (sum(result.jobs[name].parts.values()) or 1.0)
                / result.jobs[name].megapixels
                for name in names
            ]
        )
        axes.barh(names, values, left=left, color=colour, label=part)
        left += values
    axes.set_xlabel("ms a megapixel, wall time")
    axes.set_title(f"{result.package}: {counted(result.machine['cores'], 'core')}")
    axes.legend(ncols=len(PARTS), frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix[1:].lower())
    pyplot.close(figure)
