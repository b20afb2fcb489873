"""What workers of a cluster bring: speed with two, overhead of an item, memory, stragglers.

    python benchmarks/cluster.py [--only images slide items stragglers] [--side 16384]
        [--images 200] [--items 20000] [--package nuclei]

- images, slide: `abbe predict` in this process, by one worker and by two, one thread each, on small
  made images and on one large one; the labels must be the same. Workers have worked before, so that
  the package is open in all three cases: what that takes is told apart.
- items: items without work, by two workers: seconds and processor time for each, and what the
  client's memory grew by. Every item is noted in a folder, as real ones are.
- stragglers: no measurement but a SIMULATION of 10^5 and 10^6 slides on many workers, with slides
  of very different size, nodes that are slow, and nodes that are lost.

Images and slide are made: bright discs on noise, a pattern of 2048 px that is repeated.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

import abbe
from abbe.cluster import Done, Workers, carry_out, open_cluster
from abbe.cluster.tries import Tries

PARTS = ("images", "slide", "items", "stragglers")
SMALL = 512
"""Side of a small image, px."""


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--package", default="nuclei")
    parser.add_argument("--side", type=int, default=16384, help="of the slide, px")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--items", type=int, default=20_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="abbe-cluster-") as folder:
        if "images" in chosen.only:
            images = small_images(Path(folder) / "images", chosen.images)
            compare(f"{chosen.images} images of {SMALL} px", chosen.package, images)
        if "slide" in chosen.only:
            slide = large_image(Path(folder) / "slide", chosen.side)
            compare(f"one image of {chosen.side} px", chosen.package, slide)
        if "items" in chosen.only:
            empty_items(Path(folder) / "items", chosen.items)
    if "stragglers" in chosen.only:
        for slides in (10**5, 10**6):
            stragglers(slides)


def pattern(side: int, seed: int) -> np.ndarray:
    """(side, side) uint8: about one bright disc for each 50 × 50 px, on noise."""
    random = np.random.default_rng(seed)
    image = random.integers(5, 25, (side, side)).astype(np.uint8)
    down, across = np.mgrid[-14:15, -14:15]
    for _ in range(side * side // 2500):
        radius = random.uniform(8, 14)
        y, x = random.integers(14, side - 14, 2)
        place = image[y - 14 : y + 15, x - 14 : x + 15]
        place[np.hypot(down, across) < radius] = random.integers(120, 220)
    return image


def small_images(folder: Path, count: int) -> Path:
    """Images in a new folder."""
    folder.mkdir()
    for number in range(count):
        tifffile.imwrite(folder / f"{number}.tif", pattern(SMALL, number))
    return folder


def large_image(folder: Path, side: int) -> Path:
    """One tiled image in a new folder."""
    folder.mkdir()
    one = pattern(2048, 0)
    times = -(-side // 2048)
    tifffile.imwrite(
        folder / "slide.tif", np.tile(one, (times, times))[:side, :side], tile=(512, 512)
    )
    return folder


@dataclass(frozen=True)
class Predicted:
    """What one way took: seconds for a few images before, and for all; and where results lie.

    ``client`` and ``workers`` are seconds of processor time, for all images.
    """

    opening: float
    seconds: float
    client: float
    workers: float
    out: Path


def compare(what: str, package: str, images: Path) -> None:
    """Time this process, one worker and two; their labels must not differ."""
    plain, one, two = (predicted(workers, package, images) for workers in (0, 1, 2))
    for each in (one, two):
        for path in plain.out.glob("*.labels.tif"):
            labels = tifffile.imread(path), tifffile.imread(each.out / path.name)
            assert np.array_equal(*labels), path.name
    print(
        f"{what}: {plain.seconds:.1f} s in one process, {one.seconds:.1f} s with one worker "
        f"({one.seconds / plain.seconds:.2f} of it), {two.seconds:.1f} s with two: "
        f"{one.seconds / two.seconds:.2f} x; the same labels. Before, the first image took "
        f"{one.opening:.1f} s, as the worker opened the package. Processor time: "
        f"{plain.client:.1f} s in one process; with one worker {one.client:.1f} s of client and "
        f"scheduler and {one.workers:.1f} s of the worker, with two {two.client:.1f} and "
        f"{two.workers:.1f} s",
        flush=True,
    )


def predicted(workers: int, package: str, images: Path) -> Predicted:
    """Predict a few images, and then all."""
    out = images.with_name(f"{images.name}-{workers}")
    few = out.with_name(f"{out.name}-few")
    small_images(few, max(1, 4 * workers))
    with ExitStack() as stack:
        opened = place = None
        if workers:
            opened = stack.enter_context(open_cluster(f"local:{workers}"))
            place = opened.client.scheduler.address
        seconds, used = [], [(0.0, 0.0)]
        for given, results in ((few, few / "results"), (images, out)):
            outcome = abbe.predict(
                package, [given], results, cluster=place, threads=1, workers=1, progress=False
            )
            assert not outcome.failed, outcome.summary()
            seconds.append(outcome.seconds)
            used.append(processor_seconds(opened) if opened else (time.process_time(), 0.0))
    client, others = (after - before for before, after in zip(*used[1:], strict=True))
    return Predicted(seconds[0], seconds[1], client, others, out)


def nothing(item: int, number: int) -> Done:
    """An item without work."""
    return Done(item)


def empty_items(folder: Path, count: int) -> None:
    """Seconds and processor time an item, and the client's memory."""
    items = ((str(number), number) for number in range(count))
    with open_cluster("local:2") as workers:
        for _ in carry_out(workers, Tries(folder / "warm"), nothing, [("0", 0), ("1", 1)]):
            pass
        peak, start, used = peak_bytes(), time.perf_counter(), processor_seconds(workers)
        finished = sum(1 for _ in carry_out(workers, Tries(folder / "tries"), nothing, items))
        seconds = time.perf_counter() - start
        client, others = (
            1000 * (after - before) / count
            for before, after in zip(used, processor_seconds(workers), strict=True)
        )
    assert finished == count
    print(
        f"{count:,} items without work: {1000 * seconds / count:.2f} ms an item; processor time "
        f"{client:.2f} ms of client and scheduler, {others:.2f} ms of the workers; the client's "
        f"memory grew by {(peak_bytes() - peak) / 2**20:.0f} MiB to {peak_bytes() / 2**20:.0f} MiB",
        flush=True,
    )


