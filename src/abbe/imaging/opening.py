"""Open an image of any supported kind: by its first bytes, and only some slides by their names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.errors import InputError
from abbe.imaging.bounds import check_shape
from abbe.imaging.channels import renames_in
from abbe.imaging.formats.plates import field_name
from abbe.imaging.image import Contents, Diameter, Image, channel_names, decoding, positive_size
from abbe.imaging.units import SQUARE_TOLERANCE, possible, printed, square
from abbe.near import meant_beside
from abbe.remote import as_path
from abbe.remote.alike import is_there, opened

if TYPE_CHECKING:
    from abbe.imaging.stain import Stains

SUPPORTED = (
    "PNG, JPEG, TIFF, OME-TIFF, SVS, QPTIFF, OME-Zarr 0.4 and 0.5, npy, npz; with abbe[wsi] NDPI, "
    "MRXS and the other formats of OpenSlide; with abbe[dicom] DICOM images, and with both "
    "whole-slide DICOM"
)

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
}

# Read through OpenSlide. NDPI starts as a TIFF and MRXS as a JPEG, but reading them as such would
# give a part of the slide or a small overview of it.
_SLIDES = (".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")


def open_image(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
) -> Image:
    """Open a 2-D image; pixels are read later, by region where the format allows.

    PNG, JPEG and npz are decoded whole at the first read; TIFF, OME-Zarr, npy and slides are read
    by region. Of a pyramid this is the finest level; `open_slide` gives the others. Channel names
    come from the user, else from the file, else they are "grey" for one channel, "red", "green",
    "blue" for RGB, and "channel-0", "channel-1", … for anything else.
    Images are turned upright as EXIF or TIFF's tag says, and where the file says that 0 is white,
    bright is made high. Alpha channels are left out. ``notes`` of the image says such things.

    Args:
        path: A file, or the folder of an OME-Zarr image; or the URL of one.
        channels: Names for all channels of the file, in its order; or new names for some of them,
            as "nucleus=DAPI".
        pixel_size: In µm, where the file does not say; what a file says goes before it.
        override_pixel_size: In µm, whatever the file says.

    Raises:
        InputError: The file is missing, unreadable, damaged, truncated, of an unsupported kind,
            without a single stored pixel, a stack or a time series, too large to be decoded
            whole; its pixels are not square; the number of names is wrong; both pixel sizes are
            given. The message names the file and says what to do.
        MissingExtraError: A slide's format needs ``abbe[wsi]``.
    """
    path = as_path(path)
    source = str(path)
    all_named = None if renames_in(channels, source) else channels
    contents = contents_of(path, all_named, npz_keys=("image", "images", "X"))
    if contents.empty:
        raise InputError(
            f"{path}: none of its pixels is stored, so that all would be 0: it was never written, "
            "or is damaged. Copy or export it again."
        )
    contents = _measured(contents)
    size, notes = _pixel_size(contents, source, pixel_size, override_pixel_size)
    return Image(
        (field_name(path) if path.is_dir() else None) or path.name,
        channel_names(source, contents.channel_count, contents.channels, channels),
        replace(contents, notes=(*contents.notes, *notes)),
        pixel_size=size,
        source=source,
    )


@dataclass(frozen=True)
class Reading:
    """How the user has files read; arguments as for `open_image`, how large objects are, and
    in which stains networks see them."""

    channels: tuple[str, ...] | None = None
    pixel_size: float | None = None
    override_pixel_size: float | None = None
    diameter: Diameter | None = None
    stain: "Stains | None" = None

    def open(self, path: Path) -> Image:
        """Open a file so."""
        opened = open_image(
            path,
            channels=self.channels,
            pixel_size=self.pixel_size,
            override_pixel_size=self.override_pixel_size,
        )
        return opened.with_diameter(self.diameter).with_stain(self.stain)


AS_THEY_SAY = Reading()
"""The user says nothing, and files are read as they say themselves."""


def _pixel_size(
    contents: Contents, source: str, filling: float | None, overriding: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """The file's pixel size or the user's, and a note where they differ."""
    filling, overriding = positive_size(filling, source), positive_size(overriding, source)
    if filling is not None and overriding is not None:
        raise InputError(
            f"{source}: two pixel sizes were given. --pixel-size fills in where files do not say, "
            "--override-pixel-size goes before what they say: give one of them."
        )
    if overriding is not None:
        said = contents.pixel_size
    else:
        said = square(contents.pixel_size, source)
        said = None if said is None else (said, said)
    given = filling if overriding is None else overriding
    if said is None or given is None:
        return (given if said is None else said[0]), ()
    if all(abs(given - side) <= SQUARE_TOLERANCE * side for side in said):
        return (said[0] if overriding is None else given), ()
    sides = f"{said[1]:.4g}" if said[0] == said[1] else f"{said[1]:.4g} × {said[0]:.4g}"
    note = f"The file says {sides} µm per pixel, you said {given:.4g}: "
    if overriding is not None:
        return given, (note + "yours is taken.",)
    return said[0], (note + "the file's is taken, unless you give --override-pixel-size.",)


def _measured(contents: Contents) -> Contents:
    """The contents without a pixel size that nothing has measured, and a note of it."""
    if not contents.pixel_size:
        return contents
    if not all(possible(side) for side in contents.pixel_size):
        stands = "is none that a pixel can have"
    elif dpi := printed(contents.pixel_size):
        stands = f"stands for {dpi} dpi, which programs write when they do not know it"
    else:
        return contents
    note = f"Its pixel size, {contents.pixel_size[1]:.4g} µm, {stands}: it is not known."
    return replace(contents, pixel_size=None, notes=(*contents.notes, note))


def contents_of(path: Path, channels: Sequence[str] | None, npz_keys: Sequence[str]) -> Contents:
    """What is in the file, read by the reader of its kind."""
    # The readers are imported when needed: zarr and tifffile take longer than a PNG does.
    kind = kind_of(path)
    with decoding(str(path)):
        if kind == "png":
            from abbe.imaging.formats.raster import open_png

            contents = open_png(path)
        elif kind == "jpeg":
            from abbe.imaging.formats.raster import open_jpeg

            contents = open_jpeg(path)
        elif kind == "tiff":
            from abbe.imaging.formats.tiff import open_tiff

            contents = open_tiff(path, channels)
        elif kind == "zarr":
            from abbe.imaging.formats.ome_zarr import open_ome_zarr

            contents = open_ome_zarr(path)
        elif kind == "npy":
            from abbe.imaging.formats.numpy_files import open_npy

            contents = open_npy(path, channels)
        elif kind == "openslide":
            from abbe.imaging.formats.openslide_files import open_openslide

            contents = open_openslide(path)
        elif kind == "dicom":
            from abbe.imaging.formats.dicom.images import open_dicom

            contents = open_dicom(path)
        else:
            from abbe.imaging.formats.numpy_files import open_npz

            contents = open_npz(path, channels, npz_keys)
    check_shape(contents.shape, str(path))
    if 0 in contents.shape:
        raise InputError(f"{path}: the image has no pixels (shape {contents.shape}).")
    return contents


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr array or group; one that cannot be looked into is not."""
    return any(is_there(folder / name) for name in ("zarr.json", ".zgroup", ".zarray"))


