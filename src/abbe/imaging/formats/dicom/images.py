"""Single DICOM images, such as ultrasound and secondary captures (``abbe[dicom]``, pydicom)."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.errors import InputError, MissingExtraError
from abbe.imaging.bounds import check_growth, check_shape, check_size
from abbe.imaging.formats.raster import RGB
from abbe.imaging.image import ArrayPixels, Contents, decoding
from abbe.remote import as_remote
from abbe.remote.alike import opened

if TYPE_CHECKING:
    from pydicom import Dataset

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy images, which OpenSlide reads."""
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_CENTIMETRES = 3
_MM, _CM = 1e3, 1e4  # in µm


def start_of_dicom(path: Path) -> bool:
    """Whether a file has the preamble of DICOM."""
    with opened(path) as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path) -> Contents:
    """Read one image: its modality's rescaling is applied, MONOCHROME1 inverted, colours are RGB.

    Windows are for the display and are not applied. The pixel size is that of PixelSpacing, of one
    calibrated ultrasound region, or of NominalScannedPixelSpacing.

    Raises:
        MissingExtraError: pydicom is not installed.
        InputError: It holds no image or several frames, its colours are of an unknown kind, or it
            promises more than it holds.
    """
    header = read_header(path)
    kind = str(header.get("PhotometricInterpretation", ""))
    told = header.get("SOPClassUID", "")
    name = getattr(told, "name", told) or "unknown"
    if "Rows" not in header or not kind:
        raise InputError(f"{path}: this DICOM file holds no image (it is of the kind {name}).")
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise InputError(
            f"{path}: this DICOM file holds {frames} frames (it is of the kind {name}); one image "
            "is expected. Save single frames, for example with dcmtk: dcmj2pnm --all-frames"
        )
    if kind not in (*_GREY, *_COLOURS):
        raise InputError(
            f"{path}: its photometric interpretation is {kind}; read are "
            f"{', '.join((*_GREY, *_COLOURS))}. Convert it to RGB or MONOCHROME2."
        )
    shape = int(header.Rows), int(header.Columns)
    count = 1 if kind in _GREY else 3
    bits = int(header.get("BitsAllocated", 8))
    check_shape(shape, str(path))
    check_size(shape[0] * shape[1] * count * max(1, bits // 8), str(path))
    check_growth(shape[0] * shape[1] * count * max(1, bits // 8), path.stat().st_size, str(path))
    return Contents(
        shape=shape,
        channel_count=count,
        dtype=_dtype(header, kind, bits),
        load=partial(_decode, path),
        channels=RGB if count == 3 else None,
        pixel_size=_pixel_size(header),
        notes=_notes(header),
    )


def read_header(path: Path, tags: list[str] | None = None, *, pixels: bool = False) -> "Dataset":
    """What a DICOM file says, or some of it; without its pixels, where these are not asked for.

    Raises:
        MissingExtraError: pydicom is not installed.
        InputError: It is damaged.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ModuleNotFoundError as error:
        raise MissingExtraError("pydicom", "dicom", "Reading DICOM") from error
    try:
        if pixels or as_remote(path) is None:
            header = dcmread(path, stop_before_pixels=not pixels, specific_tags=tags)
        else:
            with opened(path) as file:  # behind a URL, without its pixels
                header = dcmread(file, stop_before_pixels=True, specific_tags=tags)
    except (InvalidDicomError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: this DICOM file cannot be read ({error}). Copy or export it again."
        ) from error
    with decoding(str(path)):  # pydicom looks at a value when it is asked for
        for tag in tags or ():
            header.get(tag)
    return header


def _rescaled(header: "Dataset") -> bool:
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    return (float(slope), float(intercept)) != (1.0, 0.0) or "ModalityLUTSequence" in header


def _dtype(header: "Dataset", kind: str, bits: int) -> np.dtype[Any]:
    if kind == "PALETTE COLOR":
        descriptor = header.get("RedPaletteColorLookupTableDescriptor", (0, 0, 16))
        return np.dtype(np.uint8 if int(descriptor[2]) == 8 else np.uint16)
    if kind in _GREY and _rescaled(header):
        return np.dtype(np.float32)
    if int(header.get("PixelRepresentation", 0)) and kind in _GREY:
        return np.dtype(np.float32)  # signed: stains and images elsewhere have no negative values
    return np.dtype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def _notes(header: "Dataset") -> tuple[str, ...]:
    notes = []
    if _rescaled(header):
        notes.append("Its values are rescaled as the file says.")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append("It shows low values bright (MONOCHROME1): it is inverted.")
    return tuple(notes)


def _pixel_size(header: "Dataset") -> tuple[float, float] | None:
    regions = header.get("SequenceOfUltrasoundRegions", ())
    if spacing := header.get("PixelSpacing"):
        vertical, horizontal = (float(each) * _MM for each in spacing)
    elif len(regions) == 1 and all(
        regions[0].get(f"PhysicalUnits{axis}Direction") == _CENTIMETRES for axis in "XY"
    ):
        vertical, horizontal = (
            abs(float(regions[0].get(f"PhysicalDelta{axis}", 0))) * _CM for axis in "YX"
        )
    elif spacing := header.get("NominalScannedPixelSpacing"):
        vertical, horizontal = (float(each) * _MM for each in spacing)
    else:
        return None
    return (vertical, horizontal) if vertical > 0 and horizontal > 0 else None


def _decode(path: Path) -> ArrayPixels:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    header = read_header(path, pixels=True)
    kind = str(header.PhotometricInterpretation)
    try:
        pixels = pixel_array(header)
        if kind == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
        elif kind in _GREY and _rescaled(header):
            pixels = apply_modality_lut(pixels, header)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        syntax = header.file_meta.get("TransferSyntaxUID", "")
        name = getattr(syntax, "name", syntax) or "unknown"
        raise InputError(
            f"{path}: its pixels cannot be decoded (transfer syntax {name}: {error}). Decompress "
            "it, for example with gdcmconv --raw, or install pylibjpeg[all]."
        ) from error
    wanted = _dtype(header, kind, int(header.get("BitsAllocated", 8)))
    if kind == "MONOCHROME1":
        pixels = _inverted(pixels, header, wanted)
    return ArrayPixels(pixels.astype(wanted, copy=False), "YX" if pixels.ndim == 2 else "YXC")


def _inverted(pixels: np.ndarray, header: "Dataset", wanted: np.dtype[Any]) -> np.ndarray:
    if wanted.kind == "f":
        return -pixels.astype(wanted)
    return (1 << int(header.BitsStored)) - 1 - pixels
