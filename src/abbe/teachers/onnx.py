"""An ONNX file as a teacher."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.teachers.maps import MapTeacher, prepared_by
from abbe.teachers.onnx_network import OnnxNetwork, files_beside
from abbe.teachers.preprocessing import activation_named, preprocessing_named
from abbe.teachers.teacher import name_outputs, require_channels, stored
from abbe.teachers.tiles import Sides, Tiling


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
        raise InputError(f"{path}: there is no such ONNX file")
    channels = require_channels(channels, path.name)
    prepare, activate = preprocessing_named(preprocessing), activation_named(activation)
    network = OnnxNetwork(path, path.name)
    _check_input(network, channels)
    counts = [shape[1] if len(shape) == 4 else None for shape in network.output_shapes]
    total = sum(count for count in counts if count is not None) if None not in counts else None
    names = name_outputs(outputs, total, path.name)
    provenance = Provenance(
        teacher=name or path.stem,
        weights_sha256=_weights_sha256(path),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=preprocessing,
        outputs=stored(names),
        thresholds={"foreground": threshold},
        stand_in=stand_in,
    )

    def run(tile: NDArray[np.float32]) -> NDArray[np.floating]:
        """Each output tensor is activated by itself: a softmax does not reach across two."""
        answers = network(tile[None])
        for answer in answers:
            if answer.ndim != 4 or len(answer) != 1:
                raise InputError(
                    f"{path.name}: an output has the shape {answer.shape}; (1, K, H, W) is needed"
                )
        return np.concatenate([activate(answer[0].astype(np.float32)) for answer in answers])

    tiling = _tiling(network, divisor, tile, halo)
    return MapTeacher(provenance, path.name, names, prepared_by(prepare, channels), run, tiling)


def _check_input(network: OnnxNetwork, channels: Sequence[str]) -> None:
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
    if network.shape[1] not in (None, len(channels)):
        raise ConfigError(
            f"{network.origin} reads {network.shape[1]} channels but {len(channels)} are named: "
            f"{', '.join(channels)}"
        )


def _tiling(network: OnnxNetwork, divisor: int, tile: int, halo: int) -> Tiling:
    free = Tiling.multiples(divisor, tile, halo)
    height, width = network.shape[2:]
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
