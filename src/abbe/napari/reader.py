"""What napari opens with Abbe: a package's test image with its expected objects; label images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from abbe.errors import PackageError
from abbe.foreign_text import cell_text
from abbe.imaging import Image, open_image, read_labels
from abbe.imaging.opening import contents_of
from abbe.runtime.package import DESCRIPTION, Package, read_package

LayerData = tuple[np.ndarray, dict[str, Any], str]
"""What napari makes a layer of: data, arguments, kind of layer."""

PACKAGE = "abbe package"
"""Key in a layer's metadata: the folder of the package that it belongs to."""

_LABELS = ".labels.tif"


def package_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """What opens a package's folder, or its package.json; None where ``path`` is neither."""
    if not isinstance(path, str):
        return None
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if not (folder / DESCRIPTION).is_file():
        return None
    return lambda _: package_layers(folder)


def labels_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """What opens NAME.labels.tif, as ``abbe predict`` writes it; None for anything else."""
    if not isinstance(path, str) or not path.endswith(_LABELS):
        return None
    return lambda _: [labels_layer(Path(path))]


def package_layers(folder: Path) -> list[LayerData]:
    """The test image of a package, and the objects that its network is expected to find there.

    Raises:
        PackageError: The package is damaged or has no test image.
        InputError: The test image cannot be read.
    """
    package = read_package(folder)
    if not package.has("test_image"):
        raise PackageError(
            f"{folder}: the package has no test image to show. To use the package, choose this "
            "folder in the widget Find objects"
        )
    image = open_image(package.file("test_image"))
    name = package.description.name
    common = placement(image.pixel_size) | {"metadata": {PACKAGE: str(folder)}}
    layers = [_image_layer(image, name, common)]
    if package.description.traits.finds_objects and package.has("expected"):
        instances = _expected(package, image.shape)
        layers.append((instances, {"name": f"{name} expected", **common}, "labels"))
    return layers


def labels_layer(path: Path) -> LayerData:
    """The objects in a label image; their measurements too, if NAME.csv lies beside it.

    Raises:
        InputError: It cannot be read, or is no label image.
    """
    arguments = {"name": path.name.removesuffix(".tif"), **placement(open_image(path).pixel_size)}
    table = path.with_name(path.name.removesuffix(_LABELS) + ".csv")
    if table.is_file():
        import pandas

        columns = pandas.read_csv(table).rename(columns=cell_text)
        if "label" in columns:
            arguments["features"] = features({name: columns[name] for name in columns})
    return read_labels(path), arguments, "labels"


def placement(pixel_size: float | None) -> dict[str, Any]:
    """Where napari puts an image of square pixels (µm); in pixels where their size is unknown."""
    if pixel_size is None:
        return {}
    return {"scale": (pixel_size, pixel_size), "units": ("um", "um")}


def features(table: dict[str, Any]) -> dict[str, Any]:
    """A table of measurements as napari looks it up: by the label in the column ``index``."""
    return {"index": table["label"], **table}


def _image_layer(image: Image, name: str, common: dict[str, Any]) -> LayerData:
    pixels = image.read()
    if image.channels == ("red", "green", "blue") and image.dtype == np.uint8:
        return pixels.transpose(1, 2, 0), {"name": name, "rgb": True, **common}, "image"
    names = [f"{name} {channel}" for channel in image.channels]
    return pixels, {"name": names, "channel_axis": 0, **common}, "image"


def _expected(package: Package, shape: tuple[int, int]) -> np.ndarray:
    path = package.file("expected")
    contents = contents_of(path, None, npz_keys=("instances",))
    instances = Image(path.name, ("instances",), contents, source=str(path)).read()[0]
    if instances.shape != shape or instances.dtype.kind not in "iu":
        raise PackageError(
            f"{path}: the objects expected are no label image of the test image's size "
            f"({instances.dtype} {instances.shape}; the image has {shape})"
        )
    return instances
