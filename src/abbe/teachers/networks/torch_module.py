"""A torch module of the user's own, named by its import path, as a teacher."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError, MissingExtraError
from abbe.files import sha256_of_file
from abbe.registry import TeacherTraits, declares
from abbe.teachers.networks.maps import MapTeacher, prepared_by
from abbe.teachers.networks.preprocessing import activation_named, preprocessing_named
from abbe.teachers.teacher import (
    NOT_STORED,
    Cost,
    Prediction,
    name_outputs,
    require_channels,
    stored,
)
from abbe.teachers.tiles import Tiling, settings_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from abbe.imaging import Image
    from abbe.targets import Provenance


COUNTED_SIDE = 256
"""px; students' MACs are counted for images of this side, too."""


class TorchTeacher:
    """A frozen torch module between named pre- and post-processing."""

    def __init__(
        self, module: nn.Module, teacher: MapTeacher, activation: str, precision: str
    ) -> None:
        self._module, self._teacher = module, teacher
        self._activation, self._precision = activation, precision

    @property
    def provenance(self) -> Provenance:
        """What the store must know."""
        return self._teacher.provenance

    @property
    def network(self) -> nn.Module:
        """(B, C, H, W) percentile-normalised in [0, 1] → (B, K, H, W) logits, for live teaching.

        Raises:
            ConfigError: the module reads pixels that were prepared otherwise.
        """
        if self.provenance.normalisation != "percentile":
            raise ConfigError(
                f"{self._teacher.origin} reads pixels prepared by '{self.provenance.normalisation}'"
                "; only one that reads 'percentile' can teach live. Store its targets instead"
            )
        return _live(self._module, self._activation, self._teacher.outputs)

    def predict(self, image: Image, id: str) -> Prediction:
        """Probability maps of ``image``; see `MapTeacher.predict`."""
        return self._teacher.predict(image, id)

    def cost(self) -> Cost:
        """Parameters, and MACs of one image of 256 x 256 px where the module takes one."""
        from abbe.network_size import parameters_of

        place = device_of(self._module)
        parameters = parameters_of(self._module) or None  # frozen scripts hold constants instead
        macs = _macs(self._module, len(self.provenance.channels)) if parameters else None
        return Cost(
            parameters,
            macs,
            macs and COUNTED_SIDE,
            precision=self._precision,
            device=place.type,
        )


@declares(TeacherTraits(reads_all=True, runs_code=True, live=True, normalisation="percentile"))
def torch_module(
    factory: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    arguments: Mapping[str, Any] | str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: str = "percentile",
    activation: str = "sigmoid",
    outputs: str | Sequence[str] | None = None,
    divisor: int = 32,
    tile: int = 1024,
    halo: int = 64,
    threshold: float = 0.5,
    name: str | None = None,
    weights_licence: str = "not stated",
    training_data_licence: str = "not stated",
    stand_in: bool = False,
    device: str | None = None,
    precision: str = "auto",
) -> TorchTeacher:
    """A teacher that is ``factory(**arguments)``, a module (1, C, H, W) → (1, K, H, W).

    Importing and calling the factory runs the code that it names: name only what you trust. The
    weights are read without running any.

    Args:
        factory: ``package.module:function`` or ``package.module:Class``.
        channels: the image's channels that the module reads, in its order.
        arguments: keyword arguments of the factory, as a dict or as JSON.
        weights: its state dict, .safetensors, .pt or .pth; where omitted the weights are those
            that the factory gave it.
        preprocessing: percentile, zero_mean_unit_variance, scale_255, imagenet or none.
        activation: what turns its output into probabilities: none, sigmoid or softmax.
        outputs: names of its maps in order, ``-`` for one not to store; foreground where omitted.
        divisor: sides must be multiples of it; the image is padded by reflection.
        tile: longer images (px) are cut into tiles of this side.
        halo: px at a tile's inner edges that are computed and thrown away.
        threshold: an image without a foreground pixel of this probability is marked as empty.
        name: the teacher's name in the store; the factory where omitted.
        weights_licence: licence of the weights.
        training_data_licence: licence of what they were trained on.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.
        device: such as ``cpu`` or ``cuda``; a GPU if there is one where omitted.
        precision: fp32, bf16, fp16, or auto: half where the device computes it natively. Sigmoid
            and softmax are taken in fp32, the module's own ones too.

    Raises:
        ConfigError: the factory cannot be imported or called, or an option is unknown.
        InputError: the weights are missing, damaged or those of another network.
    """
    from abbe.machine.precision import choose_precision
    from abbe.targets import Provenance

    factory = os.fspath(factory)
    channels = require_channels(channels, factory)
    prepare, activate = preprocessing_named(preprocessing), activation_named(activation)
    names = name_outputs(outputs or "foreground", None, factory)
    given = _parsed(arguments, factory)
    module = _frozen(_make(factory, given), weights, device)
    asked = _giving_probabilities(module) if activation == "none" else module
    chosen = choose_precision(precision, device_of(module))
    tiling = Tiling.multiples(divisor, tile, halo)
    provenance = Provenance(
        teacher=name or factory,
        weights_sha256=sha256_of_file(Path(weights)) if weights else state_sha256(module),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=preprocessing,
        outputs=stored(names),
        thresholds={"foreground": threshold},
        settings=settings_of(
            names, tiling, activation=activation, divisor=divisor, precision=chosen,
            arguments=_in_words(given),
        ),
        stand_in=stand_in,
    )  # fmt: skip

    def run(pixels: NDArray[np.float32]) -> NDArray[np.floating]:
        return activate(_run(asked, pixels, factory, chosen))

    teacher = MapTeacher(provenance, factory, names, prepared_by(prepare, channels), run, tiling)
    return TorchTeacher(asked, teacher, activation, chosen)


