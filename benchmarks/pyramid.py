"""How much sooner a slide is read for a network that needs coarser pixels than it has.

    python benchmarks/pyramid.py IMAGES [--side 8192] [--compression jpeg] [--sizes 0.5 1.0 2.0]

IMAGES is a folder of H&E pictures; they are mirrored and laid side by side to a slide of
SIDE × SIDE px at 0.25 µm, stored as tiled TIFF with three coarser levels, as scanners write them.
For each pixel size that a network may have been trained at, all its windows (1024 px, halo 64) are
read: from the finest level, and from the level that `abbe predict` takes. Both take turns; the best
of two counts, in seconds of computing, which other programs on the machine do not change. Prints a
table and, last, one line of JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from abbe.imaging import Image, open_image
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.sampling import level_to_read, read_window

FINE = 0.25
TILE, HALO = 1024, 64


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading a slide from its pyramid.")
    parser.add_argument("images", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--compression", default="jpeg")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_slide(
            Path(folder) / "slide.tif",
            mosaic(arguments.images, arguments.side),
            arguments.compression,
        )
        image = open_image(path)
        figures = {str(size): measure(image, size) for size in arguments.sizes}
    print(f"{'µm per px':>10}{'finest, s':>12}{'level, s':>12}{'ratio':>8}{'difference':>12}")
    for size, row in figures.items():
        print(
            f"{size:>10}{row['finest_s']:12.2f}{row['level_s']:12.2f}{row['ratio']:8.1f}"
            f"{row['difference']:12.4f}"
        )
    print(json.dumps({"side": arguments.side, "compression": arguments.compression, **figures}))


def measure(image: Image, pixel_size: float) -> dict[str, float]:
    grid = Grid.of(image.shape, FINE / pixel_size, 32, TILE, HALO)
    level = level_to_read(image, grid)
    seconds: dict[str, float] = {}
    for _ in range(2):
        for name, source in (("finest", image), ("level", level)):
            started = time.process_time()
            for _ in windows(source, grid):
                pass
            taken = time.process_time() - started
            seconds[name] = min(taken, seconds.get(name, taken))
    difference = [
        float(np.abs(a - b).mean())
        for a, b in zip(windows(image, grid), windows(level, grid), strict=True)
    ]
    return {
        "finest_s": seconds["finest"],
        "level_s": seconds["level"],
        "ratio": seconds["finest"] / seconds["level"],
        "difference": float(np.mean(difference)),
    }


def windows(source: Image, grid: Grid):
    limits = np.array([[0, 255]] * 3, np.float32)
    for tile in grid.tiles:
        yield read_window(source, source.channels, limits, grid, grid.window(tile))


def mosaic(folder: Path, side: int) -> np.ndarray:
    """(side, side, 3) uint8: pictures in colour, every second one mirrored, side by side."""
    pictures = [open_image(path).read() for path in sorted(folder.glob("*.png"))]
    pictures = [each for each in pictures if len(each) == 3 and each.dtype == np.uint8]
    least = min(min(each.shape[1:]) for each in pictures)
    cut = [each[:, :least, :least].transpose(1, 2, 0) for each in pictures]
    count = -(-side // least)
    rows = [
        np.concatenate(
            [
                cut[(row * count + column) % len(cut)][:, :: -1 if column % 2 else 1]
                for column in range(count)
            ],
            axis=1,
        )
        for row in range(count)
    ]
    return np.concatenate(rows)[:side, :side]


def write_slide(path: Path, pixels: np.ndarray, compression: str) -> Path:
    options = {"tile": (256, 256), "compression": compression, "photometric": "rgb"}
    with tifffile.TiffWriter(path) as writer:
        size = {"resolution": (1e4 / FINE,) * 2, "resolutionunit": "CENTIMETER"}
        writer.write(pixels, subifds=3, **options, **size)
        for _ in range(3):
            height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
            blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
            pixels = blocks.mean((1, 3)).round().astype(np.uint8)
            writer.write(pixels, subfiletype=1, **options)
    return path


if __name__ == "__main__":
    main()
