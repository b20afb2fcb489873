"""From what ``--cluster`` says to workers: processes here, a running scheduler, or a queue's jobs.

Scheduler, queues and protocol are dask's. A queue's file is one of dask-jobqueue, as
https://jobqueue.dask.org describes it, with ``scale`` or ``adapt`` beside it.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from abbe.cluster.tries import MOST_TRIES
from abbe.cluster.workers import Workers
from abbe.errors import ConfigError, MissingExtraError
from abbe.files.yaml_text import read_yaml
from abbe.machine.threads import cores
from abbe.near import meant

QUEUES = {
    "slurm": "SLURMCluster",
    "lsf": "LSFCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
}
"""dask-jobqueue's classes, by the name of their section."""
CONNECT_SECONDS = 15
"""Until a scheduler that does not answer is taken for absent."""
NO_WORKER_SECONDS = 60
"""Until items are given up where no worker is left here: dask starts most dead ones again."""
_SCHEDULERS = ("tcp://", "tls://", "ucx://", "ws://", "wss://")
_OURS: Mapping[str, Any] = {
    # A worker is given its next item when it has finished one: none waits behind a slow one.
    "distributed.scheduler.worker-saturation": 1.0,
    # How often an item may cost its worker is counted where it is worked on (`abbe.cluster.tries`).
    "distributed.scheduler.allowed-failures": 1000,
    # Looking at what each worker computes a hundred times a second takes time from it.
    "distributed.worker.profile.enabled": False,
    # So does looking fifty times a second whether scheduler, nannies and workers are late.
    "distributed.admin.tick.interval": "500 ms",
}


@contextmanager
def open_cluster(
    place: str, say: Callable[[str], None] = lambda line: None, *, on_gpus: bool = False
) -> Iterator[Workers]:
    """Workers while the block runs; those that were started for it end with it.

    Args:
        place: "local:4", processes on this machine; "tcp://host:8786", a scheduler that runs; or a
            .yaml file of dask-jobqueue, whose jobs are workers.
        say: Told where the workers are and where to watch them, in lines.
        on_gpus: What they are to do is done on GPUs where there are any: of those here each has one
            of its own, and there are no more of them.

    Raises:
        ConfigError: It is none of these, nobody answers there, or the file is wrong.
        MissingExtraError: ``abbe[cluster]`` is not installed.
    """
    _require("distributed", "--cluster")
    import dask
    from distributed import Client

    from abbe.cluster.gpus import HasOwnGpu, gpus
    from abbe.cluster.leaving import LeavesAtDeadline, PassesOnDeadline
    from abbe.cluster.memory import KeepsMemory

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # deaths are told by us
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_OURS))  # pyright: ignore[reportPrivateImportUsage]
        share, here = None, ()
        if place.startswith("local:"):
            here = gpus() if on_gpus else ()
            cluster, share = _local(place, stack, most=len(here) or None)
        elif place.startswith(_SCHEDULERS):
            cluster = place
        else:
            cluster = _queue(Path(place), stack)
        try:
            client = stack.enter_context(
                Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--cluster {place}: no scheduler answers there. Start one with: dask scheduler"
            ) from error
        if here:
            _register(client, HasOwnGpu(here))
            say(f"one worker a GPU: {', '.join(here)}")
        for plugin in (KeepsMemory(), LeavesAtDeadline(), PassesOnDeadline()):
            _register(client, plugin)
        workers = Workers(client, place, share, say)
        say(f"cluster: {workers}")
        say(f"dashboard: {client.dashboard_link}")
        yield workers


def _register(client: Any, plugin: Any) -> None:
    """Give all workers a plugin. One that dies meanwhile is no reason to end: others follow it."""
    from distributed.comm.core import CommClosedError

    for _ in range(MOST_TRIES):
        with suppress(CommClosedError):
            client.register_plugin(plugin)
            return
    client.register_plugin(plugin)


def _require(package: str, purpose: str) -> None:
    if find_spec(package) is None:
        raise MissingExtraError(package, "cluster", purpose)


def _local(place: str, stack: ExitStack, most: int | None = None) -> tuple[Any, int]:
    """Processes here, ``most`` at most; and the cores of each, its share of this process's."""
    import dask
    from distributed import LocalCluster

    number = place.removeprefix("local:")
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"--cluster {place}: give a number of workers, such as local:4")
    count = min(int(number), most or int(number))
    bound = {"distributed.scheduler.no-workers-timeout": f"{NO_WORKER_SECONDS} s"}
    stack.enter_context(dask.config.set(bound))  # pyright: ignore[reportPrivateImportUsage]
    cluster = stack.enter_context(
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # the machine's, as without workers
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    )
    return cluster, max(1, cores() // count)


def _queue(path: Path, stack: ExitStack) -> Any:
    """The jobs that a file of dask-jobqueue describes, asked for."""
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"--cluster {path}: give local:N, tcp://HOST:PORT, or a .yaml file of dask-jobqueue"
        )
    _require("dask_jobqueue", f"--cluster {path}")
    import dask

    own = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # which takes Ctrl+C for itself, as it is imported

    signal.signal(signal.SIGINT, own)
    kind, section, sizes = read_queue(path)
    known = dask.config.get(f"jobqueue.{kind}")  # pyright: ignore[reportPrivateImportUsage]
    for key in section:
        if key.replace("_", "-") not in {each.replace("_", "-") for each in known}:
            raise ConfigError(f"{path}: jobqueue.{kind}.{key} is no key.{meant(key, known)}")
    values = {f"jobqueue.{kind}.{key}": value for key, value in section.items()}
    # Until the end of the block: dask-jobqueue reads them again for every job.
    stack.enter_context(dask.config.set(values))  # pyright: ignore[reportPrivateImportUsage]
    try:
        started = getattr(dask_jobqueue, QUEUES[kind])()
        started.job_script()  # says what is missing, before anything has to be ended
        cluster = stack.enter_context(started)
        for method, arguments in sizes.items():
            getattr(cluster, method)(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return cluster


def read_queue(path: Path) -> tuple[str, dict[str, Any], dict[str, dict[str, Any]]]:
    """The queue that a file names, what it says of a job, and of the number of jobs.

    Raises:
        ConfigError: It cannot be read, names no queue that is known, or no number of jobs.
    """
    if not path.is_file():
        raise ConfigError(f"--cluster {path}: there is no such file")
    try:
        said = read_yaml(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    queues = said.get("jobqueue") if isinstance(said, dict) else None
    if not isinstance(queues, dict) or len(queues) != 1 or next(iter(queues)) not in QUEUES:
        raise ConfigError(
            f"{path}: give one section 'jobqueue:' with one of {', '.join(QUEUES)} in it, as "
            "dask-jobqueue takes it"
        )
    sizes = {key: value for key, value in said.items() if key in ("scale", "adapt")}
    if len(sizes) != 1 or not all(isinstance(value, dict) for value in sizes.values()):
        raise ConfigError(
            f"{path}: say how many jobs: 'scale: {{jobs: 10}}', or 'adapt: {{minimum_jobs: 0, "
            "maximum_jobs: 10}'"
        )
    if others := [key for key in said if key not in ("jobqueue", *sizes)]:
        raise ConfigError(f"{path}: '{others[0]}' is no key; there are jobqueue, scale and adapt")
    ((kind, section),) = queues.items()
    return kind, dict(section or {}), sizes
