"""Damage files of twelve formats at random; ``abbe predict`` and ``abbe data check`` read each.

    python benchmarks/damaged.py --cases 1000 [--seed 0] [--only png npz]

Each case runs in a process of its own, as a user's would, forked from one that has read Abbe.
A fifth of the cases keep the file and change a size that it declares (`benchmarks/declared.py`).
A case fails where a traceback is shown, a signal ends the process, it takes over 10 s of processor
time, a minute, or 1.5 GiB, or its message does not name the file. What was read although it is
damaged is counted, and so are images in which nothing was found: flipped pixels are no fault of a
reader. Prints a line for each failure, and last a table by format. The same seed gives the same
cases.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import tifffile
import zarr
from declared import CHANGES
from forked import bright_package, fork_abbe
from PIL import Image as Picture

sys.path.append(str(Path(__file__).parents[1] / "tests"))
made = import_module("made_dicom")

SLOWEST = 10.0
"""Seconds of processor time that a case may take: a busy machine is no fault of a reader."""
PATIENCE = 60.0
"""Seconds after which a case is taken to hang."""
LARGEST = 1.5 * 2**30
"""Bytes of memory that a case may take."""
DECLARED = 0.2
"""Share of cases in which a declared size is changed instead of random bytes."""


def scene() -> np.ndarray:
    """(96, 128) uint8: six bright squares of 16 px on a dark ground that is nowhere 0."""
    pixels = np.random.default_rng(0).integers(10, 30, (96, 128), np.uint8)
    for row in (16, 56):
        for column in (12, 52, 92):
            pixels[row : row + 16, column : column + 16] += 180
    return pixels


def write_pyramid(path: Path, *, bigtiff: bool = False, description: str | None = None) -> None:
    """A tiled TIFF of two levels; with a description one of Aperio's."""
    options = {"tile": (32, 32), "compression": "jpeg" if description else "zlib"}
    pixels = np.stack([scene()] * 3, axis=-1) if description else scene()
    photometric = "rgb" if description else "minisblack"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for level in range(2):
            part = pixels[:: 2**level, :: 2**level]
            writer.write(
                part, photometric=photometric, subfiletype=level, metadata=None,
                description=description, **options,
            )  # fmt: skip


def write_zarr(path: Path, version: str) -> None:
    """An OME-Zarr of one channel and two levels."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for level in range(2):
        pixels = scene()[None, :: 2**level, :: 2**level]
        array = group.create_array(str(level), shape=pixels.shape, chunks=(1, 32, 32), dtype="u1")
        array[:] = pixels
        scale = [{"type": "scale", "scale": [1, 0.5 * 2**level, 0.5 * 2**level]}]
        datasets.append({"path": str(level), "coordinateTransformations": scale})
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    axes = [{"name": "c", "type": "channel"}, *space]
    multiscale = {"axes": axes, "datasets": datasets, "version": version}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    else:
        group.attrs["multiscales"] = [multiscale]


def write_dicom_slide(path: Path) -> None:
    """Two levels of a whole slide in the folder of ``path``, which is the finest."""
    series = "1.2.3", "1.2.4"
    for number, file in enumerate((path, path.with_name("coarse.dcm")), 1):
        level = np.ascontiguousarray(np.stack([scene()[::number, ::number]] * 3, axis=-1))
        made.write_level(file, level, 0.0005 * number, series, number, side=64)


SVS = "Aperio Image Library v11\r\n128x96 [0,0 128x96]|AppMag = 20|MPP = 0.4990"
FORMATS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "png": ("a.png", lambda path: Picture.fromarray(scene()).save(path)),
    "jpeg": ("a.jpg", lambda path: Picture.fromarray(scene()).save(path)),
    "tiff": ("a.tif", lambda path: tifffile.imwrite(path, scene(), compression="lzw")),
    "bigtiff": ("a.tif", lambda path: write_pyramid(path, bigtiff=True)),
    "ome-tiff": ("a.ome.tif", lambda path: tifffile.imwrite(path, scene()[None], ome=True)),
    "svs": ("a.svs", lambda path: write_pyramid(path, description=SVS)),
    "zarr-0.5": ("a.ome.zarr", lambda path: write_zarr(path, "0.5")),
    "zarr-0.4": ("a.ome.zarr", lambda path: write_zarr(path, "0.4")),
    "npy": ("a.npy", lambda path: np.save(path, scene())),
    "npz": ("a.npz", lambda path: np.savez_compressed(path, image=scene())),
    "dicom": ("a.dcm", lambda path: made.write_image(path, scene())),
    "slide": ("a.dcm", write_dicom_slide),
}
"""Name of the image and what writes it, by format."""

_NUMBERS = (0, 1, 2, 255, 256, 65535, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1)


def damage(path: Path, chance: random.Random) -> None:
    """Cut one file of the image, or change some of its bytes, half of the time in its first 512."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    file = chance.choice(files)
    data = bytearray(file.read_bytes())
    kind = chance.random()
    if kind < 0.15:
        data = data[: chance.randrange(len(data))]
    else:
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.randrange(min(len(data), 512) if chance.random() < 0.5 else len(data))
            if chance.random() < 0.6:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            else:
                size = chance.choice((2, 4, 8))
                number = chance.choice(_NUMBERS) % (1 << 8 * size)
                value = number.to_bytes(size, chance.choice(("little", "big")))
                data[at : at + size] = value[: len(data) - at]
    file.write_bytes(bytes(data))


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    seconds: float
    memory: int
    text: str


