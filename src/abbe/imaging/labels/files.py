"""Labels in and out: (H, W) int32 instances, 0 = background, −1 = unknown."""

import os
from dataclasses import dataclass
from pathlib import Path

import cc3d
import imagecodecs
import numpy as np
import tifffile

from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging.image import Image, decoding
from abbe.imaging.labels.checks import require_numbers
from abbe.imaging.labels.names import INSTANCE_NAMES, stem_of_label
from abbe.imaging.opening import contents_of, kind_of
from abbe.imaging.views import WHITE_IS_ZERO
from abbe.in_words import counted
from abbe.remote import as_path

UNKNOWN = -1
_LARGEST = np.iinfo(np.int32).max
_NPZ_KEYS = ("labels", "label", "masks", "mask", "y")
_KINDS = (".png", ".tif", ".tiff", ".npy")


@dataclass(frozen=True)
class LabelFile:
    """A label as it is read.

    Attributes:
        labels: (H, W) int32: 0 background, −1 unknown, else the instance's number.
        values: (H, W) int32, the numbers in the file; −1 where they mean unknown.
        notes: What was done or taken for granted, in sentences for people.
    """

    labels: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...]


def read_labels(path: str | os.PathLike[str], *, ignore: int | None = None) -> np.ndarray:
    """Read an instance map or a binary mask, of any format that ``open_image`` reads but JPEG.

    A file with a single number besides 0 and −1, such as 255, is a mask: its 8-connected
    components are numbered from 1. Where the name says that the file holds instances
    (NAME.labels.png as predict and serve write it, NAME_cp_masks.png of Cellpose), an object
    numbered 1 stays one, in however many parts. A palette PNG gives its indices, not its colours;
    if it is black and white, what is white. Labels are turned upright as images are. All
    background is a valid label: an image without objects.

    Args:
        path: The file.
        ignore: A number that means unknown, such as 255.

    Returns:
        (H, W) int32: 0 background, −1 unknown (signed files and floats can hold it), else the
        instance's number.

    Raises:
        InputError: Not 2-D, more than one channel, not whole numbers, below −1 or above
            2³¹ − 1, a JPEG, a picture (an image, a mask with soft edges); and all that
            ``open_image`` raises.
    """
    return read_label_file(path, ignore=ignore).labels


def read_label_file(path: str | os.PathLike[str], *, ignore: int | None = None) -> LabelFile:
    """The same as `read_labels`, with what was noticed."""
    path = as_path(path)
    values, notes = read_numbers(path, ignore=ignore)
    if not stem_of_label(path.name).endswith(INSTANCE_NAMES):  # whose name does not say what it is
        require_numbers(values, str(path))
    return LabelFile(_instances(values, path), values, notes)