def state_sha256(module: nn.Module) -> str:
    """Hash of a module's names, shapes, types and values, whatever file they came from."""
    import torch

    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{key} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _parsed(arguments: Mapping[str, Any] | str | None, origin: str) -> Mapping[str, Any]:
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        parsed = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{origin}: the arguments {arguments!r} are no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"{origin}: the arguments must be a JSON object, not {arguments!r}")
    return parsed


def _in_words(arguments: Mapping[str, Any]) -> str | None:
    """The factory's arguments, which may change answers and no weights; objects by their types."""
    named = json.dumps(arguments, sort_keys=True, default=lambda value: type(value).__name__)
    return named if arguments else None


def _make(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        from torch import nn
    except ImportError as error:
        raise MissingExtraError("torch", "train", "A torch teacher") from error
    place, _, function = factory.partition(":")
    if not place or not function:
        raise ConfigError(f"'{factory}' is no import path: write package.module:function")
    try:
        made = getattr(importlib.import_module(place), function)(**arguments)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{factory} cannot be imported or called: {error}. It must be importable from here "
            "(PYTHONPATH) and take the arguments given"
        ) from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{factory} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def _frozen(
    module: nn.Module, weights: str | os.PathLike[str] | None, device: str | None
) -> nn.Module:
    import torch

    if weights is not None:
        from abbe.files.tensors import differences, read_tensors

        tensors = read_tensors(Path(weights))
        if problems := differences(module.state_dict(), tensors):
            raise InputError(f"{weights}: these are not this module's weights. {problems}")
        module.load_state_dict(tensors, strict=False)  # checked; old files lack counters
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for parameter in module.parameters():  # scripted modules lack requires_grad_ of their own
        parameter.requires_grad_(False)
    return module.eval().to(place)


def _giving_probabilities(module: nn.Module) -> nn.Module:
    from abbe.teachers.networks.full_activations import FullActivations

    return FullActivations(module).eval()


def _macs(module: nn.Module, channels: int) -> int | None:
    """MACs of an image of `COUNTED_SIDE` px; None where the module takes none of that size.

    It is computed: what another person's module does with shapes alone is not known.
    """
    import torch

    from abbe.network_size import macs_of

    images = torch.zeros(1, channels, COUNTED_SIDE, COUNTED_SIDE, device=device_of(module))
    try:
        return macs_of(module, images) or None
    except Exception:  # whatever it raises: the count is not known, and no report claims one
        return None


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are; the CPU where it has none."""
    import torch

    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _run(
    module: nn.Module, pixels: NDArray[np.float32], origin: str, precision: str
) -> NDArray[np.floating]:
    import torch

    from abbe.machine.precision import autocast_for

    device = device_of(module)
    with torch.inference_mode(), autocast_for(device, precision):
        answer = module(torch.from_numpy(np.ascontiguousarray(pixels))[None].to(device))
    if not isinstance(answer, torch.Tensor) or answer.ndim != 4:
        what = f"shape {tuple(answer.shape)}" if isinstance(answer, torch.Tensor) else type(answer)
        raise InputError(
            f"{origin} answers with {what}; a tensor (B, K, H, W) is needed. Name a factory that "
            "wraps the module and picks that tensor"
        )
    return answer[0].float().cpu().numpy()


def _live(module: nn.Module, activation: str, outputs: Sequence[str]) -> nn.Module:
    """The module with logits as its answer and only the stored outputs."""
    import torch
    from torch import nn

    kept = [index for index, name in enumerate(outputs) if name != NOT_STORED]

    class Live(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: Tensor) -> Tensor:
            answer = self.module(image).float()  # in half, 1 − 1e-6 is 1 and its logit infinite
            if activation == "softmax":
                # logit of p_k: x_k − log of the others' summed exponentials, via log p and log 1−p
                log_p = answer.log_softmax(1)
                answer = log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))
            elif activation == "none":
                answer = torch.logit(answer, eps=1e-6)
            return answer[:, kept]

    return Live().eval()
