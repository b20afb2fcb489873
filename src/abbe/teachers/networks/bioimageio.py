"""A bioimage.io model package as a teacher, run from its ONNX weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.teachers.networks.bioimageio_package import Package, arranged, canonical, read_package
from abbe.teachers.networks.maps import MapTeacher, prepared_whole
from abbe.teachers.networks.onnx_network import OnnxNetwork
from abbe.teachers.teacher import Cost, Prediction, name_outputs, require_channels, stored
from abbe.teachers.tiles import Tiling, settings_of

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance


class BioimageioTeacher:
    """A package's network between its declared pre- and post-processing."""

    def __init__(self, package: Package, network: OnnxNetwork, teacher: MapTeacher) -> None:
        self._package, self._network, self._teacher = package, network, teacher

    @property
    def provenance(self) -> Provenance:
        """What the store must know."""
        return self._teacher.provenance

    def predict(self, image: Image, id: str) -> Prediction:
        """Probability maps of ``image``; see `MapTeacher.predict`."""
        return self._teacher.predict(image, id)

    def cost(self) -> Cost:
        """Parameters of its network."""
        return Cost(self._network.parameters)

    def verify(self) -> float:
        """Run the package's own test; the largest absolute difference from what it declares.

        Raises:
            InputError: more elements differ by more than the package's tolerance than it allows.
        """
        package = self._package
        maps = _run(self._network, package, package.input.process(package.input.test))
        got = _finish(maps, package)
        expected = np.concatenate([output.test for output in package.outputs])
        if got.shape != expected.shape:
            raise InputError(
                f"{package.name}: its test gives {got.shape} where {expected.shape} is declared"
            )
        relative, absolute, per_million = package.tolerance
        difference = np.abs(got - expected)
        share = float((difference > absolute + relative * np.abs(expected)).mean())
        if share * 1e6 > per_million:
            raise InputError(
                f"{package.name}: does not reproduce its own test: {share:.2%} of the elements "
                f"differ, by up to {difference.max():.3g}"
            )
        return float(difference.max())


def bioimageio(
    path: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    outputs: str | Sequence[str] | None = None,
    divisor: int | None = None,
    tile: int = 1024,
    halo: int | None = None,
    threshold: float = 0.5,
    training_data_licence: str | None = None,
    stand_in: bool = False,
) -> BioimageioTeacher:
    """A teacher that is a bioimage.io package with ONNX weights.

    Args:
        path: the package, a folder or a .zip (formats 0.4 and 0.5).
        channels: the image's channels that the network reads, in its order; the names that the
            package gives its input's channels where omitted.
        outputs: names of its maps in order, ``-`` for one not to store; a single one is called
            foreground, several have the package's channel names where omitted.
        divisor: the network takes any sides that are multiples of it, whatever size the package
            declares. Many declare only the size of their example; smaller images are then padded,
            which costs time, and this avoids it.
        tile: longer images (px) are cut into tiles of at most this side.
        halo: px at a tile's inner edges that are thrown away; as declared where omitted.
        threshold: an image without a foreground pixel of this probability is marked as empty.
        training_data_licence: where the package does not say.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.

    Raises:
        InputError: the package is damaged, or needs what is not supported: the message says what.
        ConfigError: the channels or outputs do not fit it.
    """
    path = Path(path)
    package = read_package(path)
    names = _output_names(package, outputs)
    channels = _channel_names(package, channels)
    release = _spatial_axes(package) if divisor is not None else ()
    network = OnnxNetwork(package.weights, package.name, release=release)

    def run(pixels: NDArray[np.float32]) -> NDArray[np.floating]:
        return _run(network, package, pixels)

    tiling = _tiling(package, divisor, tile, halo)
    described = _provenance(package, channels, names, threshold, training_data_licence, stand_in)
    teacher = MapTeacher(
        replace(described, settings=settings_of(names, tiling, divisor=divisor)),
        package.name,
        names,
        prepared_whole(package.input.process, channels),
        run,
        tiling,
        lambda maps: _finish(maps, package),
        package.input.pixel_size,
    )
    return BioimageioTeacher(package, network, teacher)


def _run(network: OnnxNetwork, package: Package, pixels: NDArray[Any]) -> NDArray[np.floating]:
    """The raw maps of all outputs, one after the other, (K, H, W), in at least float32."""
    answers = network(arranged(pixels, package.input.axes))
    if len(answers) != len(package.outputs):
        raise InputError(
            f"{package.name}: the network gives {len(answers)} outputs, the package declares "
            f"{len(package.outputs)}"
        )
    maps = [
        canonical(answer, output.axes, package.name)
        for answer, output in zip(answers, package.outputs, strict=True)
    ]
    return np.concatenate(maps, dtype=np.result_type(np.float32, *maps))


def _finish(maps: NDArray[np.floating], package: Package) -> NDArray[np.floating]:
    """Each output's own post-processing."""
    finished, first = [], 0
    for output in package.outputs:
        count = len(output.test)
        finished.append(output.process(maps[first : first + count]))
        first += count
    return np.concatenate(finished).astype(np.float32)


def _output_names(package: Package, outputs: str | Sequence[str] | None) -> tuple[str, ...]:
    count = sum(len(output.test) for output in package.outputs)
    declared = [name for output in package.outputs for name in output.channels or ()]
    if outputs is None and count > 1 and len(declared) == count:
        outputs = declared
    return name_outputs(outputs, count, package.name)


def _channel_names(package: Package, channels: Sequence[str] | None) -> tuple[str, ...]:
    count = len(package.input.test)
    named = channels or package.input.channels
    named = require_channels(named, f"{package.name}, {count} channels")
    if len(named) != count:
        raise ConfigError(
            f"{package.name} reads {count} channels but {len(named)} are named: {', '.join(named)}"
        )
    return named


def _spatial_axes(package: Package) -> tuple[int, ...]:
    return package.input.axes.index("y"), package.input.axes.index("x")


def _tiling(package: Package, divisor: int | None, tile: int, halo: int | None) -> Tiling:
    assert package.input.sides is not None  # every input has them
    if halo is None:
        halo = max(output.halo for output in package.outputs)
    if divisor is not None:
        return Tiling.multiples(divisor, tile, halo)
    return Tiling(*package.input.sides, tile, halo)


def _provenance(
    package: Package,
    channels: tuple[str, ...],
    names: tuple[str, ...],
    threshold: float,
    training_data_licence: str | None,
    stand_in: bool,
) -> Provenance:
    from abbe.targets import Provenance

    return Provenance(
        teacher=package.name,
        weights_sha256=package.weights_sha256,
        weights_licence=package.licence,
        training_data_licence=(
            training_data_licence or package.training_data_licence or "not stated"
        ),
        channels=channels,
        normalisation=package.input.declared,
        outputs=stored(names),
        thresholds={"foreground": threshold},
        stand_in=stand_in,
        notes=package.notes,
    )
