"""Cellpose 4 (Cellpose-SAM) as a teacher, through its own package."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.near import meant_beside
from abbe.registry import TeacherTraits, declares
from abbe.teachers.networks.preprocessing import Step, by_region, sigmoid
from abbe.teachers.programs.installed import (
    KINDS,
    channels_last,
    imported,
    kinds_named,
    require_all_weights,
    settings_of,
    tensors_of,
)
from abbe.teachers.programs.object_tiles import Objects, find_in_tiles
from abbe.teachers.teacher import Cost, Prediction, found_in, require_channels

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance

NORMALISATION = "percentile 1-99 per image and channel, not clipped; channels in order, then blank"
"""Cellpose's own. One to three channels fill its three in the order given; it was trained to take
any order."""
LICENCE = "CC-BY-NC (Cellpose-SAM)"


class CellposeTeacher:
    """A Cellpose model with the settings of its flows and masks."""

    def __init__(
        self,
        model: Any,
        provenance: Provenance,
        gives: set[str],
        settings: dict[str, Any],
        tile: int,
        halo: int,
        precision: str,
    ) -> None:
        self._model, self.provenance, self._precision = model, provenance, precision
        self._gives, self._settings, self._tile, self._halo = gives, settings, tile, halo

    def predict(self, image: Image, id: str) -> Prediction:
        """Instances (H, W), the sigmoid of Cellpose's cell probability (1, H, W), or both.

        Raises:
            InputError: the image lacks a channel or holds NaN, or an object is cut by a tile.
        """
        channels = self.provenance.channels
        found = find_in_tiles(
            self._find,
            by_region(image, channels, normalisation(image, channels)),
            image.shape,
            tile=self._tile,
            halo=self._halo,
            origin=self.provenance.teacher,
        )
        assert found.probability is not None  # _find gives it
        answer = found_in(found.probability[None], ("foreground",), 0.5, self.provenance.teacher)
        if "instances" not in self._gives:
            return answer
        maps = dict(answer.maps) if "probability" in self._gives else {}
        return Prediction(
            {**maps, "instances": found.instances}, empty=not bool(found.instances.any())
        )

    def cost(self) -> Cost:
        """Parameters of its network."""
        from abbe.network_size import parameters_of

        network = self._model.net
        device = next(network.parameters()).device.type
        return Cost(parameters_of(network), precision=self._precision, device=device)

    def _find(self, pixels: NDArray[np.float32]) -> Objects:
        masks, flows, _ = self._model.eval(
            channels_last(pixels), channel_axis=2, normalize=False, **self._settings
        )
        if not self._settings["compute_masks"]:
            masks = np.zeros(pixels.shape[1:], np.int32)
        logits = np.asarray(flows[2], np.float32)
        return Objects(np.asarray(masks), sigmoid(logits).astype(np.float32))


def normalisation(image: Image, channels: Sequence[str]) -> Step:
    """Each channel's 1st percentile → 0 and 99th → 1, not clipped; a constant one becomes 0."""
    from abbe.imaging import image_limits

    limits = image_limits(image, channels, 1, 99)[:, :, None, None]
    low, span = limits[:, 0], limits[:, 1] - limits[:, 0]
    scale = np.divide(1, span, out=np.zeros_like(span), where=span > 1e-3)
    return lambda pixels: ((pixels.astype(np.float32) - low) * scale).astype(np.float32)


