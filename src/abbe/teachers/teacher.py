"""The protocol of teachers: what one answers for an image, and its provenance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from abbe.errors import AbbeWarning, ConfigError, InputError
from abbe.foreign_text import shown

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance

NOT_STORED = "-"
"""An output with this name is computed (a softmax needs it) but not stored."""
AGREEMENT = "agreement"
"""The output of several teachers that says how far they agree on a pixel. It is learned from by
counting, not by being matched."""


@dataclass(frozen=True)
class Prediction:
    """What a teacher found in one image.

    Attributes:
        maps: by kind, as in the target store: ``probability`` (K, H, W) float in [0, 1],
            ``instances`` (H, W) int with 0 for background, ``embedding`` or ``logits``.
        empty: the teacher found nothing. The distilling terms are masked out on such an image.
    """

    maps: dict[str, NDArray[Any]] = field(default_factory=dict)
    empty: bool = False


@runtime_checkable
class Teacher(Protocol):
    """A frozen model, or the results that one left behind."""

    @property
    def provenance(self) -> Provenance:
        """What the store must know: weights, licences, channels, preparation, thresholds."""
        ...

    def predict(self, image: Image, id: str) -> Prediction:
        """The teacher's answer for one image, at the image's size.

        Raises:
            AbbeError: saying what is wrong with this image; never an empty answer instead.
        """
        ...


@dataclass(frozen=True)
class Cost:
    """What a teacher's network costs where it runs, as far as that can be counted.

    Attributes:
        parameters: of its network; of an ONNX file, all numbers that it stores.
        macs: multiply-accumulates of one image.
        macs_image_size: side of that image, px.
        encoder_parameters, encoder_macs: of the encoder alone.
        precision: number format in which it computes; None where its own file or program decides.
        device: where it computes, such as ``cpu`` or ``cuda``.
        answers_parts: whether it can answer for a part of an image. A teacher whose prompts are
            kept by image cannot: they are of the whole.
    """

    parameters: int | None = None
    macs: int | None = None
    macs_image_size: int | None = None
    encoder_parameters: int | None = None
    encoder_macs: int | None = None
    precision: str | None = None
    device: str = "cpu"
    answers_parts: bool = True

    def sizes(self) -> dict[str, int]:
        """What was counted, by the names above."""
        names = "parameters", "macs", "macs_image_size", "encoder_parameters", "encoder_macs"
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


@runtime_checkable
class CountedTeacher(Teacher, Protocol):
    """A teacher whose network is at hand, not only what it once answered."""

    def cost(self) -> Cost:
        """What its network costs here."""
        ...


def name_outputs(
    outputs: str | Sequence[str] | None, count: int | None, origin: str
) -> tuple[str, ...]:
    """Names of a network's maps in order; a single one is called foreground unless named.

    Args:
        outputs: the user's names, as a list or separated by commas; ``-`` for one not to store.
        count: how many maps the network gives, where it is known.
        origin: the file or module, for messages.

    Raises:
        ConfigError: the names do not fit the number of maps.
    """
    if outputs is None:
        if count == 1:
            return ("foreground",)
        known = "an unknown number of" if count is None else str(count)
        raise ConfigError(
            f"{origin} gives {known} maps: name them in order, for example "
            f"outputs='background,foreground' ('{NOT_STORED}' for one that need not be stored)"
        )
    split = outputs.split(",") if isinstance(outputs, str) else outputs
    names = tuple(name.strip() for name in split)
    stored = [name for name in names if name != NOT_STORED]
    if not stored or "" in names or len(set(stored)) != len(stored):
        raise ConfigError(
            f"{origin}: outputs {', '.join(names)!r} must be different names, not all '-'"
        )
    if count is not None and len(names) != count:
        raise ConfigError(
            f"{origin} gives {count} maps but {len(names)} outputs are named: {', '.join(names)}"
        )
    return names


def require_channels(channels: Sequence[str] | None, origin: str) -> tuple[str, ...]:
    """The channels that the user named.

    Raises:
        ConfigError: there are none.
    """
    if not channels:
        raise ConfigError(
            f"{origin}: say which of the image's channels the teacher reads, in its order, with "
            "--teacher.input-channels (in Python: channels=[…])"
        )
    return tuple(channels)


def missing_channels(
    where: str, channels: Sequence[str], missing: Sequence[str], origin: str
) -> str:
    """The message for channels that the teacher reads and the images do not have."""
    return (
        f"{where} has no channel {', '.join(map(repr, missing))}, which the teacher {origin} "
        f"reads; it has: {', '.join(channels)}. Name the image's channels, or say which of them "
        "the teacher reads, in its order, with --teacher.input-channels (in Python: channels=[…])"
    )


def tell_unknown_pixel_size(teacher: str, known: float | None, image: Image) -> None:
    """Warn where images are calibrated and a teacher does not say which pixel size it is for.

    Once: Python shows the same warning of the same place no second time.
    """
    if known is None and image.pixel_size is not None:
        text = (
            f"the teacher {teacher} does not say for which pixel size it was trained: images are "
            "seen as they are, whatever theirs"
        )
        warnings.warn(shown(text), AbbeWarning, stacklevel=3)


def found_in(
    probability: NDArray[np.floating], outputs: Sequence[str], threshold: float, origin: str
) -> Prediction:
    """Turn a network's maps (K, H, W) into a prediction, leaving out those named ``-``.

    The maps are clipped to [0, 1] in place.

    It is empty where no pixel of ``foreground`` (of any stored map, if none has that name) reaches
    ``threshold``.

    Raises:
        InputError: the maps hold NaN or lie outside [0, 1].
    """
    if len(probability) != len(outputs):
        raise InputError(
            f"{origin} gave {len(probability)} maps but {len(outputs)} outputs are named: "
            f"{', '.join(outputs)}. Name every map in order with outputs=[…]"
        )
    low, high = float(probability.min()), float(probability.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN anywhere makes both NaN
        raise InputError(f"{origin} gave NaN or infinite values for this image")
    if low < -1e-4 or high > 1 + 1e-4:
        raise InputError(
            f"{origin} gave values from {low:.3g} to {high:.3g}, which are no probabilities. "
            "If they are logits, say activation='sigmoid' (or 'softmax')"
        )
    kept = [index for index, name in enumerate(outputs) if name != NOT_STORED]
    names = [outputs[index] for index in kept]
    if len(kept) < len(outputs):
        probability = probability[kept]
    # In place: of a large image these maps are the largest thing that is held.
    maps = np.clip(probability, 0, 1, out=probability).astype(np.float32, copy=False)
    decisive = maps[names.index("foreground")] if "foreground" in names else maps
    return Prediction({"probability": maps}, empty=not bool((decisive >= threshold).any()))


def stored(outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs that are stored."""
    return tuple(name for name in outputs if name != NOT_STORED)
