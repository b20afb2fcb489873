"""How well `abbe teach` keeps a teacher busy, and what it holds in memory.

    python benchmarks/teach.py busy [--images 200] [--size 512] [--width 24] [--threads 2]
    python benchmarks/teach.py large [--size 8192]
    python benchmarks/teach.py encoder grid busy-sam [--layout vit_h] [--points 32] [--repeats 1]
        [--int8]

busy   A torch teacher of about 50 to 100 ms an image (a plain network of random weights; --width
       sets how wide) teaches simulated two-channel images from 16-bit TIFF files. Measured is the
       share of the wall time, from the first image to the last record on the disk, during which
       the network computes: what is missing was spent waiting for images, preparing them or
       storing answers. >= 95 % is wanted.
large  The same teacher on one image of --size² px, two channels of 16 bits, as tiled TIFF: the peak
       of resident memory above that of the loaded teacher, beside the sizes of the image and of its
       map.

encoder, grid, busy-sam
       SAM's family beside `segment-anything` as shipped (MobileSAM beside its own package), with
       the same random weights: one 1024² image through an encoder (--layout vit_h), in turns
       through that, torch and OpenVINO (--int8: also rounded); a grid of --points² prompts; and the
       share of the wall time inside the network with --layout. See teach_sam.py.

Each arm runs in a process of its own, so that peaks do not mix.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANNELS = ("nucleus", "membrane")
WANTED_SHARE, QUIET = 0.95, 0.3
Row = dict[str, Any]


def network(width: int = 24) -> Any:
    """(B, 2, H, W) → (B, 1, H, W) logits; five convolutions at half resolution."""
    from torch import nn

    layers: list[nn.Module] = [nn.Conv2d(2, width, 3, 2, 1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()]
    layers += [nn.Conv2d(width, 4, 3, 1, 1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


class Stopwatch:
    """Adds up the time inside a network; on a GPU it waits for the result."""

    def __init__(self, module: Any) -> None:
        self.seconds, self.calls, self._start = 0.0, 0, 0.0
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(self._end)

    def _begin(self, module: Any, inputs: Any) -> None:
        self._start = time.perf_counter()

    def _end(self, module: Any, inputs: Any, output: Any) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._start
        self.calls += 1


def make_teacher(width: int) -> tuple[Any, Stopwatch]:
    from abbe.teachers import torch_module

    teacher = torch_module(
        "teach:network", CHANNELS, arguments={"width": width}, stand_in=True, tile=1024, halo=32
    )
    return teacher, Stopwatch(teacher._module)


def write_images(folder: Path, count: int, size: int) -> None:
    """Simulated tissue as 16-bit TIFF; a few different images, repeated."""
    import numpy as np
    import tifffile

    from abbe import datasets

    folder.mkdir()
    some = datasets.simulated_tissue(min(count, 8), size=size, seed=0)
    pixels = [record.image.open().read(channels=CHANNELS) for record in some]
    for index in range(count):
        # Each its own picture: the store would take equal ones too, but no cache should help.
        image = (np.roll(pixels[index % len(pixels)], 7 * index, 2) * 257.0).clip(0, 65535)
        tifffile.imwrite(folder / f"image-{index:04}.tif", image.astype(np.uint16))


def measure_busy(images: int, size: int, width: int) -> Row:
    from abbe import datasets, teachers

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        write_images(folder, images, size)
        teacher, watch = make_teacher(width)
        dataset = datasets.folder(place, channels=list(CHANNELS))
        teacher.predict(dataset.records[0].image.open(), "warm up")
        watch.seconds, watch.calls = 0.0, 0
        before = resident_mb()
        start = time.perf_counter()
        report = teachers.teach(teacher, dataset, Path(place) / "targets.zarr", progress=False)
        seconds = time.perf_counter() - start
    if report.failed or report.done != images:
        raise SystemExit(report.summary())
    return {
        "arm": f"busy: {images} images of {size}² px",
        "images/s": round(images / seconds, 2),
        "network ms/image": round(1000 * watch.seconds / images, 1),
        "share in network": round(watch.seconds / seconds, 4),
        "peak MB above start": round(peak_mb() - before),
    }


def measure_large(size: int, width: int) -> Row:
    import numpy as np
    import tifffile

    from abbe import datasets, teachers

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        large = tifffile.memmap(
            folder / "large.tif", shape=(2, size, size), dtype=np.uint16, photometric="minisblack"
        )
        for top in range(0, size, 512):  # never held here either
            rows = np.random.default_rng(top).integers(0, 4000, (2, min(512, size - top), size))
            large[:, top : top + 512] = rows
        large.flush()
        del large
        teacher, watch = make_teacher(width)
        dataset = datasets.folder(place, channels=list(CHANNELS))
        before = resident_mb()
        start = time.perf_counter()
        report = teachers.teach(teacher, dataset, Path(place) / "targets.zarr", progress=False)
        seconds = time.perf_counter() - start
    if report.failed:
        raise SystemExit(report.summary())
    return {
        "arm": f"large: {size}² px in {watch.calls} tiles",
        "images/s": round(1 / seconds, 4),
        "network ms/image": round(1000 * watch.seconds),
        "share in network": round(watch.seconds / seconds, 4),
        "peak MB above start": round(peak_mb() - before),
        "image MB": round(size * size * 4 / 1e6),
        "map MB": round(size * size * 4 / 1e6),
    }


def resident_mb() -> float:
    """Resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


