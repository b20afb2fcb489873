"""Channel names and pixel sizes from the many places where TIFF files keep them."""

import math
import re
from xml.etree import ElementTree

import tifffile

from abbe.imaging.formats.raster import RGB
from abbe.imaging.units import length, number, plausible

# µm per unit of ResolutionUnit: inch and cm, and two that tifffile added.
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}


_MPP = re.compile(r"\bMPP\s*=\s*([0-9.,]+(?:[eE][+-]?[0-9]+)?)")


def names_in_tiff(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int
) -> tuple[str, ...] | None:
    """Channel names: OME-XML, QPTIFF pages, ImageJ slice labels, or red, green, blue."""
    names: list[str] = []
    pixels = _ome_pixels(tif, series)
    if pixels is not None:
        names = _ome_names(pixels)
    elif tif.is_qpi:
        pages = [page for page in series.pages if isinstance(page, tifffile.TiffPage)]
        names = [_qpi_name(page.description) for page in pages]
    elif tif.imagej_metadata:
        names = [str(label or "") for label in tif.imagej_metadata.get("Labels", ())]
    if len(names) == count and any(names):
        return tuple(names)
    # Photometric interpretations RGB and YCbCr; what follows the colours has no name.
    if series.keyframe.photometric in (2, 6) and count >= 3:
        return RGB + ("",) * (count - 3)
    return None


Sides = tuple[float, float] | None
"""(vertical, horizontal) in µm, or None where it is not known."""


def pixel_size_in_tiff(
    tif: tifffile.TiffFile, page: tifffile.TiffPage, series: tifffile.TiffPageSeries
) -> tuple[Sides, tuple[str, ...]]:
    """The pixel size from OME-XML, ImageJ, SVS or the resolution tags; and what was not believed.

    Lengths in inch or cm are believed only below 10 µm: 72, 96, 300 dpi are what programs write
    when they do not know.
    """
    notes: tuple[str, ...] = ()
    pixels = _ome_pixels(tif, series)
    if pixels is not None:
        if size := _ome_pixel_size(pixels):
            return size, ()
        stated = [pixels.get(f"PhysicalSize{axis}") for axis in "XY"]
        if any(side is not None and not 0 < number(side) < math.inf for side in stated):
            notes = (
                f"Its PhysicalSize '{stated[0]}' × '{stated[1]}' is no size: the pixel size is "
                "not known.",
            )
    resolution = _pixels_per_unit(page)
    if tif.imagej_metadata and resolution:
        unit = str(tif.imagej_metadata.get("unit", ""))
        size = _both(length(1 / resolution[0], unit), length(1 / resolution[1], unit))
        if size and unit in ("inch", "in", "cm") and plausible(size) is None:
            return None, (
                f"ImageJ's unit '{unit}' would make a pixel {size[1]:.4g} µm wide, which is the "
                "resolution of a printer or a screen: the pixel size is not known.",
            )
        if size:
            return size, ()
    if tif.is_svs and (found := re.search(_MPP, page.description)):
        size = length(number(found[1]), "um")
        return _both(size, size), ()
    if resolution:
        unit = _RESOLUTION_UNITS.get(int(page.tags.valueof("ResolutionUnit", 2)))
        size = _both(length(1 / resolution[0], unit), length(1 / resolution[1], unit))
        return plausible(size), notes
    return None, notes


def _pixels_per_unit(page: tifffile.TiffPage) -> tuple[float, float] | None:
    sides = []
    for tag in ("YResolution", "XResolution"):
        numerator, denominator = page.tags.valueof(tag, (0, 1))
        if not numerator or not denominator:
            return None
        sides.append(numerator / denominator)
    return sides[0], sides[1]


def _ome_pixels(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> ElementTree.Element | None:
    """What the file's OME-XML says of this series; it lists the images in the same order."""
    if not tif.is_ome or not tif.ome_metadata:
        return None
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
    except ElementTree.ParseError:
        return None  # tifffile then reads it as a plain TIFF, too
    found = root.findall("{*}Image/{*}Pixels")
    images = tif.series
    at = next((i for i, each in enumerate(images) if each is series), 0)
    return found[at] if at < len(found) else None


def _ome_names(pixels: ElementTree.Element) -> list[str]:
    names: list[str] = []
    for channel in pixels.findall("{*}Channel"):
        samples = int(channel.get("SamplesPerPixel", "1"))
        name = channel.get("Name", "")
        names += RGB if samples == 3 else [name] * samples
    return names


def _ome_pixel_size(pixels: ElementTree.Element) -> tuple[float, float] | None:
    sides = [
        length(number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"{key}Unit", "µm"))
        for axis in "YX"
        for key in [f"PhysicalSize{axis}"]
    ]
    return _both(sides[0], sides[1])


def _qpi_name(description: str) -> str:
    # PerkinElmer writes one XML document a page; only the name at its top level is the channel's.
    try:
        root = ElementTree.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", description.strip()))
    except ElementTree.ParseError:
        return ""
    return root.findtext("Name") or ""


def _both(vertical: float | None, horizontal: float | None) -> tuple[float, float] | None:
    return None if vertical is None or horizontal is None else (vertical, horizontal)
