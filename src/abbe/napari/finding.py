"""Find the objects in slices of layers, as ``abbe predict`` finds them in files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import ConfigError, InputError
from abbe.imaging.bounds import LARGEST_READ
from abbe.napari.channels import Channel
from abbe.napari.prompting import outline
from abbe.napari.reader import PACKAGE, LayerData, features
from abbe.napari.slices import Position, placement, slice_image
from abbe.runtime.package import Package
from abbe.runtime.package.engine import Precision
from abbe.runtime.predictors.instances import InstancePredictor, predictor
from abbe.runtime.predictors.predict import threads_for
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.predictors.prompted import as_field
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.work import Work
from abbe.runtime.tiling.workers import useful_workers
from abbe.runtime.writing.table import measure


@dataclass(frozen=True)
class Search:
    """All that is to be done.

    Attributes:
        package: A package for segmentation, or a promptable one.
        channels: A channel for each that the package sees, in its order, all of one size.
        positions: The slices to search: one, or all of the stack in order.
        pixel_size: µm; None where it is not known.
        precision: None for what the package says.
        threads: Processor threads; None for all.
        keep_maps: Whether probability maps are wanted too.
        prompts: What a promptable package is asked for.
    """

    package: Package
    channels: tuple[Channel, ...]
    positions: tuple[Position, ...]
    pixel_size: float | None = None
    precision: Precision | None = None
    threads: int | None = None
    keep_maps: bool = False
    prompts: tuple[ObjectPrompt, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result: that of the stack, with one entry on its axes for one slice."""
        stack = self.channels[0].shape
        return stack if len(self.positions) > 1 else (*(1 for _ in stack[:-2]), *stack[-2:])


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        labels: (…, H, W) int32: 0 = background; no number stands in two slices.
        table: Measurements, one value an object; for a stack also the object's slice.
        maps: By name of the package's output, (…, H, W) uint8: 255 = certain.
    """

    labels: np.ndarray
    table: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


def check(search: Search) -> None:
    """Refuse what would fail later.

    Raises:
        ConfigError: The package is for another task; a channel was chosen twice.
        InputError: The pixel size is needed and not known, or the result is too large for memory.
    """
    check_task(search.package)
    for each in (check_prompts, check_channels, check_pixel_size, check_size):
        each(search)


def check_task(package: Package) -> None:
    """Refuse a package that finds no objects.

    Raises:
        ConfigError: It is for another task.
    """
    description = package.description
    if not (description.traits.finds_objects or description.traits.prompted):
        raise ConfigError(
            f"{package.folder}: this is a {description.task} package; only segmentation "
            "packages find objects by themselves, and promptable ones where they are asked to"
        )


def check_prompts(search: Search) -> None:
    """Refuse a promptable package without prompts.

    Raises:
        InputError: There are none.
    """
    if search.package.description.traits.prompted and not search.prompts:
        raise InputError(
            f"{search.channels[0].layer.name}: this package must be shown each object: draw boxes "
            "around them in a shapes layer, or points on them in a points layer, and choose that "
            "layer as prompts"
        )


def check_channels(search: Search) -> None:
    """Refuse one channel in place of two.

    Raises:
        ConfigError: One was chosen twice.
    """
    if len(set(search.channels)) < len(search.channels):
        layer = search.channels[0].layer
        raise ConfigError(f"{layer.name}: a channel was chosen twice. Choose another for each")


def check_pixel_size(search: Search) -> None:
    """Refuse an image of unknown size for a package that needs it.

    Raises:
        InputError: So it is.
    """
    wanted = search.package.description.pixel_size
    if wanted is not None and search.pixel_size is None:
        raise InputError(
            f"{search.channels[0].layer.name}: its pixel size is not known, and the package needs "
            f"it (it was trained at {wanted:g} µm). Enter the layer's in µm"
        )


def check_size(search: Search) -> None:
    """Refuse a result that does not fit into memory.

    Raises:
        InputError: It is too large.
    """
    each = 4 + (len(search.package.description.outputs) if search.keep_maps else 0)
    if (size := int(np.prod(search.shape, dtype=float)) * each) > LARGEST_READ:
        raise InputError(
            f"{search.channels[0].layer.name}: the result would fill {size / 2**30:.0f} GiB of "
            f"memory, and the limit is {LARGEST_READ >> 30}. Use 'abbe predict' for the file, "
            "which needs little"
        )


def find(search: Search, advance: Callable[[float], None]) -> Found:
    """Search every slice by itself; with prompts, one slice.

    Args:
        search: What to do.
        advance: Told the share of the work that is newly done; what it raises ends the search.

    Raises:
        AbbeError: All that `abbe.runtime.predictor` and `InstancePredictor.run` raise, or
            `abbe.napari.prompting.outline`.
    """
    if search.package.description.traits.prompted:
        return _find_prompted(search, advance)
    ready = predictor(
        search.package,
        precision=search.precision,
        threads=search.threads,
        workers=_workers(search),
    )
    labels = np.zeros(search.shape, np.int32)
    outputs = search.package.description.outputs if search.keep_maps else ()
    maps = {output: np.zeros(search.shape, np.uint8) for output in outputs}
    tables, count = [], 0
    for number, position in enumerate(search.positions):
        place = np.unravel_index(number, search.shape[:-2])
        found = _find_in(
            ready, search, position, lambda share: advance(share / len(search.positions))
        )
        labels[place] = np.where(found.labels, found.labels + count, 0)
        for output, values in found.maps.items():
            maps[output][place] = values
        tables.append(_of_stack(found.table, count, search, position))
        count += int(found.labels.max(initial=0))
    table = {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}
    return Found(labels, table, maps)


def measured(search: Search, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The table of labels that may have been edited; confidence is the network's, and left out.

    Args:
        search: what was searched.
        labels: (…, H, W) int32, of the shape of the result.

    Raises:
        InputError: pixels cannot be read.
    """
    names, tables = search.package.description.channels, []
    for number, position in enumerate(search.positions):
        one = labels[np.unravel_index(number, search.shape[:-2])]
        image = slice_image(names, search.channels, position, search.pixel_size)
        table = measure(as_field(one, int(one.max(initial=0))), image, Inline(), 1)
        tables.append(_of_stack(table, 0, search, position))
    return {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}


