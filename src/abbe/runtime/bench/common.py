"""What timings of packages of any task share: engines that take turns, processes of their own."""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

from abbe.errors import AbbeError, ConfigError, MissingExtraError
from abbe.machine.threads import cores
from abbe.runtime.package.engine import EngineName, Precision
from abbe.runtime.package.openvino_core import load_openvino, openvino_core

Opened = TypeVar("Opened", covariant=True)
Name = TypeVar("Name")
Setting = tuple[EngineName, Precision]
SETTINGS: tuple[Setting, ...] = (
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
)
"""Every way to run a package; which of them there are depends on package and machine."""
REPEATS = 7
"""Timings of each engine, where nothing else is said."""


class OpensOne(Protocol[Opened]):
    """Opens a package by an engine and a precision."""

    def __call__(self, *, engine: EngineName, precision: Precision) -> Opened:
        """Raises ConfigError or MissingExtraError where this cannot be had here."""
        ...


def open_all(
    open_one: OpensOne[Opened],
) -> tuple[dict[str, Opened], dict[str, str]]:
    """Open a package by every engine and precision.

    Args:
        open_one: Opens one; a ConfigError or MissingExtraError says that it is not to be had here:
            not installed, not in the package, not in the hardware.

    Returns:
        What was opened, and why the others were not, by "engine/precision".

    Raises:
        PackageError: A network of the package is damaged.
    """
    opened: dict[str, Opened] = {}
    left_out: dict[str, str] = {}
    for engine, precision in SETTINGS:
        name = f"{engine}/{precision}"
        try:
            opened[name] = open_one(engine=engine, precision=precision)
        except (ConfigError, MissingExtraError) as error:
            left_out[name] = str(error)
    return opened, left_out


def check_counts(**counts: int | None) -> None:
    """Refuse numbers below 1, by the names of their options; None is always allowed.

    Raises:
        ConfigError: Naming the option.
    """
    for option, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f"--{option} {value}: at least 1 is needed")


def in_turns(
    runs: Mapping[Name, Callable[[], object]],
    repeats: int,
    *,
    fewest: int = 3,
    enough: float = math.inf,
) -> dict[Name, float]:
    """Median milliseconds of each, the first run left out; a busy moment hits all of them.

    Args:
        runs: What to time, by name.
        repeats: How often.
        fewest: How often at least.
        enough: Seconds of timing after which the fewest will do.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    for run in runs.values():
        run()
    for turn in range(repeats):
        if turn >= fewest and time.perf_counter() - begun > enough:
            break
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def in_child(function: str, task: Mapping[str, Any], cache: Path | None = None) -> Any:
    """Call a function in a process of its own, so that its memory is its own.

    Args:
        function: Its module and name, "abbe.room.module:name". It takes ``task``, and what it
            gives can be written as JSON.
        task: What it is called with.
        cache: Home of compiled networks; None for the usual one.

    Raises:
        ConfigError: The function failed; with the reason.
    """
    command = [sys.executable, "-c", f"from {__name__} import answer; answer({function!r})"]
    return json.loads(output_of(command, json.dumps(task), cache).splitlines()[-1])


def output_of(command: list[str], told: str = "", cache: Path | None = None) -> str:
    """What a command writes to its standard output.

    Args:
        command: Program and arguments.
        told: Its standard input.
        cache: Home of compiled networks; None for the usual one.

    Raises:
        ConfigError: The command failed; with the last line of what it said.
    """
    own = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        command, input=told, capture_output=True, text=True, env=os.environ | own, check=False
    )
    if done.returncode < 0:
        raise ConfigError(
            f"its process was ended by signal {-done.returncode}; for lack of memory?"
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(lines[-1])
    return done.stdout


def answer(function: str) -> None:
    """In the child: call the function with the task on standard input, print what it gives."""
    module, name = function.split(":")
    try:
        print(json.dumps(getattr(import_module(module), name)(json.load(sys.stdin))))
    except AbbeError as error:
        raise SystemExit(str(error)) from error


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    On Linux of this program alone; what getrusage(2) tells includes the process it came from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def machine() -> dict[str, str | int]:
    """Processor, cores, Python and engine versions."""
    return {
        "processor": str(openvino_core().get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        "cores": cores(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "openvino": load_openvino().get_version(),
    }


def not_measured(left_out: Mapping[str, str]) -> list[str]:
    """A line for each setting that is not to be had, with the reason."""
    return [f"{name}: not measured ({why})" for name, why in left_out.items()]
