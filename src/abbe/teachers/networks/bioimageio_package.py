"""Read a bioimage.io model package, formats 0.4 and 0.5: what it declares, and its files."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.files.yaml_text import read_yaml
from abbe.imaging.units import length, number, square
from abbe.near import meant_beside
from abbe.teachers.networks.bioimageio_steps import Step, step_names, steps
from abbe.teachers.tiles import Sides

DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")
LARGEST_FILE = 4 << 30
"""Bytes that one file of a zip may unpack to."""
SHORT_AXES = {"b": "batch", "c": "channel", "y": "y", "x": "x"}


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    Attributes:
        name: its id.
        axes: of the stored array, in order: batch, channel, y, x.
        process: what is done before (an input) or after (an output) the network, on (C, H, W).
        channels: their names, where given.
        sides: lengths accepted along y and x (inputs).
        pixel_size: µm per px, where its axes have a scale in a unit of length.
        halo: px at a tile's edge that are not to be used (outputs).
        declared: the names of those steps.
        test: the package's example of this tensor, (C, H, W).
    """

    name: str
    axes: tuple[str, ...]
    process: Step
    channels: tuple[str, ...] | None
    sides: tuple[Sides, Sides] | None
    halo: int
    declared: str
    test: NDArray[Any]
    pixel_size: float | None = None


@dataclass(frozen=True)
class Package:
    """What a package declares.

    Attributes:
        name: the model's name.
        licence: of the weights.
        training_data_licence: None where it does not say.
        notes: what it says of itself and of its training data.
        input: the image.
        outputs: what the network answers, in its order.
        weights: contents of the ONNX file.
        weights_sha256: their hash.
        tolerance: (relative, absolute, mismatched elements per million) of its test.
    """

    name: str
    licence: str
    training_data_licence: str | None
    notes: tuple[str, ...]
    input: Tensor
    outputs: tuple[Tensor, ...]
    weights: bytes
    weights_sha256: str
    tolerance: tuple[float, float, float]


def read_package(path: Path) -> Package:
    """Read the folder or .zip file at ``path`` and check the hashes that it declares.

    Raises:
        InputError: naming the part that is missing, damaged or not supported.
    """
    files = _Files(path)
    text = files.description()
    try:
        values = read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: its description is not readable as YAML: {error}") from error
    version = str(values.get("format_version", "")) if isinstance(values, dict) else ""
    if not version.startswith(("0.4", "0.5")):
        raise InputError(
            f"{path}: model description format '{version}' is not supported; 0.4 and 0.5 are"
        )
    try:
        return _package(values, files, version)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: its description lacks or misuses {error}") from error


def canonical(array: NDArray[Any], axes: tuple[str, ...], origin: str) -> NDArray[Any]:
    """An array with these axes as (C, H, W)."""
    if array.ndim != len(axes):
        raise InputError(f"{origin}: an array of shape {array.shape} has not the axes {axes}")
    if "batch" in axes:
        if array.shape[axes.index("batch")] != 1:
            raise InputError(f"{origin}: a batch of several images, shape {array.shape}")
        array = array.take(0, axes.index("batch"))
        axes = tuple(axis for axis in axes if axis != "batch")
    if "channel" not in axes:
        array, axes = array[None], ("channel", *axes)
    return array.transpose([axes.index(axis) for axis in ("channel", "y", "x")])


def arranged(array: NDArray[Any], axes: tuple[str, ...]) -> NDArray[Any]:
    """(C, H, W) as an array with these axes."""
    if "channel" not in axes:
        array = array[0]
    names = [axis for axis in ("channel", "y", "x") if axis in axes]
    array = array.transpose([names.index(axis) for axis in axes if axis != "batch"])
    return np.expand_dims(array, axes.index("batch")) if "batch" in axes else array


def _package(values: Mapping[str, Any], files: "_Files", version: str) -> Package:
    origin = str(files.path)
    weights = values["weights"].get("onnx")
    if weights is None:
        raise InputError(
            f"{origin}: the package has no ONNX weights, only {', '.join(values['weights'])}; "
            "Abbe runs ONNX and never code from a package"
        )
    if weights.get("external_data"):
        raise InputError(f"{origin}: ONNX weights with external data are not supported")
    if len(values["inputs"]) != 1:
        raise InputError(f"{origin}: {len(values['inputs'])} inputs; a teacher has one image")
    read = _tensor_04 if version.startswith("0.4") else _tensor_05
    tests = [values.get("test_inputs"), values.get("test_outputs")]
    data = values.get("training_data") or {}
    contents = files.read(weights["source"], weights.get("sha256"))
    return Package(
        name=values["name"],
        licence=values.get("license") or "not stated",
        training_data_licence=data.get("license"),
        notes=_notes(values, data),
        input=read(values["inputs"][0], "pre", files, tests[0], 0),
        outputs=tuple(
            read(output, "post", files, tests[1], index)
            for index, output in enumerate(values["outputs"])
        ),
        weights=contents,
        weights_sha256=hashlib.sha256(contents).hexdigest(),
        tolerance=_tolerance(values),
    )


def _notes(values: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, ...]:
    trained_on = data.get("name") or data.get("id") or "not stated"
    described = " ".join(str(values.get("description") or "").split())
    return tuple(filter(None, (f"bioimage.io package; training data: {trained_on}", described)))


