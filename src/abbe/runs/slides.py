"""Slides as the experiment file names them, with a bar while they are judged."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from abbe import config, datasets
from abbe.datasets import Dataset
from abbe.errors import ConfigError


def slide_tiles(data: config.Data, picture: Path | None = None) -> Dataset:
    """The tiles of slides; ``picture``: where to draw which of them are taken (PNG).

    Raises:
        ConfigError: the data are no slides.
        InputError: no slide is usable; the picture is drawn all the same where one could be read.
    """
    if data.kind != "slides" or data.path is None:
        raise ConfigError(
            f"data.kind: tiles are taken from slides, and this is '{data.kind}'. Set it to slides"
        )
    rules = datasets.TileRules(
        tile=data.size,
        pixel_size=data.tile_pixel_size,
        stride=data.stride,
        minimum_tissue=data.minimum_tissue,
        maximum_pen=data.maximum_pen,
        minimum_sharpness=data.minimum_sharpness,
    )
    with _slides_done() as progress:
        return datasets.slide_tiles(
            data.path,
            rules,
            slide_pixel_size=data.pixel_size,
            override_pixel_size=data.override_pixel_size,
            channels=data.channels,
            picture=picture,
            progress=progress,
        )


@contextmanager
def _slides_done() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on the terminal, and what moves it; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("slides", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
