"""Which layer, or which part of a layer, is a channel that a package sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

_NAMES = ("channel_names", "channel names", "channels")
"""Keys under which readers leave names of channels in a layer's metadata, in lower case."""


@dataclass(frozen=True)
class Channel:
    """One channel of an image layer; its last two other axes are rows and columns.

    Attributes:
        layer: The layer.
        name: What it calls the channel.
        axis: Axis of the layer's data that counts channels; None where all of it is one channel.
        index: Place on that axis.
    """

    layer: ImageLayer
    name: str
    axis: int | None = None
    index: int = 0

    @property
    def title(self) -> str:
        """The channel's name, told apart from those of other layers."""
        return self.name if self.axis is None else f"{self.layer.name}: {self.name}"

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the data, and of the layer, that do not count channels."""
        return tuple(axis for axis in range(len(self.levels[0].shape)) if axis != self.axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each of ``axes``: slices, if any, then (H, W) in px."""
        return self.shape_at(0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self.levels[0].dtype)

    @property
    def levels(self) -> list[Any]:
        """The data, arrays of any kind: of a pyramid all levels, the finest first."""
        data: Any = self.layer.data  # napari's types do not tell a pyramid from an array
        return list(data) if self.layer.multiscale else [data]

    def shape_at(self, level: int) -> tuple[int, ...]:
        """``shape`` at a level of the pyramid."""
        return tuple(int(self.levels[level].shape[axis]) for axis in self.axes)

    def read(
        self, position: Sequence[int], rows: slice, columns: slice, level: int = 0
    ) -> np.ndarray:
        """Pixels (h, w) of one slice; ``position`` has an index for each axis before (H, W)."""
        index: list[int | slice] = [*position, rows, columns]
        if self.axis is not None:
            index.insert(self.axis, self.index)
        return np.asarray(self.levels[level][tuple(index)])


def channel_axes(layer: ImageLayer) -> list[int | None]:
    """The axes of a layer's data that may count channels; None stands for a single channel."""
    if layer.rgb:
        return [layer.ndim]
    return [None, *range(layer.ndim)] if layer.ndim > 2 else [None]


def likely_axis(layer: ImageLayer, wanted: int) -> int | None:
    """The axis that probably counts channels, for a package that sees ``wanted`` of them.

    That of colours; one that is labelled "c" or "channel"; one as long as the list of names in the
    metadata; the first axis of three where it has as many entries as the package sees channels.
    """
    if layer.rgb:
        return layer.ndim
    if layer.ndim == 2:
        return None
    labels = [str(label).casefold() for label in layer.axis_labels]
    for label in ("c", "channel", "channels"):
        if label in labels:
            return labels.index(label)
    shape = Channel(layer, layer.name).shape
    if (names := _names_in(layer)) and names and shape.count(len(names)) == 1:
        return shape.index(len(names))
    return 0 if layer.ndim == 3 and shape[0] == wanted > 1 else None


def channels_of(layer: ImageLayer, axis: int | None) -> list[Channel]:
    """The channels of a layer, counted by one of its axes."""
    if axis is None:
        return [Channel(layer, layer.name)]
    if layer.rgb:
        names: Sequence[str] = ("red", "green", "blue")
    else:
        count = Channel(layer, layer.name).shape[axis]
        names = _names_in(layer) or ()
        if len(names) != count:
            names = [f"channel {index}" for index in range(count)]
    return [Channel(layer, name, axis, index) for index, name in enumerate(names)]


def choices(layer: ImageLayer, axis: int | None, layers: Iterable[ImageLayer]) -> list[Channel]:
    """The channels of a layer, and the other layers of the same size: each may be a channel."""
    own = channels_of(layer, axis)
    others = [
        Channel(other, other.name) for other in layers if other is not layer and not other.rgb
    ]
    return own + [other for other in others if other.shape == own[0].shape]


def assign(wanted: Sequence[str], found: Sequence[Channel]) -> list[Channel | None]:
    """A first guess of which channel is which; None where the user must say it.

    By name among the chosen layer's own channels; where no name fits, in order if there are as many
    as wanted. Other layers are looked at for what is left, once the chosen one gives a part.

    Args:
        wanted: The channels that a package sees.
        found: What `choices` gives, the chosen layer's own first.
    """
    own = [channel for channel in found if channel.layer is found[0].layer]
    named = [_by_name(name, own) for name in wanted]
    if not any(named) and len(own) == len(wanted):
        return list(own)
    if not any(named):
        return [None for _ in wanted]  # another layer of that name may be of another sample
    return [own or _by_name(name, found) for name, own in zip(wanted, named, strict=True)]


def _by_name(name: str, channels: Sequence[Channel]) -> Channel | None:
    """The only channel of this name, or else the only one whose name holds it."""
    name = name.casefold()
    same = [channel for channel in channels if channel.name.casefold() == name]
    within = [channel for channel in channels if name in channel.name.casefold()]
    for fitting in (same, within):
        if len(fitting) == 1:
            return fitting[0]
    return None


def _names_in(layer: ImageLayer) -> list[str] | None:
    """Names of channels in the layer's metadata."""
    for key, value in layer.metadata.items():
        if str(key).casefold() in _NAMES and isinstance(value, list | tuple):
            return [str(name) for name in value]
    return None
