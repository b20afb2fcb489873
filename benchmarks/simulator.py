"""How near the simulated tissue is to a real CODEX tile, and how fast it is made.

    python benchmarks/simulator.py --real PATH/codex_2ch --picture docs/simulated_tissue.png

``PATH/codex_2ch`` holds ``images/*.tif`` (CYX uint16: nucleus, cytoplasm, membrane) and
``labels/<who>/*.png`` (whole-cell instances). Both sides are measured by the same functions.
Without ``--real`` only the simulated side is measured and timed. The picture shows simulated
tissue only.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from scipy.spatial import KDTree
from skimage.filters import threshold_otsu
from skimage.io import imread
from skimage.measure import regionprops_table
from skimage.segmentation import find_boundaries
from sklearn.ensemble import RandomForestClassifier

from abbe.datasets.simulator.simulated import CHANNELS, random_slide, simulated_tissue, tissue
from abbe.imaging import (
    composite,
    contact_sheet,
    draw_outlines,
    normalise,
    percentile_limits,
    write_png,
)
from abbe.scoring import pixel_scores

REAL_CHANNELS: tuple[str, ...] = ("nucleus", "cytoplasm", "membrane")
REAL_LABELS = ("expert1", "expert2", "DeepCell-0.9.0_membrane")


def geometry(cells: np.ndarray) -> dict[str, float]:
    """Statistics of whole-cell instances ``cells`` (H, W): sizes, shapes and crowding, in px."""
    table = regionprops_table(cells, properties=("area", "centroid", "eccentricity", "solidity"))
    centroids = np.stack([table["centroid-0"], table["centroid-1"]], axis=1)
    spacing = KDTree(centroids).query(centroids, k=2)[0][:, 1]
    lower, median, upper = np.percentile(table["area"], (25, 50, 75))
    return {
        "cell area, median (px)": median,
        "cell area, lower quartile (px)": lower,
        "cell area, upper quartile (px)": upper,
        "cells per 10,000 px": len(centroids) / cells.size * 1e4,
        "nearest neighbour, median (px)": float(np.median(spacing)),
        "foreground": float((cells > 0).mean()),
        "border that touches another cell": contact(cells),
        "eccentricity, median": float(np.median(table["eccentricity"])),
        "solidity, median": float(np.median(table["solidity"])),
    }


def contact(cells: np.ndarray) -> float:
    """Share of the pixel faces around cells that have another cell, not background, beyond them."""
    faces = [(cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])]
    borders = sum(np.count_nonzero(a != b) for a, b in faces)
    shared = sum(np.count_nonzero((a != b) & (a > 0) & (b > 0)) for a, b in faces)
    # A shared face is the border of two cells.
    return 2 * shared / (borders + shared)


def optics(image: dict[str, np.ndarray], cells: np.ndarray) -> dict[str, float]:
    """Statistics of the pixels of each channel (H, W) given the whole-cell instances (H, W)."""
    inside = cells > 0
    border = find_boundaries(cells, mode="inner")
    bright = image["nucleus"] > threshold_otsu(image["nucleus"][inside])
    area = np.bincount(cells.ravel())[1:]
    nucleus = np.bincount(cells.ravel(), weights=bright.ravel())[1:]
    ratio = (nucleus / np.maximum(area, 1))[area > 0]
    found = {
        "nucleus / cell area (Otsu), median": float(np.median(ratio)),
        "cells with no nucleus (Otsu < 10 %)": float((ratio < 0.1).mean()),
    }
    for name, pixels in image.items():
        found |= contrast(name, pixels.astype(np.float64), inside)
    membrane = image["membrane"].astype(np.float64)
    found["membrane: border / interior"] = (
        membrane[border].mean() / membrane[inside & ~border].mean()
    )
    return found


def contrast(name: str, pixels: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Contrast, noise, sharpness and tone of one channel ``pixels`` (H, W) of any unit."""
    low, high = np.percentile(pixels, (1, 99.8))
    within, without = np.median(pixels[inside]), np.median(pixels[~inside])
    scaled = np.clip((pixels - low) / (high - low), 0, 1)
    return {
        f"{name}: contrast": (within - without) / (within + without),
        f"{name}: noise": noise(pixels) / (high - low),
        f"{name}: detail": float(np.abs(np.diff(scaled, axis=0)).mean() / scaled.std()),
        f"{name}: median tone": float(np.median(scaled)),
        f"{name}: tone, standard deviation": float(scaled.std()),
    }


def noise(pixels: np.ndarray) -> float:
    """Noise of ``pixels`` (H, W): MAD of the finest diagonal Haar coefficients (Donoho 1994)."""
    even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
    diagonal = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return float(np.median(np.abs(diagonal - np.median(diagonal))) / 0.6745)


def measure(image: dict[str, np.ndarray], cells: np.ndarray) -> dict[str, float]:
    return geometry(cells) | optics(image, cells)


