"""What a job keeps of its speed beside busy processes, and with one core of several.

    python benchmarks/busy.py [--jobs train teach predict] [--busy 0 1 2 4] [--seconds 30]
        [--limits affinity quota]
    python benchmarks/busy.py --jobs train teach --seconds 16 --limits      # 4 minutes

Each job runs in a process of its own beside so many others that compute without end, at the same
priority; then alone on one core: by affinity, and by the quota of a control group where this user
may make one. The rate is that of the second half of its time, for a number of threads is found in
the first.

train    a ResNet18 U-Net learns from random batches of 8 crops of 128 px
         ("inherited": with torch's own threads, which ask again and again while they wait)
teach    that network answers for images of 256 px, one at a time, in torch
predict  the package `nuclei` finds the objects of images of 512 px

A job's fair share beside N processes on C cores: of each core 1 / (1 + those that are on it), the
N dealt out evenly; with one core of C, 1 / C. Wanted is 0.7 of it. Quiet is the job alone in the
same call, so begin with a load below 0.3; a higher one is said.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

WANTED, QUIET = 0.7, 0.3
JOBS = ("train", "inherited", "teach", "predict")
BUSY = "while True:\n    sum(range(1000))"


def main() -> None:
    parser = argparse.ArgumentParser(description="Shares of speed kept on a busy machine.")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument(
        "--limits",
        nargs="*",
        choices=list(LIMITS),
        default=list(LIMITS),
        help="to one core; or none",
    )
    parser.add_argument("--child", choices=JOBS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(CHILDREN[arguments.child](arguments.seconds)))
        return
    load = os.getloadavg()[0]
    print(f"load at the start {load:.2f}{' (not quiet: begin again)' if load > QUIET else ''}")
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} cores\n\n{'job':10} {'beside':22}{'rate/s':>9}{'of quiet':>10}{'fair':>7}", end=""
    )
    print(f"{'of fair':>9}  threads")
    for job in arguments.jobs:
        quiet = None
        for name, fair, circumstances in situations(arguments.busy, arguments.limits, cores):
            with circumstances() as prefix:
                if prefix is None:
                    print(f"{job:10} {name:22}  may not be made by this user")
                    continue
                found = measured(job, arguments.seconds, prefix)
            quiet = quiet or found["rate"]
            share = found["rate"] / quiet
            mark = "" if share / fair >= WANTED else "  missed"
            print(
                f"{job:10} {name:22}{found['rate']:9.2f}{share:10.2f}{fair:7.2f}"
                f"{share / fair:9.2f}  {found['threads']}{mark}",
                flush=True,
            )


Circumstances = Callable[[], Any]


def situations(
    busy: list[int], limits: list[str], cores: int
) -> Iterator[tuple[str, float, Circumstances]]:
    """Name, fair share of the quiet speed, and a context that gives words before the command."""
    for number in sorted({0, *busy}):
        on_core = [number // cores + (core < number % cores) for core in range(cores)]
        fair = sum(1 / (1 + others) for others in on_core) / cores
        yield f"{number} busy", fair, lambda number=number: beside(number)
    for limit in limits:
        yield f"one core by {limit}", 1 / cores, LIMITS[limit]


@contextmanager
def beside(number: int) -> Iterator[list[str]]:
    with ExitStack() as stack:
        for _ in range(number):
            process = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield []


@contextmanager
def one_by_affinity() -> Iterator[list[str]]:
    yield ["taskset", "-c", str(min(os.sched_getaffinity(0)))]


@contextmanager
def one_by_quota() -> Iterator[list[str] | None]:
    """A control group of this process's own group, of version 2 or 1; it is taken away again."""
    version_1 = Path("/sys/fs/cgroup/cpu")
    group = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"busy-{os.getpid()}"
    try:
        group.mkdir()
        if version_1.is_dir():
            (group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (group / "cpu.max").write_text("100000 100000")
    except OSError:
        yield None
        return
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        group.rmdir()


LIMITS: dict[str, Circumstances] = {"affinity": one_by_affinity, "quota": one_by_quota}


def measured(job: str, seconds: float, prefix: list[str]) -> dict[str, Any]:
    command = [*prefix, sys.executable, __file__, "--child", job, "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Rate:
    """Counts in the second half of the time."""

    def __init__(self, seconds: float) -> None:
        self.begun, self.seconds, self.count, self.half = time.perf_counter(), seconds, 0, 0.0

    def add(self, number: int) -> None:
        passed = time.perf_counter() - self.begun
        if self.half:
            self.count += number
        elif passed > self.seconds / 2:
            self.half = passed

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.begun > self.seconds

    @property
    def value(self) -> float:
        return self.count / (time.perf_counter() - self.begun - self.half)


def network() -> Any:
    import torch

    from abbe import students

    torch.manual_seed(0)
    return students.build(
        "unet-resnet18",
        in_channels=1,
        outputs=("foreground", "boundary"),
        encoder_weights="random",
    )


def train(seconds: float, *, chosen: bool = True) -> dict[str, Any]:
    """The steps of a training, as `abbe.training.fit` takes them."""
    import torch

    from abbe.machine.pace import Pace, use_threads
    from abbe.machine.precision import autocast_for

    if chosen:
        use_threads()
    student = network().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(student.parameters())
    batch = torch.rand(8, 1, 128, 128).contiguous(memory_format=torch.channels_last)
    pace = Pace(lambda text: print(text, file=sys.stderr)) if chosen else None
    rate = Rate(seconds)
    while not rate.over:
        started = time.perf_counter()
        with autocast_for(torch.device("cpu")):
            loss = student(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if pace is not None:
            pace.after_step(time.perf_counter() - started)
        rate.add(len(batch))
    return {"rate": rate.value, "threads": torch.get_num_threads()}


def teach(seconds: float) -> dict[str, Any]:
    import torch

    from abbe.machine.pace import Pace, use_threads
    from abbe.machine.precision import autocast_for

    use_threads()
    teacher, pixels = network().eval(), torch.rand(1, 1, 256, 256)
    pace, rate = Pace(lambda text: print(text, file=sys.stderr)), Rate(seconds)
    while not rate.over:
        started = time.perf_counter()
        with torch.inference_mode(), autocast_for(torch.device("cpu")):
            teacher(pixels)
        pace.after_step(time.perf_counter() - started)
        rate.add(1)
    return {"rate": rate.value, "threads": torch.get_num_threads()}


def predict(seconds: float) -> dict[str, Any]:
    import tempfile

    import numpy as np
    import tifffile

    import abbe
    from abbe.machine.threads import cores

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:512, :512]
    bright = np.exp(4 * np.sin(rows / 6) * np.sin(columns / 6))
    with tempfile.TemporaryDirectory() as name:
        images = []
        for number in range(16):
            path = Path(name) / f"{number}.tif"
            tifffile.imwrite(path, (bright * 300 + rng.poisson(200, bright.shape)).astype("u2"))
            images.append(path)
        rate, turn = Rate(seconds), 0
        while not rate.over:
            abbe.predict("nuclei", images, out=Path(name) / f"out{turn}", progress=False)
            rate.add(len(images))
            turn += 1
    return {"rate": rate.value, "threads": cores()}


def child(job: Callable[[float], dict[str, Any]]) -> Callable[[float], dict[str, Any]]:
    def run(seconds: float) -> dict[str, Any]:
        from abbe.machine.threads import wait_passively

        wait_passively()
        return job(seconds)

    return run


CHILDREN: dict[str, Callable[[float], dict[str, Any]]] = {
    "train": child(train),
    "inherited": lambda seconds: train(seconds, chosen=False),
    "teach": child(teach),
    "predict": child(predict),
}

if __name__ == "__main__":
    main()
