"""The package's test image, and what the student makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from abbe.exporting.parity import Cuts, Probabilities, answer
from abbe.imaging import normalise, percentile_limits

IMAGE = "test_image.tif"
EXPECTED = "expected.npz"


def write_example(
    folder: Path, pixels: np.ndarray, facts: Mapping[str, Any], eager: Probabilities, cuts: Cuts
) -> None:
    """Write the test image as OME-TIFF, and beside it the answer of the student in eager torch.

    ``expected.npz`` holds ``probabilities`` (K, H, W) float32 and ``instances`` (H, W) int32.

    Args:
        folder: Of the package.
        pixels: (C, H, W), as stored in the image they were cut from.
        facts: Keys of the package's description.
        eager: The student.
        cuts: How maps become instances.
    """
    normalisation = facts["normalisation"]
    limits = percentile_limits(pixels, normalisation.low, normalisation.high)
    maps = answer(eager, normalise(pixels, limits), facts["divisor"])
    np.savez_compressed(
        folder / EXPECTED,
        probabilities=maps,
        instances=cuts.objects(maps).astype(np.int32),
        allow_pickle=False,
    )
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(facts["channels"])}}
    if facts["pixel_size"] is not None:
        for axis in "XY":
            metadata[f"PhysicalSize{axis}"] = facts["pixel_size"]
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    tifffile.imwrite(
        folder / IMAGE, pixels, ome=True, metadata=metadata, photometric="minisblack",
        compression="zlib",
    )  # fmt: skip
