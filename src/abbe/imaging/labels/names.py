"""The names that programs give to the masks of an image."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from abbe.errors import InputError

INSTANCE_NAMES = (".labels", "_cp_masks")
"""Ends of names that say: one number an object. Abbe's own, and Cellpose's."""

MASK_NAMES = ("_cp_masks", "_masks", "_mask", "_labels", "_label")
"""Ends of names of masks that lie beside their images, or beside copies of them."""

LABEL_SUFFIXES = (
    ".ome.tiff", ".ome.tif", ".ome.zarr", ".zarr", ".tiff", ".tif", ".png", ".npy", ".npz"
)  # fmt: skip
"""Ends of the names of files that may be labels."""


def stem_of_label(name: str) -> str:
    """The name without what says its format."""
    for suffix in LABEL_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def beside(name: str, others: Collection[str], ends: Iterable[str] = MASK_NAMES) -> str | None:
    """The name among ``others`` whose mask this one is called to be, such as a for a_masks."""
    for end in ends:
        if name.endswith(end) and (image := name[: -len(end)]) in others:
            return image
    return None


def only_mask(id: str, files: Sequence[Path]) -> Path:
    """The one file that is called to be the mask of an image.

    Raises:
        InputError: There are two.
    """
    first, *others = files
    if others:
        raise InputError(
            f"{first.parent}: two masks for '{id}': {first.name} and {others[0].name}. Keep one"
        )
    return first