def _tensor_05(
    values: Mapping[str, Any], when: str, files: "_Files", tests: Any, index: int
) -> Tensor:
    origin, name = str(files.path), str(values["id"])
    axes: dict[str, Mapping[str, Any]] = {}
    for axis in values["axes"]:
        key = axis.get("id", "x") if axis["type"] == "space" else axis["type"]
        axes[key] = axis
    _check_axes(tuple(axes), name, origin)
    test = values["test_tensor"]
    names = axes.get("channel", {}).get("channel_names")
    return Tensor(
        name=name,
        axes=tuple(axes),
        process=steps(values.get(f"{when}processing"), name, origin),
        channels=tuple(names) if names else None,
        sides=(_sides(axes["y"], origin), _sides(axes["x"], origin)) if when == "pre" else None,
        halo=max(int(axes[axis].get("halo", 0)) for axis in "yx"),
        declared=step_names(values.get(f"{when}processing")),
        test=canonical(files.array(test["source"], test.get("sha256")), tuple(axes), name),
        pixel_size=_pixel_size(axes, origin),
    )


def _pixel_size(axes: Mapping[str, Mapping[str, Any]], origin: str) -> float | None:
    """In µm; None where the axes have no scale in a unit of length."""
    down, across = (length(number(axes[id].get("scale", 1)), axes[id].get("unit")) for id in "yx")
    return None if down is None or across is None else square((down, across), origin)


def _sides(axis: Mapping[str, Any], origin: str) -> Sides:
    size = axis["size"]
    if isinstance(size, int):
        return Sides(size)
    if "min" not in size:
        raise InputError(f"{origin}: the size {size} of an input axis is not supported")
    return Sides(int(size["min"]), int(size["step"]))


def _tensor_04(
    values: Mapping[str, Any], when: str, files: "_Files", tests: Any, index: int
) -> Tensor:
    origin, name = str(files.path), str(values["name"])
    short = str(values["axes"])
    axes = tuple(SHORT_AXES.get(axis, axis) for axis in short)
    _check_axes(axes, name, origin)
    sides = None
    if when == "pre":
        shape = values["shape"]
        lengths = shape["min"] if isinstance(shape, Mapping) else shape
        growth = shape["step"] if isinstance(shape, Mapping) else [0] * len(shape)
        y, x = axes.index("y"), axes.index("x")
        sides = Sides(int(lengths[y]), int(growth[y])), Sides(int(lengths[x]), int(growth[x]))
    return Tensor(
        name=name,
        axes=axes,
        process=steps(values.get(f"{when}processing"), name, origin),
        channels=None,
        sides=sides,
        halo=max(int(pixels) for pixels in values.get("halo") or [0]),
        declared=step_names(values.get(f"{when}processing")),
        test=canonical(files.array(tests[index], None), axes, name),
    )


def _check_axes(axes: tuple[str, ...], name: str, origin: str) -> None:
    other = [axis for axis in axes if axis not in SHORT_AXES.values()]
    if other or not {"y", "x"} <= set(axes):
        raise InputError(
            f"{origin}: '{name}' has the axes {', '.join(axes)}; only 2D images and maps "
            "(batch, channel, y, x in any order) are supported"
        )


def _tolerance(values: Mapping[str, Any]) -> tuple[float, float, float]:
    """Declared (0.5), or the defaults of the description format."""
    config = (values.get("config") or {}).get("bioimageio") or {}
    for declared in config.get("reproducibility_tolerance") or ():
        if not declared.get("weights_formats") or "onnx" in declared["weights_formats"]:
            return (
                float(declared.get("relative_tolerance", 1e-3)),
                float(declared.get("absolute_tolerance", 1e-3)),
                float(declared.get("mismatched_elements_per_million", 100)),
            )
    return 1e-3, 1e-3, 100.0


class _Files:
    """The files of a package, in a folder or a zip; a name never leads outside of it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(
                f"{path}: there is no such bioimage.io package (a folder or .zip)."
                f"{meant_beside(path)}"
            )
        if path.is_file() and not zipfile.is_zipfile(path):
            raise InputError(f"{path}: neither a folder nor a .zip: give the whole package")
        self.path = path

    def description(self) -> bytes:
        for name in DESCRIPTIONS:
            if self._exists(name):
                return self._contents(name)
        raise InputError(f"{self.path}: holds no {' or '.join(DESCRIPTIONS)}")

    def read(self, source: Any, sha256: str | None) -> bytes:
        """A file's contents, checked against the declared hash."""
        name = str(source.get("source") if isinstance(source, Mapping) else source)
        if "://" in name:
            raise InputError(
                f"{self.path}: '{name}' is not in the package but on the web; download the "
                "package as a .zip, which holds everything"
            )
        if not self._exists(name):
            raise InputError(f"{self.path}: the file '{name}' that it declares is missing")
        contents = self._contents(name)
        if sha256 is not None and hashlib.sha256(contents).hexdigest() != sha256:
            raise InputError(
                f"{self.path}: '{name}' is damaged or was changed: its sha256 is not the declared "
                "one. Download the package again"
            )
        return contents

    def array(self, source: Any, sha256: str | None) -> NDArray[Any]:
        """A test tensor."""
        contents = self.read(source, sha256)
        try:
            return np.load(io.BytesIO(contents), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{self.path}: '{source}' is no .npy array: {error}") from error

    def _exists(self, name: str) -> bool:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{self.path}: '{name}' leads out of the package")
        if self.path.is_dir():
            file = self.path / name
            if file.exists() and not file.resolve().is_relative_to(self.path.resolve()):
                raise InputError(
                    f"{self.path}: '{name}' is a link that leads out of the package; it is not "
                    "followed. Put the file itself there"
                )
            return file.is_file()
        with zipfile.ZipFile(self.path) as archive:
            return name in archive.namelist()

    def _contents(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            if archive.getinfo(name).file_size > LARGEST_FILE:
                raise InputError(f"{self.path}: '{name}' would unpack to more than 4 GiB")
            try:
                return archive.read(name)
            except (zipfile.BadZipFile, zlib.error) as error:
                raise InputError(f"{self.path}: '{name}' is damaged: {error}") from error
