"""The meaning of stored TIFF values: 0 that is white, YCbCr, orientation."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import tifffile

from abbe.errors import InputError
from abbe.imaging.image import Contents
from abbe.imaging.views import WHITE_IS_ZERO, FromYCbCr, Inverted, YCbCr, turned, viewed

# Photometric interpretations whose samples are not intensities that a model could see.
_UNSUPPORTED_COLOURS = {
    3: "indexed colours (a palette)",
    5: "CMYK",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
}
_PALETTE, _YCBCR = 3, 6
_APERIO_YCBCR, _APERIO_RGB = 33003, 33005
# Codecs that keep the samples as they are given, and those that give RGB whatever they store.
_PLAIN = {1, 5, 8, 32773, 32946, 34925, 50000, 50013}
JPEG = frozenset((6, 7, 34892, 33007))
"""Compressions that change the values, but for a lossless kind that is hardly ever met."""
_GIVE_RGB = {*JPEG, _APERIO_RGB, 50001, 50002}


def as_meant(
    contents: Contents, tif: tifffile.TiffFile, page: tifffile.TiffPage, path: Path
) -> Contents:
    """The contents with the colours, the brightness and the orientation that the tags state.

    Raises:
        InputError: They cannot be told.
    """
    contents = _in_rgb(contents, page, path)
    contents = _bright_is_high(contents, tif, page)
    return turned(contents, int(page.tags.valueof(274, 1) or 1))


def check_colours(tif: tifffile.TiffFile, page: tifffile.TiffPage, source: str) -> None:
    """Refuse samples that are not intensities.

    Raises:
        InputError: They are indices, inks or the like.
    """
    # ImageJ's palettes are for display: the stored values are the intensities.
    if tif.is_imagej and page.photometric == _PALETTE:
        return
    if colours := _UNSUPPORTED_COLOURS.get(int(page.photometric or 0)):
        raise InputError(f"{source}: it stores {colours}. Save it as RGB or as grey.")


def _in_rgb(contents: Contents, page: tifffile.TiffPage, path: Path) -> Contents:
    compression = int(page.compression)
    ycbcr = page.photometric == _YCBCR or compression == _APERIO_YCBCR
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    if not ycbcr or (compression in _GIVE_RGB and not separate):
        return contents
    if compression not in (*_PLAIN, *_GIVE_RGB, _APERIO_YCBCR):
        raise InputError(
            f"{path}: its colours are YCbCr in a compression ({compression}) for which it is not "
            "known whether they are converted already. Save it as RGB."
        )
    if contents.dtype != "uint8" or contents.channel_count < 3 or page.is_subsampled:
        raise InputError(
            f"{path}: its colours are YCbCr of a kind that is not supported (only 8 bits, without "
            "subsampling, or as JPEG). Save it as RGB."
        )
    return viewed(contents, partial(FromYCbCr, _coefficients(page, compression)))


def _coefficients(page: tifffile.TiffPage, compression: int) -> YCbCr:
    if compression == _APERIO_YCBCR:  # JPEG's, whatever the tags say
        return YCbCr()
    luma, reference = _fractions(page, 529), _fractions(page, 532)
    usual = YCbCr()
    return YCbCr(
        luma if len(luma) == 3 and min(luma) > 0 else usual.luma,
        reference if _differ(reference) else usual.reference,
    )


def _differ(reference: tuple[float, ...]) -> bool:
    pairs = zip(reference[::2], reference[1::2], strict=False)
    return len(reference) == 6 and all(black != white for black, white in pairs)


def _fractions(page: tifffile.TiffPage, tag: int) -> tuple[float, ...]:
    """A tag of rational numbers, which tifffile gives as numerators and denominators."""
    flat = page.tags.valueof(tag, ())
    return tuple(top / (below or 1) for top, below in zip(flat[::2], flat[1::2], strict=False))


def _bright_is_high(
    contents: Contents, tif: tifffile.TiffFile, page: tifffile.TiffPage
) -> Contents:
    if page.photometric != 0:
        return contents
    if tif.is_imagej:
        as_stored = "ImageJ shows it with an inverting table, which is for display"
    elif page.bitspersample == 1 and page.software.startswith("tifffile"):
        as_stored = "Its tag says that 0 is white, but tifffile says so of every image of 1 bit"
    elif contents.dtype.kind not in "bu":
        as_stored = f"Its tag says that 0 is white, which has no meaning for {contents.dtype}"
    else:
        highest = (1 << int(page.bitspersample)) - 1
        return viewed(contents, partial(Inverted, highest), WHITE_IS_ZERO)
    return replace(contents, notes=(*contents.notes, f"{as_stored}: the stored values are used."))
