"""An image: named channels, a size, a pixel size, and pixels that are read when asked for."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from abbe.errors import AbbeError, InputError
from abbe.imaging.bounds import MOST_CHANNELS, check_size
from abbe.imaging.channels import renamed, renames_in
from abbe.imaging.lines_held import lines_held
from abbe.imaging.units import LARGEST, SMALLEST, possible
from abbe.in_words import NAMED, counted, listing
from abbe.remote.faults import fault_of
from abbe.remote.urls import is_url

if TYPE_CHECKING:
    from abbe.imaging.stain import Stains

_NO_DATA = 3e38

# Hashing goes in bands of rows of about this many bytes, so that its memory is bounded.
_HASH_BAND = 64 << 20


class Region(NamedTuple):
    """A rectangle in px, half-open: rows top to bottom − 1, columns left to right − 1."""

    top: int
    left: int
    bottom: int
    right: int


class Pixels(Protocol):
    """Where pixels come from: an array in memory, a memory map, a zarr array, TIFF segments."""

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        ...


Levels = list[tuple[tuple[int, int], Callable[[], Pixels]]]
"""Shape (H, W) and loader of each level below the finest of a pyramid, the finer ones first."""


@dataclass(frozen=True)
class Contents:
    """What a reader found in a file before decoding pixels.

    ``load`` is picklable and opens the pixels afresh in whatever process calls it. ``channels``
    are the names that the file gives ("" where it gives none), or None. ``pixel_size`` is
    (vertical, horizontal) in µm. ``coarser``, picklable too, looks for the levels of a pyramid;
    most images have none. ``empty`` means that no pixel is stored, so that all are 0.
    """

    shape: tuple[int, int]
    channel_count: int
    dtype: np.dtype[Any]
    load: Callable[[], Pixels]
    channels: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    coarser: Callable[[], Levels] = list
    empty: bool = False


Diameter = float | Literal["auto"]
"""px across of an image's objects, or that it is to be estimated."""


@dataclass(frozen=True)
class ArrayPixels:
    """Pixels of anything that slices like an array.

    ``axes`` has one letter per dimension: Y, X, C; any other letter is a dimension of length one.
    """

    array: Any
    axes: str

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        if "C" not in self.axes:
            plane = self._slice(region, 0)
            return np.stack([plane] * len(channels))
        if self.axes.index("C") < self.axes.index("Y"):  # one channel at a time: fewest chunks
            return np.stack([self._slice(region, channel) for channel in channels])
        block = self._slice(region, slice(None))
        order = [letter for letter in self.axes if letter in "YXC"]
        block = block.transpose([order.index(letter) for letter in "CYX"])
        return block[list(channels)]

    def _slice(self, region: Region, channel: int | slice) -> np.ndarray:
        index = {
            "Y": slice(region.top, region.bottom),
            "X": slice(region.left, region.right),
            "C": channel,
        }
        block = np.asarray(self.array[tuple(index.get(letter, 0) for letter in self.axes)])
        if isinstance(channel, int) and self.axes.index("X") < self.axes.index("Y"):
            return block.T
        return block


