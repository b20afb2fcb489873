"""Damage the headers of small images at random, and look what opening and reading them does.

    python tests/imaging/header_fuzz.py FOLDER [--cases 800] [--seed 0] [--kind NAME]

The same seed gives the same cases. A damaged file must be refused with an InputError that names it,
or read; it must not raise anything else, take longer than SLOWEST seconds, or give nothing but
zeros, which would end as an empty mask. All cases together must not need much more memory than
opening a sound file does. Run as a process of its own, so that a hang or a large allocation can be
told. Prints one line for each failure, and last a summary as JSON.
"""

import argparse
import faulthandler
import json
import logging
import random
import resource
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr

from abbe.errors import InputError
from abbe.imaging import Image, Region, open_slide

SLOWEST = 3.0
"""Seconds of computing that a case may take."""
_HANGS = 60.0
_MOST_READ = 1 << 20
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 255, 256, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@dataclass(frozen=True)
class Seed:
    """A sound image: its file or folder, and the files with the bytes that may be damaged."""

    path: Path
    headers: dict[Path, list[int]]


def picture(channels: int) -> np.ndarray:
    """(96, 80[, C]) uint8 without a zero."""
    values = np.random.default_rng(0).integers(30, 250, (12, 10, channels), np.uint8)
    return np.kron(values, np.ones((8, 8, 1), np.uint8)).squeeze()


def write_tiff(path: Path, *, pages: int = 1, **options: Any) -> Seed:
    """A TIFF; with ``pages`` above one, a pyramid of so many levels."""
    pixels = options.pop("pixels", picture(3))
    subifds = options.pop("subifds", pages > 1)
    with tifffile.TiffWriter(
        path, ome=options.pop("ome", None), bigtiff=options.pop("bigtiff", False)
    ) as writer:
        first = {"subifds": pages - 1} if subifds else {}
        writer.write(pixels, **first, **options)
        for level in range(1, pages):
            part = pixels[:: 2**level, :: 2**level]
            rest = {key: value for key, value in options.items() if key != "description"}
            writer.write(part, subfiletype=1, **rest)
    return Seed(path, {path: outside_segments(path)})


def outside_segments(path: Path) -> list[int]:
    """Places of all bytes of a TIFF that are not pixels."""
    outside = np.ones(path.stat().st_size, bool)
    with tifffile.TiffFile(path) as tif:
        for series in tif.series:
            for level in series.levels:
                for page in level.pages:
                    assert page is not None
                    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                        outside[offset : offset + count] = False
    return np.flatnonzero(outside).tolist()


def write_bytes(path: Path, data: bytes, pixels_from: bytes) -> Seed:
    """A PNG or JPEG, whose header ends where ``pixels_from`` stands."""
    path.write_bytes(data)
    start = data.index(pixels_from) + 4
    return Seed(path, {path: [*range(start), *range(len(data) - 12, len(data))]})


