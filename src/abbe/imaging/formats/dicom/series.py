"""The DICOM files that results refer to: of a whole slide all levels of its series."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.errors import InputError, MissingExtraError
from abbe.imaging.formats.dicom.images import WHOLE_SLIDE, read_header, start_of_dicom
from abbe.imaging.image import decoding
from abbe.remote import as_path

if TYPE_CHECKING:
    from pydicom import Dataset

_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""What every image should state, if only as an empty text; programs that make files forget it."""
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_NEEDED_OF_SLIDES = (
    "FrameOfReferenceUID", "TotalPixelMatrixOriginSequence", "ImageOrientationSlide",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What results in DICOM refer to.

    Attributes:
        levels: The files' headers, without pixels; of a slide its levels, the finest first.
        slide: Whether it is a whole slide.
    """

    levels: tuple[Dataset, ...]
    slide: bool

    def shape(self, level: int) -> tuple[int, int]:
        """(H, W) of a level in px."""
        return _shape(self.levels[level])


def is_whole_slide(path: Path) -> bool:
    """Whether a DICOM file is a level of a whole slide.

    Raises:
        MissingExtraError: pydicom is not installed.
        InputError: It is damaged; a slide of several optical paths; or a level of its series does
            not say where its tiles lie.
    """
    header = read_header(path, ["SOPClassUID", "SeriesInstanceUID", "NumberOfOpticalPaths"])
    if header.get("SOPClassUID") != WHOLE_SLIDE:
        return False
    if (paths := int(header.get("NumberOfOpticalPaths", 1) or 1)) > 1:
        raise InputError(
            f"{path}: this slide has {paths} optical paths, as of fluorescence; those in colour "
            "are read. Convert it to OME-TIFF, for example with bioformats2raw and raw2ometiff"
        )
    for file in _series(path, header.get("SeriesInstanceUID")):
        _check_places(file)
    return True


def source_of(path: str | os.PathLike[str], *, slide: bool = False) -> Source:
    """The files that results for an image refer to.

    Args:
        path: A DICOM image, or any file of a slide's series; the others lie beside it.
        slide: Whether it must be a slide.

    Raises:
        InputError: It is no DICOM image, no slide where it must be one, or lacks what
            viewers need to show results on it.
        MissingExtraError: pydicom is not installed.
    """
    path = as_path(path)
    if not path.is_file() or not start_of_dicom(path):
        raise InputError(
            f"{path}: results in DICOM refer to a DICOM image, and this is none. Take dicom-seg "
            "and dicom-ann out of --results, or convert the image first (slides: wsidicomizer)"
        )
    with decoding(str(path)):
        return _source(path, slide)


def _source(path: Path, slide: bool) -> Source:
    header = read_header(path)
    whole = header.get("SOPClassUID") == WHOLE_SLIDE
    if slide and not whole:
        raise InputError(
            f"{path}: bulk annotations refer to a whole slide, and this is a single image. Take "
            "dicom-ann out of --results; dicom-seg has a segment for each object of it"
        )
    _complete(header, path, (*_NEEDED, *_NEEDED_OF_SLIDES) if whole else _NEEDED)
    levels = _levels(path, header.SeriesInstanceUID) if whole else [header]
    for level in levels:
        _complete(level, path, ())
    return Source(tuple(levels), whole)


def _levels(path: Path, series: str) -> list[Dataset]:
    """Headers of the pyramid's levels beside a file, the finest first."""
    found: dict[tuple[int, int], Dataset] = {}
    for file in _series(path, series):
        level = read_header(file)
        # The third word of the kind tells levels from labels, overviews and thumbnails.
        if "VOLUME" in level.get("ImageType", ()):
            found.setdefault(_shape(level), level)
    if not found:
        raise InputError(f"{path}: this series has no level of a slide (ImageType VOLUME).")
    return [found[shape] for shape in sorted(found, reverse=True)]


def files_of_series(path: Path) -> list[Path]:
    """The files of the slide that one belongs to, all beside it."""
    return _series(path, read_header(path, ["SeriesInstanceUID"]).get("SeriesInstanceUID"))


def _series(path: Path, series: str | None) -> list[Path]:
    """The files of a slide beside one of them, and that one."""
    files = []
    for file in sorted(path.parent.iterdir()):
        if file.is_file() and start_of_dicom(file):
            told = read_header(file, ["SOPClassUID", "SeriesInstanceUID"])
            if (told.get("SOPClassUID"), told.get("SeriesInstanceUID")) == (WHOLE_SLIDE, series):
                files.append(file)
    return files


def _check_places(file: Path) -> None:
    """Refuse tiles without a place: OpenSlide reads them as glass, or ends the program."""
    told = read_header(file, ["DimensionOrganizationType"])
    if told.get("DimensionOrganizationType") != "TILED_SPARSE":
        return
    told = read_header(file, ["NumberOfFrames", "PerFrameFunctionalGroupsSequence"])
    frames = int(told.get("NumberOfFrames", 1) or 1)
    groups = told.get("PerFrameFunctionalGroupsSequence", ())
    if (known := sum("PlanePositionSlideSequence" in group for group in groups)) != frames:
        raise InputError(
            f"{file}: it says of {known} of its {frames} tiles where they lie (TILED_SPARSE), so "
            "that the slide cannot be put together. Export it again"
        )


def _shape(level: Dataset) -> tuple[int, int]:
    rows, columns = level.get("TotalPixelMatrixRows"), level.get("TotalPixelMatrixColumns")
    return int(rows or level.Rows), int(columns or level.Columns)


def _complete(level: Dataset, path: Path, needed: tuple[str, ...]) -> None:
    absent = [name for name in needed if name not in level]
    if absent:
        raise InputError(
            f"{path}: it does not say {', '.join(absent)}, which results in DICOM must repeat for "
            "viewers to find their place. Have the file completed where it was made, or take "
            "dicom-seg and dicom-ann out of --results"
        )
    for name in _EMPTY:
        if name not in level:
            setattr(level, name, "")
    # Texts are kept as bytes until they are asked for, and results have another set of letters.
    level.decode()


def require_highdicom() -> None:
    """Say how to install it where it is missing.

    Raises:
        MissingExtraError: highdicom is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("highdicom") is None:
        raise MissingExtraError("highdicom", "dicom", "Results in DICOM")
