"""A tiled TIFF that says its pixel size."""

from pathlib import Path

import numpy as np
import tifffile


def write_tiff(path: Path, pixels: np.ndarray, pixel_size: float | None = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixel_size:
        size = 1e4 / pixel_size, 1e4 / pixel_size
        tifffile.imwrite(path, pixels, tile=(64, 64), resolution=size, resolutionunit="CENTIMETER")
    else:
        tifffile.imwrite(path, pixels, tile=(64, 64))
    return path