def write_zarr(path: Path, version: str) -> Seed:
    """An OME-Zarr of two levels."""
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets = []
    pixels = picture(3).transpose(2, 0, 1)
    for level in range(2):
        part = pixels[:, :: 2**level, :: 2**level]
        array = group.create_array(str(level), shape=part.shape, chunks=(1, 32, 32), dtype="uint8")
        array[:] = part
        scale = [{"type": "scale", "scale": [1, 0.5 * 2**level, 0.5 * 2**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": scale})
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
    ]
    multiscale = {"axes": axes, "datasets": datasets}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    else:
        group.attrs["multiscales"] = [{"version": version, **multiscale}]
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
    files = sorted(file for file in path.rglob("*") if file.name in names)
    return Seed(path, {file: list(range(file.stat().st_size)) for file in files})


_TILED = {"tile": (32, 32), "photometric": "rgb"}
_SVS = "Aperio Image Library v11\r\n96x80 [0,0 96x80]|AppMag = 20|MPP = 0.4990|Left = 25.6"
MAKERS: dict[str, Callable[[Path], Seed]] = {
    "strips": lambda at: write_tiff(at / "a.tif", photometric="rgb", rowsperstrip=20),
    "compressed": lambda at: write_tiff(at / "a.tif", compression="lzw", rowsperstrip=9),
    "tiles": lambda at: write_tiff(at / "a.tif", pages=3, compression="zlib", **_TILED),
    "pages": lambda at: write_tiff(
        at / "a.tif", pages=3, subifds=False, metadata=None, compression="zlib", **_TILED
    ),
    "bigtiff": lambda at: write_tiff(at / "a.tif", bigtiff=True, compression="zlib", **_TILED),
    "ome": lambda at: write_tiff(
        at / "a.ome.tif", pages=2, ome=True, compression="zlib", tile=(32, 32),
        pixels=picture(1), photometric="minisblack",
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    ),
    "svs": lambda at: write_tiff(
        at / "a.svs", description=_SVS, metadata=None, compression="jpeg", subifds=False, pages=2,
        **_TILED,
    ),
    "png": lambda at: write_bytes(
        at / "a.png", bytes(imagecodecs.png_encode(picture(3))), b"IDAT"
    ),
    "jpeg": lambda at: write_bytes(
        at / "a.jpg", bytes(imagecodecs.jpeg_encode(picture(3))), b"\xff\xda"
    ),
    "zarr": lambda at: write_zarr(at / "a.ome.zarr", "0.5"),
    "zarr2": lambda at: write_zarr(at / "b.ome.zarr", "0.4"),
}  # fmt: skip


def damaged(data: bytes, places: list[int], chance: random.Random) -> bytes:
    """The bytes, cut or with a few of the places changed."""
    if chance.random() < 0.12:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.choice(places)
        how = chance.random()
        if how < 0.4:
            changed[at] ^= 1 << chance.randrange(8)
        elif how < 0.6:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        else:
            size = chance.choice((2, 4, 8))
            number = chance.choice((*_NUMBERS, len(data), chance.randrange(len(data))))
            order = chance.choice(("little", "big"))
            value = (number % (1 << 8 * size)).to_bytes(size, order)
            changed[at : at + size] = value[: len(changed) - at]
    return bytes(changed)


def damaged_json(data: bytes, chance: random.Random) -> bytes:
    """A JSON document with one value replaced or taken out."""
    document = json.loads(data)
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        inner = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in inner:
            spots.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(document)
    if not spots:
        return b"[]"
    node, key = chance.choice(spots)
    if chance.random() < 0.2:
        del node[key]
    else:
        node[key] = chance.choice(
            (None, True, -1, 0, 1, 3, 1 << 40, 1e300, "", ".", "x", "../..", [], {}, [1], [[]])
        )
    return json.dumps(document).encode()


def look(path: Path) -> str:
    """What becomes of the file: "refused", "read", or what is wrong with that."""
    try:
        slide = open_slide(path)
        parts = [(level, corner(level)) for level in slide.levels]
    except InputError as error:
        return "refused" if path.name in str(error) else f"the message names no file: {error}"
    for level, pixels in parts:
        if pixels.dtype != level.dtype or len(pixels) != len(level.channels):
            return f"read as {pixels.shape} {pixels.dtype}, but announced as {level!r}"
        if not pixels.any():
            return f"nothing but zeros in {level!r}"
    return "read"


def corner(image: Image) -> np.ndarray:
    """All pixels, or of a large image the upper left corner."""
    height, width = image.shape
    if height * width * len(image.channels) * image.dtype.itemsize <= _MOST_READ:
        return image.read()
    return image.read(Region(0, 0, min(height, 48), min(width, 48)), image.channels[:4])


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the headers of images.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=MAKERS)
    arguments = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    seeds = {}
    for kind in [arguments.kind] if arguments.kind else MAKERS:
        folder = arguments.folder / kind
        folder.mkdir(parents=True)
        seeds[kind] = MAKERS[kind](folder)
        assert look(seeds[kind].path) == "read", kind
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[str] = Counter()
    failures = 0
    for case in range(arguments.cases):
        chance = random.Random(f"{arguments.seed}-{case}")
        kind = chance.choice(list(seeds))
        seed = seeds[kind]
        faulthandler.dump_traceback_later(_HANGS, exit=True)
        started = time.process_time()
        outcome = one(seed, chance)
        if (taken := time.process_time() - started) > SLOWEST:
            outcome = f"took {taken:.1f} s"
        counts[f"{kind}: {outcome}" if outcome in ("read", "refused") else "failed"] += 1
        if outcome not in ("read", "refused"):
            failures += 1
            print(f"case {arguments.seed}-{case} ({kind}): {outcome}")
    faulthandler.cancel_dump_traceback_later()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shutil.rmtree(arguments.folder)
    print(json.dumps({"grown_mib": (after - before) / 1024, **dict(sorted(counts.items()))}))
    return 1 if failures else 0


def one(seed: Seed, chance: random.Random) -> str:
    """Damage one file of the image, look, and mend it."""
    file = chance.choice(list(seed.headers))
    sound = file.read_bytes()
    if seed.path.is_dir() and chance.random() < 0.7:
        broken = damaged_json(sound, chance)
    else:
        broken = damaged(sound, seed.headers[file], chance)
    file.write_bytes(broken)
    try:
        return look(seed.path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        file.write_bytes(sound)


if __name__ == "__main__":
    sys.exit(main())
