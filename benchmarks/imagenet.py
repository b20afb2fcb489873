"""How many photographs a second recipe 'imagenet' trains on here, and its decoding alone.

python benchmarks/imagenet.py OUT --workers 1 --steps 30

Photographs are made up: 500 x 375 px, smooth noise, about as many bytes as ImageNet's have.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
from scipy.ndimage import gaussian_filter

from abbe.datasets.imagenet import imagenet_folder
from abbe.datasets.training.photograph_batches import PhotographBatches


def make(root: Path, count: int = 400) -> None:
    """Two classes of made-up photographs to train on, and a few to validate on."""
    random = np.random.default_rng(0)
    for part, images in (("train", count), ("val", 8)):
        for index in range(images):
            folder = root / part / f"n{index % 2:08}"
            folder.mkdir(parents=True, exist_ok=True)
            noise = random.normal(size=(375, 500, 3))
            layers = [gaussian_filter(noise, (s, s, 0)) * s for s in (0.7, 2, 8)]
            pixels = np.clip(128 + 34 * sum(layers), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(folder / f"{index}.JPEG", "JPEG", quality=90)


def main() -> None:
    """Make photographs, decode them in this process, then train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    root = arguments.out / "photographs"
    if not root.exists():
        make(root)
    sizes = [path.stat().st_size for path in root.glob("train/*/*.JPEG")]
    print(f"{len(sizes)} photographs of {np.mean(sizes) / 1000:.0f} kB")
    batches = PhotographBatches(imagenet_folder(root).train, batch_size=64, crop=224, seed=0)
    batches[0]
    started, worked = time.perf_counter(), time.process_time()
    for step in range(1, 6):
        batches[step]
    speed = 5 * 64 / (time.perf_counter() - started)
    core = 5 * 64 / (time.process_time() - worked)
    print(f"decoding alone, one process: {speed:.0f} images/s, {core:.0f} a second of one core")
    run = arguments.out / f"run-{time.time_ns()}"
    words = {
        "data.path": root, "out": run, "training.steps": arguments.steps,
        "training.batch-size": arguments.batch, "training.validate-every": arguments.steps,
        "training.workers": arguments.workers,
    }  # fmt: skip
    command = [sys.executable, "-m", "abbe", "distill", "imagenet"]
    for key, value in words.items():
        command += [f"--{key}", str(value)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    later = [line for line in lines if "images_per_s" in line][1:]  # the first has the warm-up
    speed = len(later) / sum(1 / line["images_per_s"] for line in later)
    waiting = np.mean([line["share_waiting"] for line in later])
    precision = json.loads((run / "environment.json").read_text())["precision"]
    print(
        f"training csat-like at 224 px, {precision}: {speed:.1f} images/s, waiting {waiting:.1%};"
    )
    each = busy / (arguments.steps * arguments.batch)
    print(f"{each:.3f} core seconds an image at most, start, decoding and validation among them")


if __name__ == "__main__":
    main()