class Image:
    """A 2-D image with named channels whose pixels are read by region, when asked for.

    No file handle is kept, so an image can be pickled and used after a fork. What was decoded
    (the whole of a PNG; the table of contents of a TIFF) is kept for the next read of the same
    process, and goes when the image goes.

    Attributes:
        name: File name, or the name given with the array.
        channels: Channel names, unique, in the order of the pixels.
        shape: (height, width) in px.
        dtype: Type of the pixels that ``read`` returns, in native byte order.
        pixel_size: Side of a pixel in µm, or None where it is not known.
        diameter: px across of its objects, where the user says so, or "auto" where it is to be
            estimated; None where nothing is said.
        stain: In whose stains networks are to see it (`abbe.imaging.stain`); None for its own.
        notes: What was left out or taken for granted while opening, in sentences for people.
        coarser: Looks for the coarser levels of its pyramid; `slide_of` makes images of them.
    """

    def __init__(
        self,
        name: str,
        channels: Sequence[str],
        contents: Contents,
        *,
        pixel_size: float | None = None,
        source: str | None = None,
    ) -> None:
        self.name = name
        self.channels = tuple(channels)
        self.shape = contents.shape
        self.dtype = pixel_dtype(contents.dtype, source or name)
        self.pixel_size = pixel_size
        self.diameter: Diameter | None = None
        self.stain: Stains | None = None
        self.notes = contents.notes
        self.coarser = contents.coarser
        self.source = source or name
        self._load = contents.load
        self._pixels: tuple[int, Pixels] | None = None

    @staticmethod
    def from_array(
        array: np.ndarray,
        channels: Sequence[str] | None = None,
        pixel_size: float | None = None,
        name: str = "array",
    ) -> "Image":
        """An image over an array, which is not copied.

        Args:
            array: (C, H, W) or (H, W); integers, floats or booleans.
            channels: One name a channel; without names: "grey", or "channel-0", "channel-1", ….
            pixel_size: In µm.
            name: What messages call it.

        Raises:
            InputError: The array has no pixels, another number of dimensions or of channels.
        """
        if array.ndim not in (2, 3) or array.size == 0:
            raise InputError(
                f"{name}: an image array is (C, H, W) or (H, W) and not empty, "
                f"but this one has shape {array.shape}."
            )
        stack = array if array.ndim == 3 else array[None]
        count, height, width = stack.shape
        load = partial(ArrayPixels, stack, "CYX")
        contents = Contents((height, width), count, stack.dtype, load)
        names = channel_names(name, count, None, channels)
        return Image(name, names, contents, pixel_size=positive_size(pixel_size, name))

    def read(
        self, region: Region | None = None, channels: Sequence[str] | None = None
    ) -> np.ndarray:
        """Read pixels.

        Args:
            region: What to read, in px; None for all.
            channels: Names of the channels to read, in the order wanted; None for all.

        Returns:
            (C, h, w) in the image's own dtype: a new, contiguous array.

        Raises:
            InputError: There is no such channel; the region is not inside the image; it is more
                than 4 GiB; the file is damaged; a pixel is NaN, infinite or ±3.4e38, "no data".
        """
        region = self._check_region(region)
        indices = self._channel_indices(channels)
        height, width = region.bottom - region.top, region.right - region.left
        check_size(len(indices) * height * width * self.dtype.itemsize, self.source)
        with decoding(self.source):
            pixels = self._opened().read(region, indices)
        if pixels.shape != (len(indices), height, width):
            raise InputError(
                f"{self.source}: it should hold {height} × {width} px, but its decoder gave "
                f"{pixels.shape}: the file is damaged. Copy or export it again."
            )
        pixels = np.ascontiguousarray(pixels, self.dtype)
        self._check_finite(pixels, indices)
        return pixels

    def with_channels(self, names: Sequence[str]) -> "Image":
        """The same image with other names for its channels, one each."""
        renamed = copy(self)
        renamed.channels = tuple(names)
        return renamed

    def with_diameter(self, diameter: "Diameter | None") -> "Image":
        """The same image, whose objects are so many px across."""
        measured = copy(self)
        measured.diameter = diameter
        return measured

    def require_pixel_size(self) -> float:
        """The pixel size in µm.

        Raises:
            InputError: It is not known.
        """
        if self.pixel_size is None:
            why = "".join(f"{note} " for note in self.notes if "pixel size" in note)
            raise InputError(
                f"{self.source}: its pixel size is not known, and it is needed here. {why}"
                "Give it in µm with --pixel-size (in an experiment data.pixel_size, in Python "
                "pixel_size=…), or how large its objects are with --diameter (diameter=…)."
            )
        return self.pixel_size

    def with_stain(self, stain: "Stains | None") -> "Image":
        """The same image, which networks are to see in these stains; its pixels stay."""
        stained = copy(self)
        stained.stain = stain
        return stained

    def sha256(self, channels: Sequence[str] | None = None) -> str:
        """SHA-256 of what a teacher sees: dtype, shape and pixels of these channels, in order.

        It does not depend on the file format or on channel names. Bytes are hashed little-endian
        in (C, H, W) order, after a header such as ``uint16 (2, 512, 512)``.
        """
        names = self.channels if channels is None else tuple(channels)
        height, width = self.shape
        digest = hashlib.sha256(f"{self.dtype.name} {(len(names), height, width)}".encode())
        row = width * self.dtype.itemsize
        if len(names) * height * row <= _HASH_BAND:
            digest.update(_little_endian(self.read(channels=names)))
            return digest.hexdigest()
        rows = max(1, _HASH_BAND // row)
        for name in names:
            for top in range(0, height, rows):
                band = Region(top, 0, min(top + rows, height), width)
                digest.update(_little_endian(self.read(band, [name])))
        return digest.hexdigest()

    def __repr__(self) -> str:
        height, width = self.shape
        size = "unknown" if self.pixel_size is None else f"{self.pixel_size:g} µm"
        return (
            f"Image({self.name!r}, {height} × {width} px, {self.dtype.name}, "
            f"channels: {', '.join(self.channels)}; pixel size: {size})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}

    def _opened(self) -> Pixels:
        # A forked process opens for itself: threads and locks do not survive a fork.
        if self._pixels is None or self._pixels[0] != os.getpid():
            self._pixels = (os.getpid(), self._load())
        return self._pixels[1]

    def _check_region(self, region: Region | None) -> Region:
        height, width = self.shape
        if region is None:
            return Region(0, 0, height, width)
        top, left, bottom, right = region
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(
                f"{self.source}: the region rows {top}:{bottom}, columns {left}:{right} is empty "
                f"or not inside the image of {height} × {width} px (height × width)."
            )
        return Region(top, left, bottom, right)

    def _channel_indices(self, channels: Sequence[str] | None) -> list[int]:
        if channels is None:
            return list(range(len(self.channels)))
        if isinstance(channels, str):
            channels = (channels,)
        if not len(channels):
            raise InputError(
                f"{self.source}: no channel was asked for. It has: {listing(self.channels, NAMED)}."
            )
        for name in channels:
            if name not in self.channels:
                raise InputError(
                    f"{self.source}: no channel '{name}'. "
                    f"Its channels are: {listing(self.channels, NAMED)}."
                )
        return [self.channels.index(name) for name in channels]

    def _check_finite(self, pixels: np.ndarray, indices: Sequence[int]) -> None:
        if self.dtype.kind != "f" or _are_values(pixels).all():
            return
        for plane, index in zip(pixels, indices, strict=True):
            if count := int(plane.size - _are_values(plane).sum()):
                what = "NaN or infinite" if not np.isfinite(plane).all() else "±3.4e38 (no data)"
                raise InputError(
                    f"{self.source}: channel '{self.channels[index]}' is {what} in "
                    f"{counted(count, 'pixel')}. Replace them (for example by 0) and save the "
                    "image again."
                )


def _are_values(pixels: np.ndarray) -> np.ndarray:
    """Where pixels are numbers that something measured.

    Programs for maps write the lowest number of float32, −3.4e38, where there is no data.
    """
    if pixels.dtype.itemsize < 4:  # float16 ends long before
        return np.isfinite(pixels)
    return (pixels > -_NO_DATA) & (pixels < _NO_DATA)


@contextmanager
def decoding(source: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError that names the file."""
    try:
        with lines_held():
            yield
    except AbbeError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{source}: there is too little memory to read it. Close other programs, or convert it "
            "to a tiled TIFF or to OME-Zarr, which are read by region."
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{source}: there is no such file any more.") from error
    except Exception as error:  # decoders of a dozen formats raise as many kinds
        if is_url(source) and (fault := fault_of(source, error)):
            raise fault from None
        raise InputError(
            f"{source}: the file is damaged, truncated or of a form that is not supported "
            f"({type(error).__name__}: {error}). Copy or export it again."
        ) from error


def pixel_dtype(dtype: np.dtype[Any], source: str) -> np.dtype[Any]:
    """The native dtype in which pixels are returned; booleans become uint8 (0, 1)."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise InputError(
            f"{source}: pixels of type {dtype} are not supported. "
            "Save them as integers or floats of at most 64 bits."
        )
    return dtype.newbyteorder("=")


def channel_names(
    source: str,
    count: int,
    found: Sequence[str] | None,
    given: Sequence[str] | None,
) -> tuple[str, ...]:
    """Channel names: the user's, else the file's, else grey; red, green, blue; channel-0, ….

    The user names all, or renames some: "nucleus=DAPI" calls the file's DAPI nucleus.

    "red, green, blue" is what a reader says it found in an RGB file. A name that a file gives
    twice gets "-2", "-3" … from its second time on.

    Raises:
        InputError: There are too many channels; the user gave another number of names, an empty
            one or one twice.
    """
    if count > MOST_CHANNELS:
        raise InputError(
            f"{source}: it should have {count:,} channels, and {MOST_CHANNELS:,} are the most that "
            "are read: it is damaged, or its axes are named wrongly. Export it again."
        )
    default = ("grey",) if count == 1 else tuple(f"channel-{i}" for i in range(count))
    if found is not None and len(found) == count:
        default = _unique([name.strip() or default[i] for i, name in enumerate(found)])
    if given is None:
        return default
    if isinstance(given, str):
        given = (given,)
    if (renames := renames_in(given, source)) is not None:
        return renamed(default, renames, source)
    if len(given) != count:
        raise InputError(
            f"{source}: it has {counted(count, 'channel')} ({listing(default, NAMED)}), but "
            f"{counted(len(given), 'name')} {'was' if len(given) == 1 else 'were'} given "
            f"({listing(given, NAMED)}). Give one name a channel."
        )
    if len(set(given)) != count or not all(given):
        raise InputError(f"{source}: channel names must differ and not be empty: {list(given)}.")
    return tuple(given)


def positive_size(pixel_size: float | None, source: str) -> float | None:
    """The pixel size that the user gave, checked.

    Raises:
        InputError: No pixel is so small or so large.
    """
    if pixel_size is not None and not possible(pixel_size):
        raise InputError(
            f"{source}: no pixel is {pixel_size:g} µm wide. Give its size in µm, such as 0.5, "
            f"between {SMALLEST:.5f} and {LARGEST:,.0f}."
        )
    return None if pixel_size is None else float(pixel_size)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    copies: dict[str, int] = {}
    for name in names:
        candidate = name
        while candidate in unique:
            copies[name] = copies.get(name, 1) + 1
            candidate = f"{name}-{copies[name]}"
        unique[candidate] = None
    return tuple(unique)


def _little_endian(pixels: np.ndarray) -> bytes:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