def _require_readable(folder: Path) -> None:
    try:
        next(iter(folder.iterdir()), None)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}).") from error


def kind_of(path: Path) -> str:
    """png, jpeg, tiff, zarr, npy, npz, dicom or openslide.

    Raises:
        InputError: There is nothing at the path, it cannot be read, or it is something else.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: its name is not UTF-8. Rename it.") from error
    if not is_there(path):
        if os.path.islink(path):
            raise InputError(f"{path}: it is a link to what is not there. Mend or remove the link.")
        raise InputError(f"{path}: there is no such file.{meant_beside(path)}")
    if not path.is_file() and not path.is_dir():  # reading a pipe would wait for ever
        raise InputError(f"{path}: this is a pipe or a device, not a file. Save the image first.")
    if path.is_dir():
        if is_zarr(path):
            return "zarr"
        _require_readable(path)
        raise InputError(f"{path}: this is a folder, not an image. Supported are: {SUPPORTED}.")
    try:
        with opened(path) as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}).") from error
    if not start:
        raise InputError(f"{path}: the file is empty (0 bytes). Copy or export it again.")
    if path.suffix.lower() in _SLIDES:
        return "openslide"
    for signature, kind in _SIGNATURES.items():
        # Word and Excel files are zip archives as well.
        if start.startswith(signature) and (kind != "npz" or path.suffix.lower() == ".npz"):
            return kind
    from abbe.imaging.formats.dicom.images import start_of_dicom

    if start_of_dicom(path):
        from abbe.imaging.formats.dicom.series import is_whole_slide

        return "openslide" if is_whole_slide(path) else "dicom"
    raise InputError(
        f"{path}: this kind of file is not supported, going by what is in it and "
        f"not by its name. Supported are: {SUPPORTED}."
    )
