"""An earlier Abbe run as a teacher: for example a larger U-Net trained on labels, seeing more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.near import meant_beside
from abbe.registry import TeacherTraits, declares
from abbe.teachers.teacher import Cost, Prediction, found_in, tell_unknown_pixel_size
from abbe.teachers.tiles import Tiling, run_in_tiles, settings_of

if TYPE_CHECKING:
    from abbe.imaging import Image, Scaling
    from abbe.students import UNet
    from abbe.targets import Provenance


class RunTeacher:
    """A trained network of Abbe's own, with the facts that were saved beside its weights."""

    def __init__(
        self,
        network: UNet,
        provenance: Provenance,
        pixel_size: float | None,
        tiling: Tiling,
        precision: str,
        scaling: Scaling,
    ) -> None:
        self.network = network
        """(B, C, H, W) in [0, 1], scaled as in training → (B, K, H, W) logits."""
        self.provenance = provenance
        self.pixel_size = pixel_size
        """µm, that it was trained for; None where that is not known."""
        self._tiling, self._precision, self._scaling = tiling, precision, scaling

    def predict(self, image: Image, id: str) -> Prediction:
        """Probability maps of ``image``, (K, H, W), one for each of the network's outputs.

        Raises:
            InputError: the image lacks a channel, holds NaN, does not go with the scaling that the
                network was trained with, or has no pixel size where the network has one.
        """
        from abbe.runtime.tiling.rescaling import reader, seen_at, to_shape

        provenance, channels = self.provenance, self.provenance.channels
        tell_unknown_pixel_size(provenance.teacher, self.pixel_size, image)
        grid = seen_at(image, self.pixel_size)
        read = reader(image, channels, self._scaling.image_limits(image, channels), grid)
        maps = run_in_tiles(self._probabilities, read, grid.shape, self._tiling, provenance.teacher)
        maps = to_shape(maps, image.shape)
        threshold = provenance.thresholds.get("foreground", 0.5)
        return found_in(maps, provenance.outputs, threshold, provenance.teacher)

    def cost(self) -> Cost:
        """Parameters, and MACs of one image of 256 x 256 px."""
        from abbe.students import count

        size = count(self.network, len(self.provenance.channels), 256)
        device = next(self.network.parameters()).device.type
        return Cost(macs_image_size=256, precision=self._precision, device=device, **size._asdict())

    def _probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of one tile: (C, h, w) in [0, 1] → (K, h, w)."""
        import torch

        from abbe.machine.precision import autocast_for

        device = next(self.network.parameters()).device
        with torch.inference_mode(), autocast_for(device, self._precision):
            logits = self.network(torch.from_numpy(np.ascontiguousarray(pixels))[None].to(device))
        return logits[0].float().sigmoid().cpu().numpy()


@declares(TeacherTraits(live=True))
def run(
    path: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    tile: int = 1024,
    halo: int = 64,
    name: str | None = None,
    stand_in: bool = False,
    device: str | None = None,
    precision: str = "auto",
) -> RunTeacher:
    """A teacher that an earlier run trained.

    Args:
        path: the run's folder (its student teaches) or one .safetensors file of a run.
        channels: the image's channels to show it, one for each that it was trained on, in that
            order; those it was trained on where omitted. One may stand twice, as when a teacher
            of two channels is shown a set of one.
        tile: longer images (px) are cut into tiles of this side, a multiple of 32.
        halo: px at a tile's inner edges that are computed and thrown away, a multiple of 32.
        name: the teacher's name in the store; run folder and architecture where omitted. Training
            on simulated images is said behind it.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.
        device: such as ``cpu`` or ``cuda``; a GPU if there is one where omitted.
        precision: fp32, bf16, fp16, or auto: half where the device computes it natively.

    Raises:
        InputError: there is no such file, or it does not say what the network was trained on.
        ConfigError: ``channels`` are more or fewer than those it was trained on, or tile and halo
            are no multiples of what the network needs.
    """
    import torch

    from abbe.imaging import scaling_in_words
    from abbe.machine.precision import choose_precision
    from abbe.students import load

    file = _trained(Path(path))
    network, facts = load(file)
    if facts.get("classes"):
        raise InputError(
            f"{file}: tells classes apart, which is no map of objects to teach; give a run of "
            "another recipe"
        )
    trained_on = _channels(facts, file)
    shown = trained_on if channels is None else tuple(channels)
    if len(shown) != len(trained_on):
        raise ConfigError(
            f"{file}: was trained on the channels {', '.join(trained_on)}; name one channel for "
            f"each of them in this order, not {', '.join(shown)}"
        )
    scaling = scaling_in_words(facts.get("normalisation"), str(file))
    name = name or f"{file.parent.name}/{network.architecture}"
    if facts.get("simulated"):
        name += ", trained on simulated images"
    if tile % network.divisor or halo % network.divisor:
        raise ConfigError(f"tile {tile} and halo {halo} must be multiples of {network.divisor} px")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = choose_precision(precision, place)
    tiling = replace(Tiling.multiples(network.divisor, tile, halo), padding="symmetric")
    return RunTeacher(
        network.eval().requires_grad_(False).to(place),
        _provenance(
            facts,
            file,
            name=name,
            channels=shown,
            outputs=network.outputs,
            settings=settings_of(network.outputs, tiling, precision=chosen),
            stand_in=stand_in,
            scaling=scaling,
        ),
        facts.get("pixel_size"),
        tiling,
        chosen,
        scaling,
    )


def _trained(path: Path) -> Path:
    """The file of the network that a run trained."""
    file = path / "student.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{file}: there is no such trained network; give the folder of a finished run."
            f"{meant_beside(path)}"
        )
    return file


def _channels(facts: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    channels = facts.get("channels")
    if not channels or not all(isinstance(name, str) for name in channels):
        raise InputError(f"{file}: does not say which channels it was trained on; train it again")
    return tuple(channels)


def _provenance(
    facts: Mapping[str, Any],
    file: Path,
    *,
    name: str,
    channels: tuple[str, ...],
    outputs: tuple[str, ...],
    settings: Mapping[str, str],
    stand_in: bool,
    scaling: Scaling,
) -> Provenance:
    from abbe.targets import Provenance

    return Provenance(
        teacher=name,
        weights_sha256=sha256_of_file(file),
        weights_licence=facts.get("weights_licence", "not stated"),
        training_data_licence=facts.get("data_licence", "not stated"),
        channels=channels,
        normalisation=scaling.words,
        outputs=outputs,
        thresholds=facts.get("thresholds", {}),
        settings=settings,
        stand_in=stand_in,
        notes=(f"trained by Abbe on {facts.get('trained_on', 'data that it does not name')}",),
    )