@declares(TeacherTraits(reads_all=True))
def cellpose(
    source: str | os.PathLike[str] = "cpsam_v2",
    channels: Sequence[str] | None = None,
    *,
    gives: str | tuple[str, ...] = ("probability", "instances"),
    diameter: float | None = None,
    flow_threshold: float = 0.4,
    cellprob_threshold: float = 0.0,
    min_size: int = 15,
    batch_size: int = 8,
    tile: int = 2048,
    halo: int = 256,
    name: str | None = None,
    weights_licence: str = LICENCE,
    training_data_licence: str = "CC-BY-NC (its data sets together)",
    stand_in: bool = False,
    device: str | None = None,
    precision: str = "auto",
) -> CellposeTeacher:
    """A teacher that is a model of Cellpose 4; the package must be installed where this runs.

    Cellpose itself takes another model, with no more than a warning, where it does not find the
    one it is asked for, and fills what a file lacks with random numbers; both are refused here.

    Args:
        source: the name of one of its models, such as ``cpsam_v2``, or a file of weights.
        channels: one to three of the image's channels.
        gives: what to store: ``probability`` (the sigmoid of its cell probability),
            ``instances``, or both.
        diameter: of the cells in px, if the image is to be scaled to 30 px; None leaves it.
        flow_threshold: Cellpose's own: the largest error of an object's flows.
        cellprob_threshold: Cellpose's own: the logit above which a pixel belongs to a cell.
        min_size: smaller objects, in px, are left out.
        batch_size: patches of 256 px that are computed together.
        tile: longer images (px) are cut into tiles of this side.
        halo: px that a tile sees beyond its own part: at least the radius of the largest cell.
        name: the teacher's name in the store; ``cellpose`` and the model where omitted.
        weights_licence: licence of the weights.
        training_data_licence: licence of what they were trained on.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.
        device: such as ``cpu`` or ``cuda``; a GPU if there is one where omitted.
        precision: fp32, bf16, or auto: bf16 where the device computes it natively.

    Raises:
        MissingPackageError: Cellpose is not installed here.
        InputError: there is no such model, or its file is damaged or of another network.
        ConfigError: the options do not fit, or an older Cellpose is installed.
    """
    models = imported("cellpose.models", install="'cellpose>=4'", kind="cellpose")
    if "use_bfloat16" not in inspect.signature(models.CellposeModel).parameters:
        raise ConfigError(
            "the Cellpose that is installed is older than 4: pip install 'cellpose>=4'"
        )
    from abbe.targets import Provenance

    channels = require_channels(channels, "cellpose")
    if len(channels) > 3:
        raise ConfigError(f"cellpose reads one to three channels, not {', '.join(channels)}")
    kinds = kinds_named(gives, KINDS)
    model_name = _known(os.fspath(source), models)
    model, computed = _loaded(model_name, models, device, precision)
    provenance = Provenance(
        teacher=name or f"cellpose {Path(model_name).name}",
        weights_sha256=sha256_of_file(Path(model.pretrained_model)),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=NORMALISATION,
        thresholds={
            "flow": flow_threshold,
            "cellprob": cellprob_threshold,
            "min_size": min_size,
            **({} if diameter is None else {"diameter": diameter}),
        },
        settings=settings_of(kinds, tile, halo, precision=computed),
        stand_in=stand_in,
    )
    settings = {
        "diameter": diameter,
        "flow_threshold": flow_threshold,
        "cellprob_threshold": cellprob_threshold,
        "min_size": min_size,
        "batch_size": batch_size,
        "compute_masks": "instances" in kinds,
    }
    return CellposeTeacher(model, provenance, kinds, settings, tile, halo, computed)


def _loaded(
    name: str, models: Any, device: str | None, precision: str
) -> tuple[Any, Literal["fp32", "bf16"]]:
    """The model with all of its weights, and the precision in which it computes."""
    import torch

    from abbe.machine.precision import choose_precision

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    computed = "bf16" if choose_precision(precision, place) == "bf16" else "fp32"
    if precision == "fp16":
        raise ConfigError("cellpose computes in fp32 or bf16: choose another precision")
    if Path(name).is_file():
        tensors_of(Path(name))
    try:
        model = models.CellposeModel(
            pretrained_model=name, device=place, use_bfloat16=computed == "bf16"
        )
    except OSError as error:
        raise InputError(
            f"{name}: Cellpose cannot fetch or read its weights ({error}). Fetch the file "
            "by hand and give its path instead of the name"
        ) from error
    file = Path(model.pretrained_model)
    found = {key.removeprefix("module."): value for key, value in tensors_of(file).items()}
    require_all_weights(file, found, model.net, besides=("diam_labels", "diam_mean"))
    return model, computed


def _known(source: str, models: Any) -> str:
    """The model's name or file, refused where Cellpose would quietly take another."""
    names = [*models.MODEL_NAMES, *models.get_user_models()]
    if source in names or Path(source).is_file():
        return source
    raise InputError(
        f"{source}: neither a file nor a model that Cellpose knows: {', '.join(names)}."
        f"{meant_beside(source, names)}"
    )
