"""Slides as the experiment file names them, with a bar while they are judged."""

from pathlib import Path

from abbe import config, datasets
from abbe.datasets import Dataset
from abbe.errors import ConfigError
from abbe.progress import bar


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
    with bar("slides", None, transient=True) as moving:
        return datasets.slide_tiles(
            data.path,
            rules,
            slide_pixel_size=data.pixel_size,
            override_pixel_size=data.override_pixel_size,
            channels=data.channels,
            classes=data.classes,
            group=data.group,
            picture=picture,
            progress=moving.move_to,
        )