ARMS: dict[str, Callable[[argparse.Namespace], Row]] = {
    "busy": lambda given: measure_busy(given.images, given.size or 512, given.width),
    "large": lambda given: measure_large(given.size or 8192, given.width),
    "encoder": lambda given: _sam().measure_encoder(given.layout, given.repeats, given.int8),
    "grid": lambda given: _sam().measure_grid(given.points, given.repeats),
    "busy-sam": lambda given: _sam().measure_busy(given.layout, given.images, given.size or 512),
}
"""By name; further arms are one line and one function each."""


def _sam() -> Any:
    import teach_sam

    return teach_sam


def run_apart(arm: str, given: argparse.Namespace) -> Row:
    """One arm in a fresh process."""
    words = [arm, "--child", "--width", str(given.width), "--images", str(given.images)]
    words += ["--layout", given.layout, "--points", str(given.points)]
    words += ["--repeats", str(given.repeats)]
    words += ["--size", str(given.size)] if given.size else []
    words += ["--int8"] if given.int8 else []
    here = Path(__file__).resolve()
    paths = [str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(given.threads),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    done = subprocess.run(
        [sys.executable, str(here), *words], env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"the arm '{arm}' failed")
    return json.loads(done.stdout.splitlines()[-1])


def print_table(rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row.get(name, "")) for name in names) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description="How well abbe teach keeps a teacher busy.")
    parser.add_argument("arms", nargs="*", default=["busy"], help=", ".join(ARMS))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, help="side of an image in px")
    parser.add_argument("--width", type=int, default=24, help="channels of the network")
    parser.add_argument("--layout", default="vit_h", help="of SAM: vit_h, vit_l, vit_b, mobile")
    parser.add_argument("--int8", action="store_true", help="encoder: by OpenVINO in int8, too")
    parser.add_argument("--points", type=int, default=32, help="of the grid, along a side")
    parser.add_argument("--repeats", type=int, default=1, help="of the arms that take turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [arm for arm in given.arms if arm not in ARMS]:
        parser.error(f"no arm {', '.join(unknown)}; there are {', '.join(ARMS)}")
    if given.child:
        print(json.dumps(ARMS[given.arms[0]](given)))
        return
    load = os.getloadavg()[0]
    print(f"load at the start {load:.2f}{' (not quiet: begin again)' if load > QUIET else ''}")
    rows = [run_apart(arm, given) for arm in given.arms]
    print_table(rows)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        if row["arm"].startswith("busy"):
            reached = "reached" if row["share in network"] >= WANTED_SHARE else "MISSED"
            print(
                f"share in network: {row['share in network']:.1%}, wanted {WANTED_SHARE:.0%}: "
                f"{reached}"
            )


if __name__ == "__main__":
    main()