def real_columns(root: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for path in sorted((root / "images").glob("*.tif")):
        image = dict(zip(REAL_CHANNELS, tifffile.imread(path), strict=True))
        for who in REAL_LABELS:
            cells = imread(root / "labels" / who / f"{path.stem}.png").astype(np.int32)
            yield f"real {path.stem[-4:]}, {who.split('_')[0]}", measure(image, cells)


def simulated_column(slides: int, size: int) -> dict[str, float]:
    """The mean over ``slides`` simulated slides, one image of ``size`` px each, and true ratios."""
    rows = []
    for seed in range(slides):
        made = tissue(seed, size, slide=random_slide(seed))
        row = measure(dict(zip(CHANNELS, made.image, strict=True)), made.cells)
        area = np.bincount(made.cells.ravel())[1:]
        nucleus = np.bincount(made.nuclei.ravel(), minlength=len(area) + 1)[1:]
        row["true nucleus / cell area, median"] = float(np.median((nucleus / area)[nucleus > 0]))
        row["true share of cells with no nucleus"] = float((nucleus == 0).mean())
        rows.append(row)
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def print_table(columns: dict[str, dict[str, float]]) -> None:
    """Print a Markdown table: one row a statistic, one column a tile."""
    print("| statistic | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    for key in keys:
        cells = (f"{c[key]:.3g}" if key in c else "" for c in columns.values())
        print(f"| {key} | " + " | ".join(cells) + " |")


def foreground_dice(channels: tuple[str, ...]) -> float:
    """Mean foreground Dice of a small pixel classifier that sees only ``channels``.

    A random forest on each channel blurred over 1 to 16 px; 16 images train it, 8 others test it.
    """
    samples = [
        (_features(record.image.open().read()), record.label.read() > 0)
        for record in simulated_tissue(24, channels=channels)
        if record.label
    ]
    train, test = samples[:16], samples[16:]
    chosen = np.random.default_rng(0).choice(train[0][1].size, 2500, replace=False)
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=0)
    forest.fit(
        np.concatenate([features[chosen] for features, _ in train]),
        np.concatenate([truth.ravel()[chosen] for _, truth in train]),
    )
    predicted = [forest.predict(features).reshape(truth.shape) for features, truth in test]
    pairs = zip(predicted, test, strict=True)
    return float(np.mean([pixel_scores(mask, truth)["dice"] for mask, (_, truth) in pairs]))


def _features(pixels: np.ndarray) -> np.ndarray:
    """(H W, features) of ``pixels`` (C, H, W)."""
    maps = [
        measure_at(channel, scale)
        for channel in normalise(pixels, percentile_limits(pixels))
        for scale in (1, 2, 4, 8, 16)
        for measure_at in (gaussian_filter, gaussian_gradient_magnitude)
    ]
    return np.stack(maps, axis=-1).reshape(-1, len(maps))


def draw(path: Path) -> None:
    """A picture of simulated tissue: each channel, all together, and the true outlines."""
    made = tissue(13, 240)
    pixels = normalise(made.image, percentile_limits(made.image, high=99))
    together = composite(pixels, CHANNELS)
    tiles = [composite(pixels[i : i + 1], [name]) for i, name in enumerate(CHANNELS)]
    tiles += [
        together,
        draw_outlines(together, made.cells, (255, 255, 255)),
        draw_outlines(tiles[0], made.nuclei, (255, 200, 0)),
    ]
    names = (*CHANNELS, "all channels", "true cells", "true nuclei")
    sheet = contact_sheet(tiles, [f"simulated: {name}" for name in names], 3, tile_size=240)
    levels = np.rint(np.asarray(sheet) / 255 * 31) / 31 * 255  # fewer tones: a smaller file
    write_png(path, np.rint(levels).astype(np.uint8))


def images_per_second(count: int, size: int) -> float:
    """Simulated images (with labels) made in a second of one thread's processor time."""
    tissue(0, size)
    start = time.process_time()
    for seed in range(count):
        tissue(seed, size)
    return count / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--real", type=Path, help="the folder codex_2ch")
    parser.add_argument("--slides", type=int, default=6, help="simulated slides to average")
    parser.add_argument("--size", type=int, default=1024, help="side of each, px")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    columns = {"simulated": simulated_column(arguments.slides, arguments.size)}
    if arguments.real:
        columns |= dict(real_columns(arguments.real))
    print_table(columns)
    speed = images_per_second(20, 256)
    print(f"\n{speed:.1f} images of 256 x 256 with labels per second of processor time")
    print("\nForeground Dice of a pixel classifier that sees")
    for channels in (("nucleus",), ("membrane", "cytoplasm"), CHANNELS):
        print(f"- {', '.join(channels)}: {foreground_dice(channels):.3f}")
    if arguments.picture:
        draw(arguments.picture)


if __name__ == "__main__":
    main()
