"""Image files of kinds that Abbe does not take from folders, so that users can be told."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = (
    ".dcm", ".dicom", ".czi", ".lif", ".nd2", ".oib", ".oif", ".oir", ".vsi", ".ims", ".zvi",
    ".lsm", ".stk", ".flex", ".dm3", ".dm4", ".mrc", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd",
    ".h5", ".hdf5", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".heic", ".isyntax", ".qpi", ".ser",
)  # fmt: skip
"""Of microscopes, slides and medical devices, and of pictures."""


def is_other_kind(name: str) -> bool:
    """Whether a file of this name is an image that Abbe does not read."""
    return name.lower().endswith(SUFFIXES)


def not_read(files: Iterable[Path], where: Path) -> str | None:
    """What to say of such files, or None where there are none."""
    found = [file for file in files if is_other_kind(file.name)]
    if not found:
        return None
    kinds = Counter(next(s for s in SUFFIXES if file.name.lower().endswith(s)) for file in found)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    number = f"{len(found)} image files" if len(found) > 1 else "1 image file"
    are = "are" if len(found) > 1 else "is"
    return (
        f"{where}: {number} of kinds that Abbe does not read {are} left out "
        f"({counted}; such as {found[0].name}). Convert them to TIFF or OME-Zarr, for example with "
        "Fiji or bioformats2raw; DICOM is read where the file itself is named"
    )