def run_command(words: Sequence[str], log: Path) -> Ended:
    """Run ``abbe WORDS`` in a forked process, killed after `PATIENCE` seconds."""
    started = time.monotonic()
    child = fork_abbe(words, log)
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    waited = time.monotonic() - started
    return Ended(
        os.waitstatus_to_exitcode(status),
        waited if waited > PATIENCE else usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        log.read_text(errors="replace"),
    )


def wrong(ended: Ended, name: str) -> str | None:
    """What is wrong with how a command ended, if anything."""
    if ended.seconds > SLOWEST:
        return f"took {ended.seconds:.0f} s"
    if ended.memory > LARGEST:
        return f"took {ended.memory / 2**30:.1f} GiB"
    if "Traceback (most recent call last)" in ended.text:
        return "a traceback: " + ended.text.strip().splitlines()[-1]
    if ended.code not in (0, 1):
        return f"exit code {ended.code}: {ended.text[-200:]}"
    if ended.code == 1 and name not in ended.text:
        return f"the message does not name the file: {ended.text[-200:]}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged files through predict and data check.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=FORMATS, default=list(FORMATS))
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = bright_package(folder / "package", side=1, tile=512, halo=32)
        for case in range(arguments.cases):
            kind = arguments.only[case % len(arguments.only)]
            chance = random.Random(f"{arguments.seed}-{case}")
            for verb, ended, image in run_case(folder, package, kind, chance):
                problem = wrong(ended, image)
                outcome = "failed" if problem else ("refused" if ended.code else "read")
                if outcome == "read" and verb == "predict" and " 0 objects" in ended.text:
                    outcome = "empty"
                counts[kind, verb, outcome] += 1
                if problem:
                    failures += 1
                    print(f"{arguments.seed}-{case} {kind}, {verb}: {problem}", flush=True)
    print(f"{'format':10} {'verb':11}" + "".join(f"{each:>9}" for each in OUTCOMES))
    for kind in arguments.only:
        for verb in ("predict", "data check"):
            row = "".join(f"{counts[kind, verb, each]:>9}" for each in OUTCOMES)
            print(f"{kind:10} {verb:11}{row}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{arguments.cases} cases, {failures} failures, at most {peak:.2f} GiB")
    return 1 if failures else 0


OUTCOMES = ("read", "empty", "refused", "failed")
_COLOURED = ("svs", "slide")


def run_case(
    folder: Path, package: Path, kind: str, chance: random.Random
) -> list[tuple[str, Ended, str]]:
    """Both verbs on one damaged image: verb, how it ended, and the image's name."""
    data = folder / "data"
    for each in (data, folder / "out"):
        shutil.rmtree(each, ignore_errors=True)
    (data / "images").mkdir(parents=True)
    (data / "labels").mkdir()
    name, write = FORMATS[kind]
    image = data / "images" / name
    write(image)
    if chance.random() < DECLARED:
        CHANGES[kind](image, chance)
    else:
        damage(image.parent if kind == "slide" else image, chance)
    Picture.fromarray((scene() > 100).astype(np.uint8) * 255).save(data / "labels" / "a.png")
    log = folder / "log"
    predict = ["predict", str(package), str(image), "--out", str(folder / "out")]
    predict += ["--channels", *(("red", "green", "grey") if kind in _COLOURED else ("grey",))]
    return [
        ("predict", run_command(predict, log), ".dcm" if kind == "slide" else name),
        ("data check", run_command(["data", "check", str(data)], log), name.split(".")[0]),
    ]


if __name__ == "__main__":
    sys.exit(main())
