"""How many threads to compute with, and whether others want the same cores. Nothing needs torch.

A machine may have more cores than this process is given: by affinity (``taskset``, ``docker
--cpuset-cpus``), by a quota of its control group (``docker --cpus``, Kubernetes), or by SLURM.
Threads beyond these wait for each other.
"""

import math
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
"""Read by the OpenMP libraries that torch comes with, when they are loaded: a thread that waits for
others asks for some microseconds, and then gives its core away. Without any asking, a training on a
quiet machine was 16 % slower; with torch's own 2 % of its speed were left beside two processes."""


@cache
def cores() -> int:
    """The cores that this process may use: the least of affinity, quota and SLURM's word.

    A quota of one and a half cores counts as two, for the half is not to be lost.
    """
    limits = [_affinity(), *_quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")), *_slurm()]
    return max(1, math.ceil(min(limits)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _slurm() -> Iterator[int]:
    """Cores a task of a SLURM job; nothing outside of one."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            yield int(value)
            return


def _quotas(memberships: Path, mounted: Path) -> Iterator[float]:
    """Quotas in cores, of the control groups of this process and of those that hold them.

    Args:
        memberships: ``/proc/self/cgroup``: lines of "hierarchy:controllers:path".
        mounted: where control groups are mounted. A container may see its own as the root.
    """
    try:
        lines = memberships.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux, or a locked-down one: then there is nothing to be known
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        root = mounted / controllers if controllers else mounted
        if controllers and not root.is_dir():
            root = mounted / "cpu"
        group = Path(path.lstrip("/"))
        for each in (group, *group.parents):
            yield from _quota(root / each)


def _quota(group: Path) -> Iterator[float]:
    """The quota of one group: version 2 in ``cpu.max``, version 1 in two files."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return
    if quota.isdecimal() and period.isdecimal() and int(period):  # else "max", or -1
        yield int(quota) / int(period)


def given() -> int | None:
    """The number of threads that the user has set, by ``--threads`` or OMP_NUM_THREADS."""
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(value) if value.isdecimal() and int(value) > 0 else None


def default_threads() -> int:
    """The number that the user has set, or else one for each core."""
    return given() or cores()


def set_threads(number: int | None) -> None:
    """Compute with so many threads, in this process and those it starts; None changes nothing."""
    if number is None:
        return
    for name in _COUNTS:
        os.environ[name] = str(number)
    if "torch" in sys.modules:  # which has read them already
        sys.modules["torch"].set_num_threads(number)


def wait_passively() -> None:
    """Keep threads that wait from using up a core; to be called before torch is loaded.

    A variable that is set already keeps its value.
    """
    for name, value in _PASSIVE.items():
        os.environ.setdefault(name, value)


def seconds_without_core() -> float | None:
    """How long threads of this process have been ready to compute and had no core, s.

    The sum over threads since they began; what it grows by tells how busy the machine is. None
    where the system does not count it (Linux does).
    """
    total = 0
    try:
        for thread in os.scandir("/proc/self/task"):
            try:
                with open(f"{thread.path}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[1])
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
    except (OSError, IndexError):
        return None
    return total / 1e9


class Use(NamedTuple):
    """Seconds that cores have computed for anybody, and that they had nothing to do, summed."""

    busy: float
    idle: float


def use_of_cores(stat: Path = Path("/proc/stat")) -> Use | None:
    """What the cores of this process's affinity have done since the machine began.

    None where the system does not count it (Linux does; some containers show zeros).
    """
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
        own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        ticks = os.sysconf("SC_CLK_TCK")
        # user, nice, system, idle, waiting for disks, interrupts (two), stolen by the host
        counted = [
            [int(value) for value in line.split()[1:9]]
            for line in lines
            if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0] in own
        ]
    except (OSError, ValueError, AttributeError):
        return None
    everything, idle = sum(map(sum, counted)), sum(sum(each[3:5]) for each in counted)
    return Use((everything - idle) / ticks, idle / ticks) if everything else None
