"""Pictures with their objects, as promptable networks are taught and judged by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image as Pillow

from abbe.datasets.collection import Record, label_of
from abbe.imaging import Image, choose_rule, three_channels

MEMORY_LIMIT = 4 << 30
"""Bytes of decoded pictures and labels that are kept; beyond it, they are decoded when wanted."""


class Pictured(Protocol):
    """An image with its objects."""

    @property
    def id(self) -> str:
        """Of the image."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) px of the image as it lies on the disk."""
        ...

    @property
    def has_objects(self) -> bool:
        """Whether it has a label, and an object in it."""
        ...

    @property
    def picture(self) -> np.ndarray:
        """(h, w, 3) uint8."""
        ...

    @property
    def label(self) -> np.ndarray | None:
        """(h, w) int32 instances, 0 background, −1 unknown; None where there is no label."""
        ...


@dataclass(frozen=True)
class DecodedPicture:
    """A picture in memory."""

    id: str
    picture: np.ndarray
    label: np.ndarray | None
    shape: tuple[int, int]

    @property
    def has_objects(self) -> bool:
        """Whether it has a label, and an object in it."""
        return self.label is not None and bool((self.label > 0).any())


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is decoded whenever it is wanted; so is its label.

    Attributes:
        record: Where they are.
        channels: The image's that are shown.
        rule: How they are shown.
        longest: px that the longest side is shrunk to, where it is longer.
        shape: See `Pictured`.
        has_objects: See `Pictured`.
    """

    record: Record
    channels: tuple[str, ...]
    rule: str
    longest: int
    shape: tuple[int, int]
    has_objects: bool

    @property
    def id(self) -> str:
        """Of the image."""
        return self.record.id

    @property
    def picture(self) -> np.ndarray:
        """(h, w, 3) uint8."""
        return _shown(self.record.image.open(), self.channels, self.rule, self.longest)

    @property
    def label(self) -> np.ndarray | None:
        """(h, w) int32 instances, 0 background, −1 unknown; None where there is no label."""
        return _label(self.record, self.record.image.open(), self.longest)


def picture_records(
    records: Iterable[Record],
    channels: Sequence[str],
    *,
    longest: int,
    memory_limit: int = MEMORY_LIMIT,
) -> list[Pictured]:
    """Decode images and labels once, shrunk to at most ``longest`` px a side.

    Args:
        records: What to decode.
        channels: The channels to show.
        longest: px.
        memory_limit: Bytes to keep; what is beyond them is decoded again when it is wanted.

    Raises:
        InputError: A channel is missing, or a label differs in size from its image.
    """
    rule = choose_rule("auto", len(channels))
    pictured: list[Pictured] = []
    held = 0
    for record in records:
        image = record.image.open()
        decoded = DecodedPicture(
            record.id,
            _shown(image, channels, rule, longest),
            _label(record, image, longest),
            image.shape,
        )
        size = decoded.picture.nbytes + (0 if decoded.label is None else decoded.label.nbytes)
        if held + size <= memory_limit:
            held += size
            pictured.append(decoded)
        else:
            pictured.append(
                StoredPicture(
                    record, tuple(channels), rule, longest, image.shape, decoded.has_objects
                )
            )
    return pictured


def _shown(image: Image, channels: Sequence[str], rule: str, longest: int) -> np.ndarray:
    picture = three_channels(image.read(channels=channels), rule)
    return resized(picture, _shrunk(image.shape, longest))


def _label(record: Record, image: Image, longest: int) -> np.ndarray | None:
    label = label_of(record, image)
    return None if label is None else nearest(label, _shrunk(image.shape, longest))


def _shrunk(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    return fitted(shape, longest) if max(shape) > longest else shape


def fitted(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """(h, w) of an image of ``shape`` whose longest side becomes ``side``, rounded as SAM does."""
    scale = side / max(shape)
    return max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8 at another size (h, w), bilinear."""
    if picture.shape[:2] == size:
        return picture
    turned = size[1], size[0]
    return np.asarray(Pillow.fromarray(picture).resize(turned, Pillow.Resampling.BILINEAR))


def nearest(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label (H, W) at another size (h, w), by nearest neighbour."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, label.shape, strict=True)
    )
    return label[np.ix_(rows, columns)]