def processor_seconds(workers: Workers) -> tuple[float, float]:
    """Of this process, and of all workers."""
    each: dict[str, float] = workers.client.run(time.process_time)
    return time.process_time(), sum(each.values())


def peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def stragglers(
    slides: int,
    *,
    workers: int = 160,
    mean: float = 600.0,
    spread: float = 0.8,
    slow: float = 0.05,
    losses_per_day: float = 1.0,
    kept: float = 0.9,
    seed: int = 0,
) -> None:
    """Print how much longer than its work divided by the workers a simulated cluster takes.

    Args:
        slides: How many there are.
        workers: At the same time.
        mean, spread: Seconds of a slide, and sigma of their logarithm.
        slow: Share of the workers that take twice as long.
        losses_per_day: How often a worker is lost; the next comes after ten minutes.
        kept: Share of a lost slide's work that its tiles on the disk save.
        seed: Of all draws.
    """
    random = np.random.default_rng(seed)
    pace = np.where(random.random(workers) < slow, 2.0, 1.0)
    free = [(random.uniform(0, 600), worker) for worker in range(workers)]  # jobs begin by and by
    heapq.heapify(free)
    work = lost = end = 0.0
    for duration in durations(random, slides, mean, spread):
        work += duration
        due = duration
        while due > 0:
            now, worker = heapq.heappop(free)
            until_loss = random.exponential(86400 / losses_per_day)
            needed = due * pace[worker]
            if until_loss < needed:
                lost += 1
                done = until_loss / pace[worker]
                due -= kept * done
                heapq.heappush(free, (now + until_loss + 600, worker))
            else:
                due = 0
                end = max(end, now + needed)
                heapq.heappush(free, (now + needed, worker))
    ideal = work / workers
    print(
        f"SIMULATED {slides:,} slides of {mean:.0f} s (sigma of the logarithm {spread}), "
        f"{workers} workers, {100 * slow:.0f} % of them half as fast, {losses_per_day:g} lost a "
        f"day and worker: {end / 3600:.0f} h, {end / ideal:.3f} of the work divided by workers; "
        f"{lost:.0f} losses",
        flush=True,
    )


def durations(
    random: np.random.Generator, slides: int, mean: float, spread: float
) -> Iterator[float]:
    """Seconds of each slide at full pace, in the order in which they are given out."""
    middle = np.log(mean) - spread**2 / 2
    for start in range(0, slides, 10_000):
        yield from random.lognormal(middle, spread, min(10_000, slides - start)).tolist()


if __name__ == "__main__":
    main()
