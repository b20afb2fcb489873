"""Test images for the starter packages, so that no photograph of anyone's has to go with them.

    python models/examples.py OUT

OUT/nuclei.tif: simulated nuclei in fluorescence. OUT/nuclei-he.png: the same tissue as haematoxylin
and eosin would stain it (Beer-Lambert, the stain vectors of Ruifrok and Johnston, 2001). They show
that a package answers here as it did where it was made, and nothing about how good it is.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile

from abbe.datasets import simulated_tissue
from abbe.imaging import normalise, percentile_limits, write_png

HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Optical density of red, green and blue."""


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    channels = ("nucleus", "cytoplasm")
    (record,) = simulated_tissue(1, size=256, seed=7, channels=channels, label="nucleus")
    pixels = record.image.open().read(channels=channels)
    tifffile.imwrite(out / "nuclei.tif", pixels[0], compression="zlib")
    nucleus, cytoplasm = normalise(pixels, percentile_limits(pixels))
    density = 1.1 * nucleus[..., None] * np.array(HAEMATOXYLIN)
    density = density + (0.1 + 0.35 * cytoplasm[..., None]) * np.array(EOSIN)
    write_png(out / "nuclei-he.png", np.rint(255 * np.exp(-density)).astype(np.uint8))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