def read_numbers(path: Path, *, ignore: int | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers in a file of labels or classes, (H, W) int32, and notes; see `read_labels`."""
    kind = kind_of(path)
    if kind == "jpeg" or (kind == "tiff" and _is_jpeg_tiff(path)):
        raise InputError(
            f"{path}: JPEG changes the values of labels. Save them as PNG or TIFF without JPEG, "
            "from the source."
        )
    if kind == "png":
        from abbe.imaging.formats.raster import is_palette_png, palette_indices

        if is_palette_png(path):
            with decoding(str(path)):
                indices, notes = palette_indices(path)
            return _without(_checked(indices, str(path)), ignore), notes
    contents = contents_of(path, None, npz_keys=_NPZ_KEYS)
    count = contents.channel_count
    if count != 1:
        raise InputError(
            f"{path}: labels are one plane of whole numbers, but this file has {count} channels. "
            "Save the instance numbers as one channel."
        )
    image = Image(path.name, ("label",), contents, source=str(path))
    values = _checked(image.read()[0], str(path))
    if WHITE_IS_ZERO in contents.notes and len(np.unique(values)) > 2:
        raise InputError(
            f"{path}: its tag says that 0 is white, so that 0 would not be the background, but it "
            "has more than two values. Save it with 0 as black (photometric 'minisblack')."
        )
    return _without(values, ignore), contents.notes


def notes_on_labels(path: Path) -> tuple[str, ...]:
    """What `read_label_file` notes of a file; its pixels are not read, but for a palette's.

    Raises:
        InputError: The file cannot be opened.
    """
    if kind_of(path) == "png":
        from abbe.imaging.formats.raster import is_palette_png, palette_indices

        if is_palette_png(path):
            with decoding(str(path)):
                return palette_indices(path)[1]
    return contents_of(path, None, npz_keys=_NPZ_KEYS).notes


def _is_jpeg_tiff(path: Path) -> bool:
    from abbe.imaging.formats.tiff import is_jpeg

    with decoding(str(path)):
        return is_jpeg(path)


def _without(values: np.ndarray, ignore: int | None) -> np.ndarray:
    if ignore is not None:
        values[values == ignore] = UNKNOWN
    return values


def write_labels(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Write labels so that ``read_labels`` gives them back; the file is whole or not there.

    A single object in several parts needs a name that ends in ``.labels`` before the suffix.

    Args:
        path: .png (uint16), .tif (uint16, uint32 from 65,536 on, int32 if −1 occurs; compressed) or
            .npy (int32).
        labels: (H, W) whole numbers from −1 to 2³¹ − 1.

    Raises:
        InputError: The labels are not such, the format cannot hold them, or is another one.
    """
    path = Path(path)
    labels = _checked(labels, str(path))
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    suffix = path.suffix.lower()
    if suffix not in _KINDS:
        raise InputError(f"{path}: labels are written as {', '.join(_KINDS)}, not '{suffix}'.")
    png = labels_as_png(labels, path) if suffix == ".png" else None
    with atomic_path(path) as temporary:
        if png is not None:
            temporary.write_bytes(png)
        elif suffix == ".npy":
            with open(temporary, "wb") as file:
                np.save(file, labels, allow_pickle=False)
        else:
            small = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
            stored = labels if lowest < 0 else labels.astype(small)
            tifffile.imwrite(temporary, stored, compression="zlib", photometric="minisblack")


def labels_as_png(labels: np.ndarray, path: Path) -> bytes:
    """The PNG file of labels (H, W) of 0 to 65,535, which is to be written to ``path``.

    Raises:
        InputError: There are other labels.
    """
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        what = "−1 (unknown)" if lowest < 0 else f"{highest:,}"
        raise InputError(
            f"{path}: a PNG holds labels 0 to 65,535, not {what}. Write a .tif or .npy."
        )
    return bytes(imagecodecs.png_encode(labels.astype(np.uint16)))


def outlines(labels: np.ndarray) -> np.ndarray:
    """Pixels of an instance that have a neighbour (of four) outside that instance.

    Args:
        labels: (H, W) instances; 0 and −1 have no outline.

    Returns:
        (H, W) bool: lines 1 px wide that lie inside the instances. The image's own border is none.
    """
    edge = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]
    across = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge & (labels > 0)


def _instances(values: np.ndarray, path: Path) -> np.ndarray:
    known = values[values > 0]
    if not known.size or known.min() != known.max():
        return values
    if known[0] == 1 and stem_of_label(path.name).endswith(INSTANCE_NAMES):
        return values
    components = cc3d.connected_components(values > 0, connectivity=8).astype(np.int32)
    components[values == UNKNOWN] = UNKNOWN
    return components


def _checked(values: np.ndarray, source: str) -> np.ndarray:
    """The values as (H, W) int32, once it is sure that they are labels."""
    if values.ndim != 2:
        raise InputError(f"{source}: labels are 2-D (H, W), but these have shape {values.shape}.")
    if values.dtype.kind not in "buif":
        raise InputError(f"{source}: labels are whole numbers, not {values.dtype}.")
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values) | (values != np.floor(values))
        if broken.any():
            raise InputError(
                f"{source}: labels must be whole numbers, and are not in "
                f"{counted(int(broken.sum()), 'pixel')} (such as {values[broken][0]}). "
                "Probabilities need a threshold first."
            )
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if lowest < UNKNOWN:
        raise InputError(
            f"{source}: labels must be 0 (background), above 0 (instances) or −1 (unknown), "
            f"but {lowest} occurs. Replace it by one of these."
        )
    if highest > _LARGEST:
        raise InputError(f"{source}: label {highest} is above 2³¹ − 1. Number the instances anew.")
    return values.astype(np.int32)
