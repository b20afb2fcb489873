"""How far from the edge of a window a network's maps are those that it gives without the edge.

    python benchmarks/context.py IMAGES --package FOLDER [FOLDER ...] [--precision fp32]
        [--side 768] [--crops 6] [--windows 1024:64 512:96 ...]

IMAGES is a folder of nuclei pictures, made into one mosaic as `benchmarks/run.py` makes it. Crops
of SIDE² px go through each package's network whole and cut in half. By how far the pixels lie from
the cut, the table has how much the probabilities differ: their mean, the 99.9th percentile and the
largest, over all maps. What stays at any distance comes from layers that pool over the whole window
(squeeze-and-excitation), not from the edge.

A second table has the objects of the mosaic (2048² px) in windows (TILE:CONTEXT px; the package's
own where omitted) against those of the mosaic seen whole: panoptic quality of the one held against
the other, and how many.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from run import mosaic

from abbe.imaging import normalise, open_image, percentile_limits
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import Engine, Precision, open_engine
from abbe.runtime.predictors.predict import predict
from abbe.scoring.instance import instance_scores

STEP = 16
DISTANCES = (0, 16, 32, 48, 64, 96, 128, 192)


def main() -> None:
    parser = argparse.ArgumentParser(description="What the edge of a window does to the maps.")
    parser.add_argument("images", type=Path)
    parser.add_argument("--package", type=Path, nargs="+", required=True)
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--crops", type=int, default=6)
    parser.add_argument("--windows", type=window, nargs="+", default=[None], metavar="TILE:CONTEXT")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large = open_image(mosaic(arguments.images, 2048, Path(folder))).read()
    pixels = normalise(large, percentile_limits(large))
    print(f"{'package':20}{'px':>5}{'mean':>10}{'99.9 %':>10}{'largest':>10}")
    for package in arguments.package:
        engine = opened(package, arguments.precision)
        differences = np.concatenate(
            [halved(engine, crop) for crop in crops(pixels, arguments.side, arguments.crops)]
        )
        for distance in DISTANCES:
            near = differences[:, distance : distance + STEP]
            print(
                f"{package.name:20}{distance:5}{near.mean():10.5f}"
                f"{np.quantile(near, 0.999):10.4f}{near.max():10.4f}"
            )
    print(f"\n{'package':20}{'tile':>6}{'context':>9}{'PQ':>9}{'tiled':>8}{'whole':>8}")
    for package in arguments.package:
        for each in arguments.windows:
            print(
                package.name.ljust(20) + tiled_and_whole(package, large, arguments.precision, each)
            )


def window(text: str) -> tuple[int, int]:
    tile, context = text.split(":")
    return int(tile), int(context)


def opened(package: Path, precision: Precision) -> Engine:
    found = read_package(package)
    if len(found.description.channels) != 1:
        raise SystemExit(f"{package}: the mosaic is grey; take a package that sees one channel")
    return open_engine(found, engine="openvino", precision=precision)


def tiled_and_whole(
    folder: Path, pixels: np.ndarray, precision: Precision, window: tuple[int, int] | None
) -> str:
    package = read_package(folder)
    if window is not None:
        sizes = {"tile": window[0], "context": window[1]}
        description = package.description.model_copy(update=sizes)
        package = replace(package, description=description)
    description = package.description
    tiled = predict(package, pixels, precision=precision)
    whole = predict(package, pixels, precision=precision, tile=pixels.shape[1])
    quality = instance_scores(tiled, whole)["pq"]
    return f"{description.tile:6}{description.margin:9}{quality:9.4f}{tiled.max():8}{whole.max():8}"


def crops(pixels: np.ndarray, side: int, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    corners = random.integers(0, pixels.shape[1] - side, (count, 2))
    return [pixels[:, top : top + side, left : left + side] for top, left in corners]


def halved(engine: Engine, crop: np.ndarray) -> np.ndarray:
    """(h, w) largest difference of the maps in the left half, the column beside the cut first."""
    middle = crop.shape[2] // 2
    whole = engine.probabilities(crop[None])[0, :, :, :middle]
    half = engine.probabilities(np.ascontiguousarray(crop[None, :, :, :middle]))[0]
    return np.abs(whole - half).max(axis=0)[:, ::-1]


if __name__ == "__main__":
    main()
