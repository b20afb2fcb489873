"""A package as a teacher: one of yours, one that comes with Abbe, or one of the hub's; no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np

from abbe.errors import ConfigError, InputError
from abbe.teachers.teacher import Cost, Prediction, found_in, tell_unknown_pixel_size

if TYPE_CHECKING:
    from abbe.imaging import Diameter, Image
    from abbe.runtime.package import Role
    from abbe.runtime.predictors.instances import InstancePredictor
    from abbe.targets import Provenance

_NETWORKS: tuple[Role, ...] = ("weights", "onnx", "openvino_bin", "int8_bin")
"""Files that tell a network from others; packages for one engine hold one of them."""


class PackageTeacher:
    """A package that finds objects, run as ``abbe predict`` runs it; its maps are what it teaches.

    Attributes:
        provenance: What the store must know.
    """

    def __init__(
        self, predictor: InstancePredictor, provenance: Provenance, diameter: Diameter | None
    ) -> None:
        self.provenance = provenance
        self._predictor = predictor
        self._diameter: Diameter | None = diameter

    def predict(self, image: Image, id: str) -> Prediction:
        """Probability maps of ``image``, (K, H, W), one for each of the network's outputs.

        Raises:
            InputError: The image lacks a channel, holds NaN, or has no pixel size where the package
                has one and no diameter was said.
        """
        from abbe.runtime.tiling.work import Work

        predictor, provenance = self._predictor, self.provenance
        missing = [name for name in provenance.channels if name not in image.channels]
        if missing and len(image.channels) > 1:
            raise InputError(
                f"{image.source}: has no channel {', '.join(missing)}, which the teacher "
                f"{provenance.teacher} is to see; it has {', '.join(image.channels)}. Say which it "
                "is to see with --teacher.input-channels"
            )
        if self._diameter is None:  # which tells the scale as well
            known = predictor.package.description.pixel_size
            tell_unknown_pixel_size(provenance.teacher, known, image)
        image = _renamed(image, provenance.channels, predictor.package.description.channels)
        with ThreadPoolExecutor(predictor.workers) as pool:
            image = predictor.measured(image.with_diameter(self._diameter), pool)
            prediction = predictor.run(image, pool, Work(None), keep_maps=True)
            assert prediction.maps is not None
            maps = prediction.maps.read().astype(np.float32) / np.float32(255)
        threshold = provenance.thresholds["foreground"]
        return found_in(maps, provenance.outputs, threshold, provenance.teacher)

    def cost(self) -> Cost:
        """The precision in which it computes; its parameters are not counted without torch."""
        return Cost(precision=self._predictor.engine.precision)


def package(
    source: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    diameter: Literal["auto"] | float | None = None,
    tile: int | None = None,
    precision: str | None = None,
    device: str | None = None,
    name: str | None = None,
    stand_in: bool = False,
) -> PackageTeacher:
    """A teacher that is a package.

    Args:
        source: Its folder; the name of a package that comes with Abbe, such as ``nuclei``; or
            ``hf:OWNER/NAME``.
        channels: The image's channels to show it, one for each that it sees, in that order; those
            of the same names where omitted.
        diameter: px across of the images' objects, or "auto", where no pixel size tells the scale.
        tile: Side of the network's windows in px; the package's where omitted.
        precision: fp32, bf16 or int8; what the package says where omitted.
        device: cpu, also where omitted; cuda or gpu, as `abbe predict` takes them.
        name: The teacher's name in the store; the package's title where omitted.
        stand_in: The model stands in for the teacher one would rather use; said everywhere.

    Raises:
        PackageError: There is no such package, or it is damaged.
        ConfigError: It finds no objects, or an option does not fit it.
    """
    from abbe.runtime.package import read_package
    from abbe.runtime.predictors.instances import predictor
    from abbe.runtime.tiling.cutting import check_diameter, check_scale

    opened = read_package(source)
    described = opened.description
    check_scale(None, None, diameter)
    check_diameter(described, diameter is not None)
    shown = described.channels if channels is None else tuple(channels)
    if len(shown) != len(described.channels) or len(set(shown)) != len(shown):
        raise ConfigError(
            f"{opened.folder}: sees the channels {', '.join(described.channels)}; name another "
            f"channel for each of them in this order, not {', '.join(shown)}"
        )
    options = {"tile": tile, "precision": precision, "device": device}
    ready = predictor(opened, **options)  # pyright: ignore[reportArgumentType]
    for note in ready.engine.notes:
        print(note, flush=True)
    across = diameter if diameter is None or diameter == "auto" else float(diameter)
    provenance = _provenance(ready, shown, name or described.title, across, stand_in)
    return PackageTeacher(ready, provenance, across)


def _renamed(image: Image, shown: tuple[str, ...], input_channels: tuple[str, ...]) -> Image:
    """The image with the package's names for the channels that it is shown."""
    if len(image.channels) == 1:
        return image  # which is taken for the only one wanted
    names = dict(zip(shown, input_channels, strict=True))
    others = {name: f"{name} (not shown)" for name in image.channels if name in input_channels}
    return image.with_channels([names.get(name, others.get(name, name)) for name in image.channels])


def _provenance(
    ready: InstancePredictor,
    shown: tuple[str, ...],
    name: str,
    diameter: Diameter | None,
    stand_in: bool,
) -> Provenance:
    from abbe.targets import Provenance

    described, engine = ready.package.description, ready.engine
    weights = next(described.files[role] for role in _NETWORKS if role in described.files)
    lineage, cuts = described.lineage, described.thresholds
    scale = {} if diameter is None else {"diameter": str(diameter)}
    return Provenance(
        teacher=name,
        weights_sha256=weights.sha256,
        weights_licence=lineage.weights_licence,
        training_data_licence=lineage.dataset_licence,
        channels=shown,
        normalisation=described.normalisation.words,
        outputs=described.outputs,
        thresholds={"foreground": cuts.foreground, "boundary": cuts.boundary},
        settings={
            "engine": engine.engine,
            "precision": engine.precision,
            "tile": str(ready.tile),
            **scale,
        },
        stand_in=stand_in or lineage.stand_in,
        simulated=lineage.simulated,
        notes=(f"a package of Abbe's, trained on {lineage.dataset}", *lineage.notes),
    )