def layers_of(search: Search, found: Found) -> list[LayerData]:
    """What was found as layers over the image: its objects, then maps if there are any."""
    layer, name = search.channels[0].layer, search.package.description.name
    common = placement(search.channels[0], search.positions[0]) | {
        "metadata": {PACKAGE: str(search.package.folder)}
    }
    objects = {"name": f"{layer.name} {name}", "features": features(found.table)}
    layers: list[LayerData] = [(found.labels, objects | common, "labels")]
    for output, values in found.maps.items():
        shown: dict[str, Any] = {
            "name": f"{layer.name} {name} {output}",
            "contrast_limits": (0, 255),
            "colormap": "magma",
            "blending": "additive",
        }
        layers.append((values, shown | common, "image"))
    return layers


def _find_prompted(search: Search, advance: Callable[[float], None]) -> Found:
    names = search.package.description.channels
    image = slice_image(names, search.channels, search.positions[0], search.pixel_size)
    objects = outline(
        search.package,
        image,
        search.prompts,
        advance,
        precision=search.precision,
        threads=search.threads,
    )
    table = measure(objects, image, Inline(), 1)
    return Found(
        objects.read().reshape(search.shape), _of_stack(table, 0, search, search.positions[0]), {}
    )


def _workers(search: Search) -> int:
    """Slices are searched one by one, so what counts are the tiles of one."""
    description = search.package.description
    height, width = search.shape[-2:]
    scale = 1.0
    if description.pixel_size is not None and search.pixel_size is not None:
        scale = search.pixel_size / description.pixel_size
    return useful_workers([(height * scale, width * scale)], description.tile, search.threads)


def _find_in(
    ready: InstancePredictor, search: Search, position: Position, advance: Callable[[float], None]
) -> Found:
    names = search.package.description.channels
    image = slice_image(names, search.channels, position, search.pixel_size)
    with threads_for(ready, image) as pool, tempfile.TemporaryDirectory() as folder:
        small = len(ready.grid(image).tiles) == 1
        work = Work(None if small else Path(folder) / "work")
        prediction = ready.run(image, pool, work, keep_maps=search.keep_maps, advance=advance)
        table = measure(prediction.labels, image, pool, 2 * ready.workers, prediction.types)
        maps = prediction.maps
        values = {} if maps is None else dict(zip(maps.outputs, maps.read(), strict=True))
        return Found(prediction.labels.read(), table, values)


def _of_stack(
    table: dict[str, np.ndarray], count: int, search: Search, position: Position
) -> dict[str, np.ndarray]:
    """A slice's table as a part of the stack's: numbers go on, and the slice is told."""
    labels = table["label"] + count
    channel = search.channels[0]
    names = [channel.layer.axis_labels[axis] for axis in channel.axes[:-2]]
    slices = {
        f"slice {name}": np.full_like(labels, at) for name, at in zip(names, position, strict=True)
    }
    return table | {"label": labels} | slices
