"""The package's test image, and what the student makes of it."""

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from abbe.imaging import normalise

IMAGE = "test_image.tif"
EXPECTED = "expected.npz"


def normalised(pixels: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """What the network takes of the test image, (C, H, W) float32 in [0, 1]."""
    return normalise(pixels, facts["normalisation"].scaling.limits(pixels))


def write_example(
    folder: Path, pixels: np.ndarray, facts: Mapping[str, Any], **expected: np.ndarray
) -> tuple[str, str]:
    """Write the test image as OME-TIFF, and beside it the answer of the student in eager torch.

    The names of both files are returned.

    Args:
        folder: Of the package.
        pixels: (C, H, W), as stored in the image they were cut from.
        facts: Keys of the package's description.
        expected: The arrays of ``expected.npz``, by name.
    """
    np.savez_compressed(folder / EXPECTED, allow_pickle=False, **expected)
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(facts["channels"])}}
    metadata["UUID"] = _uuid_of(pixels)
    if facts["pixel_size"] is not None:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = facts["pixel_size"]
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    tifffile.imwrite(
        folder / IMAGE, pixels, ome=True, metadata=metadata, photometric="minisblack",
        compression="zlib",
    )  # fmt: skip
    return IMAGE, EXPECTED


def _uuid_of(pixels: np.ndarray) -> str:
    """The same for the same pixels; tifffile's own would hold the machine's network address."""
    digest = hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return str(uuid.UUID(bytes=digest.digest()[:16], version=5))
