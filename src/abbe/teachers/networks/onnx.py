"""An ONNX file as a teacher."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.near import meant_beside
from abbe.registry import TeacherTraits, declares
from abbe.teachers.networks.maps import MapTeacher, prepared_by
from abbe.teachers.networks.onnx_network import OnnxNetwork, files_beside
from abbe.teachers.networks.preprocessing import (
    Activation,
    Preprocessing,
    Step,
    activation_named,
    preprocessing_named,
)
from abbe.teachers.teacher import name_outputs, require_channels, stored
from abbe.teachers.tiles import Sides, Tiling, settings_of

if TYPE_CHECKING:
    from abbe.imaging import Image


@declares(TeacherTraits(reads_all=True))
def onnx(
    path: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    preprocessing: str = "percentile",
    activation: str = "none",
    outputs: str | Sequence[str] | None = None,
    divisor: int = 1,
    tile: int = 1024,
    halo: int = 64,
    threshold: float = 0.5,
    name: str | None = None,
    weights_licence: str = "not stated",
    training_data_licence: str = "not stated",
    stand_in: bool = False,
) -> MapTeacher:
    """A teacher that is one ONNX file, (1, C, H, W) → one or more (1, K, H, W).

    Files with channels last, (1, H, W, C) → (1, H, W, K), are told by where the number of channels
    stands. An input of whole numbers gets all of its range: 0 to 255 of uint8.

    Args:
        path: the .onnx file.
        channels: the image's channels that the network reads, in its order.
        preprocessing: percentile, zero_mean_unit_variance, scale_255, imagenet or none.
        activation: what turns the outputs into probabilities: none, sigmoid or softmax.
        outputs: names of the K maps in order (of all output tensors together), ``-`` for one not
            to store; a single map is called foreground.
        divisor: the network takes sides that are multiples of it; the image is padded by
            reflection. A size fixed in the file goes before it.
        tile: longer images (px) are cut into tiles of this side.
        halo: px at a tile's inner edges that are computed and thrown away.
        threshold: an image without a foreground pixel of this probability is marked as empty.
        name: the teacher's name in the store; the file's name where omitted.
        weights_licence: licence of the weights.
        training_data_licence: licence of what they were trained on.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.

    Raises:
        InputError: the file is missing, no ONNX model, or not of this form.
        ConfigError: the channels or outputs do not fit it, or an option is unknown.
    """
    from abbe.targets import Provenance

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such ONNX file.{meant_beside(path)}")
    channels = require_channels(channels, path.name)
    activate = activation_named(activation)
    network = OnnxNetwork(path, path.name)
    prepare = _for_input(network, preprocessing)
    last = _channels_last(network, channels)
    _check_input(network, channels, last)
    counts = [_maps_in(shape, last) for shape in network.output_shapes]
    total = sum(count for count in counts if count is not None) if None not in counts else None
    names = name_outputs(outputs, total, path.name)
    tiling = _tiling(network, last, divisor, tile, halo)
    provenance = Provenance(
        teacher=name or path.stem,
        weights_sha256=_weights_sha256(path),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=preprocessing,
        outputs=stored(names),
        thresholds={"foreground": threshold},
        settings=settings_of(names, tiling, activation=activation, divisor=divisor),
        stand_in=stand_in,
    )
    return MapTeacher(
        provenance,
        path.name,
        names,
        prepared_by(prepare, channels),
        partial(_maps_of, network, activate, last),
        tiling,
        parameters=network.parameters,
    )


def _maps_of(
    network: OnnxNetwork, activate: Activation, last: bool, tile: NDArray[np.float32]
) -> NDArray[np.floating]:
    """(K, H, W): each output tensor is activated by itself; a softmax does not reach across two."""
    maps = []
    for answer in network(np.moveaxis(tile, 0, -1)[None] if last else tile[None]):
        if answer.ndim != 4 or len(answer) != 1:
            raise InputError(
                f"{network.origin}: an output has the shape {answer.shape}; (1, K, H, W) is needed"
            )
        own = answer[0].astype(np.float32)
        # With channels last in its input, a network may still give maps first.
        turned = last and own.shape[:2] == tile.shape[1:]
        maps.append(activate(np.moveaxis(own, -1, 0) if turned else own))
    return np.concatenate(maps)


_LARGEST_OF: Mapping[str, float] = {"percentile": 1.0, "scale_255": 1.0, "none": 0.0}
"""By preprocessing that gives no negative numbers its highest, or 0 where pixels stay as stored."""


def _for_input(network: OnnxNetwork, preprocessing: str) -> Preprocessing:
    """The preprocessing, stretched to the range of an input of whole numbers.

    Raises:
        ConfigError: it gives negative numbers, or is for another number of bits.
    """
    prepare = preprocessing_named(preprocessing)
    if network.input_type.kind != "u":
        return prepare
    highest = float(np.iinfo(network.input_type).max)
    fits = preprocessing in _LARGEST_OF and (preprocessing, highest) != ("scale_255", 65535.0)
    if not fits:
        raise ConfigError(
            f"{network.origin}: reads whole numbers from 0 to {highest:.0f} "
            f"({network.input_type}), which preprocessing '{preprocessing}' does not give. Choose "
            "percentile (stretched to that range) or none (values as stored)"
        )
    if not _LARGEST_OF[preprocessing]:
        return prepare

    def stretched(image: Image, channels: Sequence[str]) -> Step:
        step = prepare(image, channels)
        return lambda pixels: step(pixels) * np.float32(highest)

    return stretched


def _channels_last(network: OnnxNetwork, channels: Sequence[str]) -> bool:
    """Whether the input is (1, H, W, C): where the number of channels stands tells."""
    shape = network.shape
    return len(shape) == 4 and shape[3] == len(channels) != shape[1]


def _maps_in(shape: tuple[int | None, ...], last: bool) -> int | None:
    """How many maps an output has, where its shape says so."""
    if len(shape) != 4:
        return None
    return shape[3] if last and shape[3] is not None else shape[1]


def _check_input(network: OnnxNetwork, channels: Sequence[str], last: bool) -> None:
    if len(network.shape) != 4:
        raise InputError(
            f"{network.origin}: its input has {len(network.shape)} dimensions; a 2D network reads "
            "four: (1, channels, height, width)"
        )
    if network.shape[0] not in (None, 1):
        raise InputError(
            f"{network.origin}: it reads batches of exactly {network.shape[0]} images; export it "
            "with a batch of 1 or a free one"
        )
    if not last and network.shape[1] not in (None, len(channels)):
        raise ConfigError(
            f"{network.origin} reads {network.shape[1]} channels but {len(channels)} are named: "
            f"{', '.join(channels)}. Its input has the shape {_written(network.shape)}; if its "
            "channels are the last of these, name as many"
        )


def _written(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _tiling(network: OnnxNetwork, last: bool, divisor: int, tile: int, halo: int) -> Tiling:
    free = Tiling.multiples(divisor, tile, halo)
    height, width = network.shape[1:3] if last else network.shape[2:]
    return Tiling(
        free.rows if height is None else Sides(height),
        free.columns if width is None else Sides(width),
        tile,
        halo,
    )


def _weights_sha256(path: Path) -> str:
    """Of the file; large models keep their weights in others beside it, which then count too."""
    others = files_beside(path)
    if not others:
        return sha256_of_file(path)
    together = "".join(sha256_of_file(each) for each in (path, *others))
    return hashlib.sha256(together.encode()).hexdigest()
